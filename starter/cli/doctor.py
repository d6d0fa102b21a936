"""`supergiant doctor`: looks at everything an operation needs, in the order in which one thing needs the
other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from activities.models.clusters import Check, ClusterReport
from activities.models.search_attributes import SEARCH_ATTRIBUTES
from activities.models.views import AskCluster
from starter.cli.context import Context
from starter.cli.options import json_option
from starter.cli.output import write_json
from starter.failures import DONE, FAILED, OperationFailed

if TYPE_CHECKING:
    from starter.operations import Operations


@click.command(short_help="Look at everything that is needed, and say what is missing.")
@json_option
@click.pass_obj
def doctor(context: Context) -> int:
    """Look at the settings, Temporal, the worker and every cluster; say what is missing and how to mend
    it."""
    checks = _settings(context)
    if all(check.ok for check in checks):
        try:
            checks += context.ask(lambda operations: _behind_temporal(context, operations))
        except OperationFailed as failure:
            checks.append(_failed("Temporal", failure))
    ok = all(check.ok for check in checks)
    if context.as_json:
        write_json({"ok": ok, "checks": [check.model_dump() for check in checks]})
    else:
        write_checks(checks)
    return DONE.exit_code if ok else FAILED.exit_code


def write_checks(checks: Sequence[Check]) -> None:
    for check in checks:
        sign, color = ("✓", "green") if check.ok else ("✗", "red")
        click.echo(
            click.style(sign, fg=color) + f" {check.name}" + (f": {check.detail}" if check.detail else "")
        )
        if not check.ok and check.help:
            click.echo(f"    → {check.help}")


def _settings(context: Context) -> list[Check]:
    try:
        settings = context.settings
    except OperationFailed as failure:
        return [_failed("settings", failure)]
    if not settings.clusters:
        help = "write ./supergiant.toml with a [clusters.NAME] section, or run `supergiant sandbox up`"
        where = str(settings.source) if settings.source else "there is no settings file"
        return [Check(name="settings", ok=False, detail=f"{where}: no cluster is named", help=help)]
    names = ", ".join(settings.clusters)
    return [Check(name="settings", ok=True, detail=f"{settings.source}; clusters: {names}")]


async def _behind_temporal(context: Context, operations: "Operations") -> list[Check]:
    checks = [Check(name="Temporal", ok=True, detail=await operations.address())]
    missing = await operations.missing_search_attributes(SEARCH_ATTRIBUTES)
    commands = [f"--name {name} --type {SEARCH_ATTRIBUTES[name]}" for name in missing]
    checks.append(
        Check(
            name="search attributes",
            ok=not missing,
            detail=f"missing: {', '.join(missing)}" if missing else f"{len(SEARCH_ATTRIBUTES)} registered",
            help=f"temporal operator search-attribute create {' '.join(commands)}",
        )
    )
    worker = await operations.worker_there()
    checks.append(
        Check(
            name="worker",
            ok=worker,
            detail="asks for work" if worker else "none has asked for work lately",
            help="start one with `supergiant worker`",
        )
    )
    for name in context.settings.clusters if worker else ():
        checks += await _cluster(operations, name)
    return checks


async def _cluster(operations: "Operations", name: str) -> list[Check]:
    try:
        report = await operations.ask("check-cluster", AskCluster(cluster=name), ClusterReport)
    except OperationFailed as failure:
        return [_failed(f"cluster {name}", failure)]
    return [check.model_copy(update={"name": f"cluster {name}: {check.name}"}) for check in report.checks]


def _failed(name: str, failure: OperationFailed) -> Check:
    return Check(name=name, ok=False, detail=failure.message, help=failure.help)
