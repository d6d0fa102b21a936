"""How long an operation stands still when its only worker dies and is started again at once: SIGKILL while a step
is running, until the new worker has finished a step and the story has taken note of it.

Each round is a deploy of its own and strikes at another step. Run by `make bench`.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from bench.harness import (
    CLUSTER,
    Figures,
    Place,
    Unmeasured,
    deploy_request,
    median,
    place,
    recipe,
    record_of,
    report,
    requests_of,
    run,
    say,
    table_of,
)
from workflows.ids import component_lock
from workflows.models.operations import OperationState

COMPONENT = "redis"
STEPS = (
    "services",
    "0/disk/data",
    "1/claim/data",
    "2/start",
    "0/attached",
    "1/ready",
    "release",
)
#: How often a step that was over too soon is tried again, with another app.
_TRIES = 3
_PATIENCE_SECONDS = 120.0
_PERIOD_SECONDS = 0.005


@dataclass(frozen=True)
class Round:
    """`progress`: from the kill until the story has taken note of the next step's end. `interrupted`: until the
    work of the last of those that were running was done."""

    step: str
    running: int
    progress_seconds: float
    interrupted_seconds: float


def main() -> None:
    with place("bench-resume") as here:
        rounds = asyncio.run(measure(here))
    table = table_of(
        "Resume after SIGKILL of the only worker",
        "killed in step",
        "steps running",
        "next progress of the story",
        "interrupted steps' work done",
    )
    for one in rounds:
        table.add_row(
            one.step, str(one.running), f"{one.progress_seconds:.2f} s", f"{one.interrupted_seconds:.2f} s"
        )
    figures: Figures = {
        "seconds": median([one.progress_seconds for one in rounds]),
        "max_seconds": max(one.progress_seconds for one in rounds),
        "interrupted_seconds": median([one.interrupted_seconds for one in rounds]),
        "max_interrupted_seconds": max(one.interrupted_seconds for one in rounds),
        "rounds": len(rounds),
    }
    table.add_section()
    table.add_row("median", "", f"{figures['seconds']:.2f} s", f"{figures['interrupted_seconds']:.2f} s")
    table.add_row(
        "longest", "", f"{figures['max_seconds']:.2f} s", f"{figures['max_interrupted_seconds']:.2f} s"
    )
    report("resume", table, figures)


async def measure(here: Place) -> list[Round]:
    here.worker.start()
    client = await here.client()
    rounds = []
    for number, step in enumerate(STEPS, 1):
        for again in range(_TRIES):
            one = await _round(here, client, f"round{number}-{again}", f"{COMPONENT}/{step}")
            if one is not None:
                break
            say(f"{step} was over before the kill; once more.")
        else:
            raise Unmeasured(f"{step} was over too soon {_TRIES} times")
        say(f"{step}: went on after {one.progress_seconds:.2f} s.")
        rounds.append(one)
    return rounds


async def _round(here: Place, client: Client, app: str, step: str) -> Round | None:
    """Deploy, kill in the step, and measure; None if the step was not running when the worker died."""
    await requests_of(client).start(deploy_request(recipe("redis", app)))
    inner = client.get_workflow_handle(component_lock(CLUSTER, app, COMPONENT))
    await _until_running(inner, step)
    killed_at = datetime.now(UTC)
    here.worker.kill()
    worker = here.worker.spawn()
    async with asyncio.timeout(_PATIENCE_SECONDS):
        record = await record_of(client, app)
    if record.state is not OperationState.SUCCEEDED:
        raise Unmeasured(f"the deploy of {app} is {record.state.value}: {record.explanation}")
    here.worker.start()
    events = (await inner.fetch_history()).events
    return measured(events, step, killed_at, f"worker-{worker.pid}")


def measured(events: Sequence[HistoryEvent], step: str, killed_at: datetime, worker: str) -> Round | None:
    """Read a round off the history of its story; None if the step was not running at the kill."""
    running = _running(events, killed_at)
    if step not in running.values():
        return None
    done = [event for event in events if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED]
    resumed = [one for one in done if one.activity_task_completed_event_attributes.identity == worker]
    ends = [one for one in done if one.activity_task_completed_event_attributes.scheduled_event_id in running]
    if not resumed or len(ends) < len(running):
        raise Unmeasured(f"the history does not say who went on after the kill in {step}")
    # An activity's end is progress once the story has taken note of it.
    noted = next(
        event
        for event in events[resumed[0].event_id :]
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    )
    return Round(
        step.removeprefix(f"{COMPONENT}/"),
        len(running),
        (_time(noted) - killed_at).total_seconds(),
        (max(map(_time, ends)) - killed_at).total_seconds(),
    )


def _running(events: Sequence[HistoryEvent], at: datetime) -> dict[int, str]:
    """The steps whose activities had been asked for and were not done, by the event that asked for them."""
    found: dict[int, str] = {}
    for event in events:
        if _time(event) > at:
            break
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            found[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            found.pop(event.activity_task_completed_event_attributes.scheduled_event_id, None)
    return found


async def _until_running(inner: "WorkflowHandle[object, object]", step: str) -> None:
    """Returns when a worker has taken the step's activity, or is found to have done it already."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            described = await inner.describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            for pending in described.raw_description.pending_activities:
                taken = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
                if pending.activity_id == step and taken:
                    return
            if described.close_time is not None:
                return
        await asyncio.sleep(_PERIOD_SECONDS)
    raise Unmeasured(f"step {step} did not begin within {_PATIENCE_SECONDS:.0f} s")


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(UTC)


if __name__ == "__main__":
    run(main)
