"""What the activities of a workflow are doing, from Temporal's description of it; asked by `watching`."""

from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionDescription

from starter.snapshots import Attempt

#: An activity that nobody has taken for so long has no worker that could (guessed).
TAKEN_WITHIN = timedelta(seconds=3)


def attempts_of(description: WorkflowExecutionDescription) -> list[Attempt]:
    """The attempts that are worth a word: not those that are under way for the first time."""
    return [_attempt(p) for p in description.raw_description.pending_activities if _notable(p)]


def _attempt(pending: PendingActivityInfo) -> Attempt:
    waits = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return Attempt(
        # The stories give an activity the id of the step it is for; those of no step have a number.
        step=pending.activity_id if "/" in pending.activity_id else "",
        activity=pending.activity_type.name,
        number=pending.attempt,
        failure=_failure(pending),
        next_at=_time(pending, "next_attempt_schedule_time") if waits else None,
        worker=pending.last_worker_identity,
        running=not waits,
    )


def _notable(pending: PendingActivityInfo) -> bool:
    if pending.attempt > 1:
        return True
    scheduled = _time(pending, "scheduled_time")
    waits = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return bool(waits and scheduled and datetime.now(UTC) - scheduled > TAKEN_WITHIN)


def _failure(pending: PendingActivityInfo) -> str:
    if not pending.HasField("last_failure"):
        return "" if pending.attempt > 1 else "no worker has taken it yet"
    if pending.last_failure.HasField("timeout_failure_info"):
        return "the worker that had it died or hung; it is done again, looking first"
    return pending.last_failure.message


def _time(pending: PendingActivityInfo, field: str) -> datetime | None:
    moment: datetime = getattr(pending, field).ToDatetime(UTC)
    return moment if pending.HasField(field) else None  # type: ignore[arg-type]
