"""`supergiant op`: follow operations and say something to them."""

import json
from pathlib import Path

import click

from starter.cli.context import Context
from starter.cli.options import as_option, json_option, watch_option, yes_option
from starter.cli.output import ago, lasting, write_json, write_table
from starter.failures import BAD_REQUEST, DECLINED, OperationFailed

_reason = click.option("--reason", default="", metavar="TEXT", help="Why; stands in the record.")


@click.group(short_help="Follow operations, approve, cancel, retry.")
def op() -> None:
    """Follow operations, and approve, cancel, retry, skip or abort them."""


#: Those of `workflows.models.operations`, which takes longer to import than a list takes.
STATES = (
    "planning",
    "waiting-for-approval",
    "queued",
    "running",
    "parked",
    "undoing",
    "planned",
    "succeeded",
    "undone",
    "undone-in-part",
    "invalid",
    "refused",
    "declined",
)
KINDS = ("deploy", "delete")


@op.command("list")
@click.option(
    "--state", type=click.Choice(STATES), metavar="STATE", help="Only those in this state, such as parked."
)
@click.option("--kind", type=click.Choice(KINDS), metavar="KIND", help="Only this kind, such as deploy.")
@click.option("--app", metavar="NAME", help="Only those of this app.")
@click.option("--cluster", metavar="NAME", help="Only those of this cluster.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="The newest so many."
)
@json_option
@click.pass_obj
def list_(
    context: Context, state: str | None, kind: str | None, app: str | None, cluster: str | None, limit: int
) -> None:
    """List operations, newest first."""
    rows = context.ask_listing(
        lambda listing: listing.list_operations(
            state=state, kind=kind, app=app, cluster=cluster or context.cluster_name, limit=limit
        )
    )
    if context.as_json:
        write_json([row.as_json() for row in rows])
        return
    if not rows:
        context.say("no operations")
        return
    write_table(
        ("OPERATION", "KIND", "STATE", "CLUSTER", "APP", "COMPONENTS", "BY", "ASKED", "TOOK"),
        [
            (
                row.id,
                row.kind,
                row.state,
                row.cluster,
                row.app,
                ",".join(row.components),
                row.requester,
                ago(row.asked_at),
                lasting(row.ended_at - row.asked_at) if row.ended_at else "-",
            )
            for row in rows
        ],
    )


@op.command()
@click.argument("operation")
@json_option
@click.pass_obj
def show(context: Context, operation: str) -> None:
    """Say where an operation stands, what it waits for, and what a cancel would do."""
    from starter.cli.follow import full_record
    from starter.cli.words import record_lines

    snapshot = context.ask(lambda operations: operations.look(operation))
    if context.as_json:
        write_json(full_record(snapshot))
        return
    for line in record_lines(snapshot):
        click.echo(line)


@op.command()
@click.argument("operation")
@json_option
@click.pass_obj
def watch(context: Context, operation: str) -> int:
    """Follow an operation until it ends or needs a person; the exit code says which."""
    from starter.cli.follow import follow

    return follow(context, operation)


@op.command()
@click.argument("operation")
@click.option("--reason", required=True, metavar="TEXT", help="Why it may be done; stands in the record.")
@click.option("--plan-hash", metavar="HASH", help="The plan that was looked at; else it is shown now.")
@yes_option
@as_option
@json_option
@click.pass_obj
def approve(
    context: Context, operation: str, reason: str, plan_hash: str | None, yes: bool, requester: str
) -> int:
    """Approve the plan of an operation that waits for it.

    The approval is of one very plan: give its hash, or look at the plan that is shown and say yes.
    """
    from starter.cli.words import plan_lines
    from workflows.models.operations import Approve

    if not reason.strip():
        raise OperationFailed(BAD_REQUEST, "an approval needs a reason", "say --reason TEXT")
    if plan_hash is None:
        record = context.ask(lambda operations: operations.get(operation))
        if record.plan is None or record.state.ended:
            raise OperationFailed(
                BAD_REQUEST, f"operation {operation} is {record.state.value} and has no plan to approve"
            )
        plan_hash = record.plan.hash
        for line in plan_lines(record.plan):
            click.echo(line, err=True)
        if not yes:
            if not context.interactive:
                raise OperationFailed(
                    BAD_REQUEST,
                    "nobody is there to look at the plan",
                    f"say --plan-hash {plan_hash} if that is the plan you approve",
                )
            if not click.confirm(f"Approve plan {plan_hash}?", err=True):
                click.echo("Nothing was said.", err=True)
                return DECLINED.exit_code
    message = Approve(by=requester, reason=reason, plan_hash=plan_hash)
    answer = context.ask(lambda operations: operations.approve(operation, message))
    _said(context, operation, answer)
    return 0


@op.command()
@click.argument("operation")
@click.option("--reason", required=True, metavar="TEXT", help="Why not; stands in the record.")
@as_option
@json_option
@click.pass_obj
def reject(context: Context, operation: str, reason: str, requester: str) -> None:
    """Decline the plan of an operation that waits for approval."""
    from workflows.models.operations import Reject

    message = Reject(by=requester, reason=reason)
    _said(context, operation, context.ask(lambda operations: operations.reject(operation, message)))


@op.command()
@click.argument("operation")
@_reason
@watch_option
@as_option
@json_option
@click.pass_obj
def cancel(context: Context, operation: str, reason: str, watch: bool | None, requester: str) -> int:
    """Cancel an operation: what it did is undone, last step first."""
    from workflows.models.operations import Cancel

    message = Cancel(by=requester, reason=reason)
    answer = context.ask(lambda operations: operations.cancel(operation, message))
    return _said_and_watched(context, operation, answer, watch)


def _decision(name: str, help: str) -> None:
    """Define one of the three commands for an operation that has parked."""

    @op.command(name, help=help)
    @click.argument("operation")
    @click.option("--step", metavar="ID", help="Only this parked step; else all of them.")
    @_reason
    @watch_option
    @as_option
    @json_option
    @click.pass_obj
    def decide(
        context: Context,
        operation: str,
        step: str | None,
        reason: str,
        watch: bool | None,
        requester: str,
    ) -> int:
        from workflows.models.steps import Decide, Decision

        message = Decide(decision=Decision(name), by=requester, reason=reason, step=step)
        titles = context.ask(lambda operations: operations.decide(operation, message))
        return _said_and_watched(context, operation, f"{name}: {'; '.join(titles)}", watch)


_decision("retry", "Try the parked steps again, once what stopped them is mended.")
_decision("skip", "Leave out the parked steps, where that is safe.")
_decision("abort", "Give up, and undo what was done.")


@op.command()
@click.argument("operation")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of stdout."
)
@click.pass_obj
def export(context: Context, operation: str, output: Path | None) -> None:
    """Write everything about an operation as JSON, to keep it longer than Temporal does."""
    text = json.dumps(
        context.ask(lambda operations: operations.export(operation)), indent=2, ensure_ascii=False
    )
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OperationFailed(BAD_REQUEST, f"{output} cannot be written: {error.strerror}") from None
    click.echo(str(output))


def _said(context: Context, operation: str, answer: str) -> None:
    if context.as_json:
        write_json({"id": operation, "answer": answer})
    else:
        click.echo(f"{operation}: {answer}")


def _said_and_watched(context: Context, operation: str, answer: str, watch: bool | None) -> int:
    if not (context.interactive if watch is None else watch):
        _said(context, operation, answer)
        return 0
    from starter.cli.follow import follow

    click.echo(f"{operation}: {answer}", err=True)
    return follow(context, operation)
