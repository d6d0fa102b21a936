"""`supergiant cluster`: the clusters of the settings, and whether the worker can use them."""

import click

from starter.cli.context import Context
from starter.cli.options import cluster_option, json_option
from starter.cli.output import write_json, write_table
from starter.failures import DONE, FAILED


@click.group(short_help="The clusters of the settings, and whether they can be used.")
def cluster() -> None:
    """The clusters of the settings, and whether they can be used."""


@cluster.command("list")
@json_option
@click.pass_obj
def list_(context: Context) -> None:
    """List the clusters that the settings name."""
    clusters = list(context.settings.clusters.values())
    if context.as_json:
        keys = ("name", "cloud", "account", "region", "zones")
        write_json([{key: getattr(one, key) for key in keys} for one in clusters])
        return
    if not clusters:
        context.say("the settings name no cluster")
        return
    rows = [(one.name, one.cloud, one.account, one.region, ", ".join(one.zones)) for one in clusters]
    write_table(("CLUSTER", "CLOUD", "ACCOUNT", "REGION", "ZONES"), rows)


@cluster.command()
@click.argument("name", required=False)
@cluster_option
@json_option
@click.pass_obj
def check(context: Context, name: str | None) -> int:
    """Let the worker look at everything it needs of a cluster and its cloud."""
    from activities.models.clusters import ClusterReport
    from activities.models.views import AskCluster
    from starter.cli.doctor import write_checks

    if name:
        context.cluster_name = name
    question = AskCluster(cluster=context.cluster.name)
    report = context.ask(lambda operations: operations.ask("check-cluster", question, ClusterReport))
    if context.as_json:
        write_json(report.model_dump(mode="json"))
    else:
        write_checks(report.checks)
    return DONE.exit_code if report.ok else FAILED.exit_code
