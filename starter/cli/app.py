"""`supergiant app`: deploy an app document, see what runs, delete it."""

from typing import TYPE_CHECKING

import click

from starter.cli.context import Context
from starter.cli.options import (
    as_option,
    cluster_option,
    id_option,
    json_option,
    new_id,
    watch_option,
    yes_option,
)
from starter.cli.output import write_json, write_table
from starter.failures import BAD_REQUEST, OperationFailed

if TYPE_CHECKING:
    from activities.models.apps import App
    from activities.models.views import AppView


@click.group(short_help="Deploy apps, and see and delete what runs.")
def app() -> None:
    """Deploy apps, and see and delete what runs."""


@app.command()
@click.option("-f", "--file", metavar="FILE", help="The app document; '-' reads standard input.")
@click.option("--recipe", metavar="NAME", help="A recipe instead of a file; see `supergiant recipe list`.")
@click.option("--app", metavar="NAME", help="Deploy it under this name instead of its own.")
@click.option("--plan", is_flag=True, help="Only say what would be done.")
@yes_option
@click.option("--reason", default="", metavar="TEXT", help="Why; stands in the record.")
@id_option
@watch_option
@click.option("--wait/--no-wait", default=True, help="Wait for another operation, or be refused.")
@click.option(
    "--on-failure",
    type=click.Choice(["park", "undo"]),
    default="park",
    show_default=True,
    help="What a permanent failure does: wait for a person, or undo by itself.",
)
@as_option
@cluster_option
@json_option
@click.pass_obj
def deploy(
    context: Context,
    file: str | None,
    recipe: str | None,
    app: str | None,
    plan: bool,
    yes: bool,
    reason: str,
    id: str | None,
    watch: bool | None,
    wait: bool,
    on_failure: str,
    requester: str,
) -> int:
    """Deploy the components of an app document, or of a recipe.

    On a terminal the plan is shown first, and nothing is done before it is agreed to.
    """
    from starter.cli.request import carry_out
    from starter.suspicions import readable_secrets
    from workflows.models.operations import DeployRequest, OnFailure, OperationKind, OperationRequest

    document = _document(file, recipe, app)
    for place in readable_secrets(document):
        context.say(
            f"warning: {place} looks like a secret, and records will show its value; name it under `secrets:` "
            "and write {secret: NAME}, then the cluster makes a value that nobody sees"
        )
    request = OperationRequest(
        id=id or new_id("deploy", document.app),
        kind=OperationKind.DEPLOY,
        cluster=context.cluster.name,
        app=document.app,
        tenant=document.tenant,
        requester=requester,
        reason=reason,
        wait=wait,
        plan_only=plan,
        on_failure=OnFailure(on_failure),
        deploy=DeployRequest(app=document),
    )
    return carry_out(context, request, ask=context.interactive and not yes and file != "-", watch=watch)


@app.command()
@click.argument("name")
@click.option("--component", multiple=True, metavar="NAME", help="Only this one; can be repeated.")
@click.option(
    "--delete-disks", is_flag=True, help="Delete the disks at once instead of keeping them for a time."
)
@click.option("--plan", is_flag=True, help="Only say what would be done.")
@yes_option
@click.option("--reason", default="", metavar="TEXT", help="Why; stands in the record.")
@id_option
@watch_option
@click.option("--wait/--no-wait", default=True, help="Wait for another operation, or be refused.")
@as_option
@cluster_option
@json_option
@click.pass_obj
def delete(
    context: Context,
    name: str,
    component: tuple[str, ...],
    delete_disks: bool,
    plan: bool,
    yes: bool,
    reason: str,
    id: str | None,
    watch: bool | None,
    wait: bool,
    requester: str,
) -> int:
    """Delete an app, or some of its components.

    Its disks are kept for the cluster's retention time unless told otherwise.
    """
    from starter.cli.request import carry_out, must_be_there
    from workflows.models.operations import DeleteRequest, OperationKind, OperationRequest

    if not yes and not plan and not context.interactive:
        raise OperationFailed(
            BAD_REQUEST,
            "deleting asks first, and nobody is there to be asked",
            "say --yes, or look with --plan",
        )
    request = OperationRequest(
        id=id or new_id("delete", name),
        kind=OperationKind.DELETE,
        cluster=context.cluster.name,
        app=_checked(name),
        requester=requester,
        reason=reason,
        wait=wait,
        plan_only=plan,
        delete=DeleteRequest(
            app=name, components=[_checked(one) for one in component], delete_disks=delete_disks
        ),
    )
    context.ask(lambda operations: must_be_there(operations, request))
    return carry_out(context, request, ask=not yes, watch=watch)


@app.command("list")
@cluster_option
@json_option
@click.pass_obj
def list_(context: Context) -> None:
    """List the apps of a cluster with their components."""
    apps = _view(context, None)
    if context.as_json:
        write_json([one.model_dump(mode="json") for one in apps])
        return
    rows = [
        (
            one.app,
            component.component,
            one.tenant,
            component.release,
            f"{sum(instance.ready for instance in component.instances)}/{len(component.instances)}",
            sum(disk.component == component.component and disk.keep_until is None for disk in one.disks),
        )
        for one in apps
        for component in one.components
    ]
    if not rows:
        context.say(f"no apps on {context.cluster.name}")
        return
    write_table(("APP", "COMPONENT", "TENANT", "RELEASE", "READY", "DISKS"), rows)


@app.command()
@click.argument("name")
@cluster_option
@json_option
@click.pass_obj
def show(context: Context, name: str) -> None:
    """Show an app: instances, addresses, disks and where each is attached."""
    from starter.cli.tables import write_app

    apps = _view(context, _checked(name))
    if not apps:
        known = "`supergiant app list` lists what there is"
        raise OperationFailed(BAD_REQUEST, f"there is no app {name!r} on {context.cluster.name}", known)
    if context.as_json:
        write_json(apps[0].model_dump(mode="json"))
        return
    write_app(apps[0])


@app.command()
def schema() -> None:
    """Print the JSON Schema of app documents, for editors."""
    from starter.schema import app_document_schema, as_text

    click.echo(as_text(app_document_schema()), nl=False)


def _document(file: str | None, recipe: str | None, app_name: str | None) -> "App":
    from starter import documents, recipes

    if (file is None) == (recipe is None):
        raise OperationFailed(
            BAD_REQUEST,
            "say what to deploy: --file FILE or --recipe NAME",
            "`supergiant recipe list` lists recipes",
        )
    document = (
        documents.read(file) if file else documents.parse(recipes.get(recipe or "").text, f"recipe {recipe}")
    )
    return document.model_copy(update={"app": _checked(app_name)}) if app_name else document


def _checked(name: str) -> str:
    from activities.models.apps import checked_name

    try:
        return checked_name(name)
    except ValueError as error:
        raise OperationFailed(BAD_REQUEST, str(error)) from None


def _view(context: Context, name: str | None) -> "list[AppView]":
    from activities.models.views import AppList, AskApps

    question = AskApps(cluster=context.cluster.name, app=name)
    return context.ask(lambda operations: operations.ask("view-apps", question, AppList)).apps
