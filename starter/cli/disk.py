"""`supergiant disk`: the disks of apps, and where each is attached."""

import click

from starter.cli.context import Context
from starter.cli.options import cluster_option, json_option
from starter.cli.output import write_json


@click.group(short_help="The disks of apps, and where each is attached.")
def disk() -> None:
    """The disks of apps, and where each is attached."""


@disk.command("list")
@click.option("--app", metavar="NAME", help="Only the disks of this app.")
@cluster_option
@json_option
@click.pass_obj
def list_(context: Context, app: str | None) -> None:
    """List disks, also those that are kept after their component was deleted."""
    from activities.models.views import AppList, AskApps
    from starter.cli.tables import write_disks

    question = AskApps(cluster=context.cluster.name, app=app)
    apps = context.ask(lambda operations: operations.ask("view-apps", question, AppList)).apps
    disks = [one for view in apps for one in view.disks]
    if context.as_json:
        write_json([one.model_dump(mode="json") for one in disks])
    elif disks:
        write_disks(disks)
    else:
        of_app = f" of app {app}" if app else ""
        context.say(f"no disks{of_app} on {context.cluster.name}")
