"""Carries a request of the CLI out: shows the plan and asks, starts the operation, follows it. Used by
`app`."""

import time
from typing import TYPE_CHECKING

import click

from activities.models.views import AppList, AskApps
from starter.cli.context import Context
from starter.cli.follow import follow, full_record, say_outcome
from starter.cli.options import new_id
from starter.cli.output import write_json
from starter.cli.words import plan_lines
from starter.failures import BAD_REQUEST, DECLINED, OperationFailed
from starter.snapshots import Snapshot
from workflows.models.operations import OperationRequest

if TYPE_CHECKING:
    from starter.operations import Operations


def carry_out(context: Context, request: OperationRequest, ask: bool, watch: bool | None) -> int:
    """`ask`: show the plan and wait for a yes. `watch` None: as the terminal suggests. Returns the exit
    code."""
    if request.plan_only:
        return _show_plan(context, request).category.exit_code
    if ask and not context.ask(lambda operations: operations.known(request)):
        # The plan is an operation of its own, which ends with the plan; the real one plans again, and is
        # refused if the plan is no longer the one that was agreed to.
        first = request.model_copy(update={"id": new_id("plan", request.app), "plan_only": True})
        shown = _show_plan(context, first)
        code, plan = shown.category.exit_code, shown.record.plan
        if code or plan is None:
            return code
        request = request.model_copy(update={"agreed": plan.agreement})
        # A plan without anything to do needs nobody's yes: the operation ends at once and says the same.
        if plan.components and not click.confirm(f"Carry it out on {request.cluster}?", err=True):
            click.echo("Nothing was done.", err=True)
            return DECLINED.exit_code
    return _start(context, request, context.interactive if watch is None else watch)


async def must_be_there(operations: "Operations", request: OperationRequest) -> None:
    """Refuse to delete what nobody has heard of; a request that was made before is answered as it was then."""
    if await operations.known(request) or not await operations.worker_there():
        return
    try:
        question = AskApps(cluster=request.cluster, app=request.app)
        apps = (await operations.ask("view-apps", question, AppList)).apps
    except OperationFailed:
        return  # The operation finds the same, and its record tells it.
    if not apps:
        raise OperationFailed(
            BAD_REQUEST,
            f"there is no app {request.app!r} on {request.cluster}, so there is nothing to delete",
            "`supergiant app list` lists what there is",
        )


def _show_plan(context: Context, request: OperationRequest) -> Snapshot:
    from starter import answers

    async def plan(operations: "Operations") -> Snapshot:
        await operations.start(request)
        note, heard_at = "", time.monotonic()
        async for snapshot in operations.watch(request.id):
            if snapshot.note and snapshot.note != note:
                note = snapshot.note
                context.say(note)
            if not snapshot.note:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > answers.ANSWER_WITHIN.total_seconds():
                # Whoever asks what would be done waits for an answer, not for a worker.
                raise answers.nobody_answered()
        return snapshot

    snapshot = context.ask(plan)
    made = snapshot.record.plan
    if context.as_json:
        write_json(full_record(snapshot))
    elif made is None:
        say_outcome(context, snapshot)
    else:
        for line in plan_lines(made):
            click.echo(line)
    return snapshot


def _start(context: Context, request: OperationRequest, watch: bool) -> int:
    started = context.ask(lambda operations: operations.start(request))
    if not started:
        context.say(f"operation {request.id} was asked for before; this is the same one")
    if watch:
        return follow(context, request.id)
    if context.as_json:
        write_json({"id": request.id, "started": started})
    else:
        click.echo(request.id)
        click.echo(f"  → supergiant op watch {request.id}", err=True)
    return 0
