"""Looks at one operation, again and again: outer workflow, inner workflows and their activities. Used by
`operations` for `op show` and `--watch`; it keeps what it saw, so a worker that dies does not blank the
picture.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from activities.models import search_attributes
from starter.connecting import explained
from starter.failures import BAD_REQUEST, OperationFailed
from starter.snapshots import Attempt, Snapshot
from workflows.ids import operation_workflow_id
from workflows.models.operations import ComponentRun, OperationRecord, OperationState
from workflows.models.steps import Progress

#: A worker answers a query in milliseconds; one that has died never does (guessed).
QUERY_TIMEOUT = timedelta(seconds=2)

#: Workers poll for a minute at a time, so one that was seen within this time may still be there.
POLLER_SEEN_WITHIN = timedelta(seconds=75)

#: An activity that nobody has taken for so long has no worker that could (guessed).
TAKEN_WITHIN = timedelta(seconds=3)


class Watcher:
    def __init__(self, client: Client, operation: str, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self._operation = operation
        self._last: OperationRecord | None = None
        self._progress: dict[str, Progress] = {}

    async def look(self) -> Snapshot:
        handle = self._client.get_workflow_handle(operation_workflow_id(self._operation))
        with explained(self._client):
            try:
                outer = await handle.describe()
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
                    raise no_such_operation(self._operation) from None
                raise
            if outer.status is not WorkflowExecutionStatus.RUNNING:
                return Snapshot(await self._result(outer))
            return await self._running(handle, outer)

    async def _result(self, outer: WorkflowExecutionDescription) -> OperationRecord:
        handle = self._client.get_workflow_handle(outer.id, run_id=outer.run_id, result_type=OperationRecord)
        try:
            record: OperationRecord = await handle.result()
            return record
        except WorkflowFailureError as failure:
            status = outer.status.name.lower().replace("_", " ") if outer.status else "gone"
            return _from_description(
                self._operation,
                outer,
                state=OperationState.UNDONE_IN_PART,
                explanation=f"the workflow was ended by force ({status}): {failure.cause}",
                help="nothing was undone; `supergiant app show` shows what is there; delete it, or deploy",
                left_behind=["whatever had been made until then"],
            )

    async def _running(
        self, handle: WorkflowHandle[Any, Any], outer: WorkflowExecutionDescription
    ) -> Snapshot:
        note = ""
        try:
            self._last = await handle.query("record", result_type=OperationRecord, rpc_timeout=QUERY_TIMEOUT)
        except (RPCError, WorkflowQueryFailedError) as error:
            note = await why_silent(self._client, self._task_queue, error)
            if self._last is None:
                self._last = _from_description(self._operation, outer, waits_for="a worker")
        record = self._last
        begun = [run for run in record.components if run.run_id and not run.steps]
        seen = await asyncio.gather(*(self._inner(run, silent=bool(note)) for run in begun))
        names = {run.component for run in begun}
        progress = {name: p for name, p in self._progress.items() if name in names}
        return Snapshot(record, progress, [attempt for attempts in seen for attempt in attempts], note)

    async def _inner(self, run: ComponentRun, silent: bool) -> list[Attempt]:
        """Keep the component's progress, and return the attempts that are worth a word."""
        handle = self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
        try:
            if not silent:
                self._progress[run.component] = await handle.query(
                    "progress", result_type=Progress, rpc_timeout=QUERY_TIMEOUT
                )
            description = await handle.describe()
            return [_attempt(p) for p in description.raw_description.pending_activities if _notable(p)]
        except (RPCError, WorkflowQueryFailedError):
            return []  # It has just ended, or nobody answers; the outer workflow says which.


def no_such_operation(operation: str) -> OperationFailed:
    return OperationFailed(
        BAD_REQUEST, f"there is no operation {operation!r}", "`supergiant op list` lists them"
    )


async def why_silent(client: Client, task_queue: str, error: Exception | None = None) -> str:
    """Why no answer comes: no worker, one that may have died, or one whose code fails."""
    if isinstance(error, WorkflowQueryFailedError):
        return f"the worker cannot carry on with it: {error}"
    seen = await worker_seen_at(client, task_queue)
    if seen is None:
        return f"no worker polls the task queue {task_queue!r}; start one with `supergiant worker`"
    return f"no worker answers (last seen at {seen.astimezone():%H:%M:%S}); it goes on when one is back"


async def worker_seen_at(client: Client, task_queue: str) -> datetime | None:
    """When a worker last asked for work; None if that is too long ago for one to be there."""
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    seen = max((p.last_access_time.ToDatetime(UTC) for p in answer.pollers), default=None)
    return seen if seen and datetime.now(UTC) - seen < POLLER_SEEN_WITHIN else None


def _from_description(operation: str, outer: WorkflowExecutionDescription, **values: Any) -> OperationRecord:
    """What can be said without the workflow's own answer."""
    attributes = outer.typed_search_attributes

    def word(name: str, default: str = "") -> str:
        return attributes.get(SearchAttributeKey.for_keyword(name)) or default

    return OperationRecord.model_validate(
        {
            "id": operation,
            "kind": word(search_attributes.KIND, "deploy"),
            "cluster": word(search_attributes.CLUSTER),
            "app": word(search_attributes.APP),
            "tenant": word(search_attributes.TENANT),
            "requester": word(search_attributes.REQUESTER),
            "reason": "",
            "state": word(search_attributes.STATE, "planning"),
            "asked_at": outer.start_time,
            "ended_at": outer.close_time,
            **values,
        }
    )


def _attempt(pending: PendingActivityInfo) -> Attempt:
    waits = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return Attempt(
        # The stories give an activity the id of the step it is for.
        step=pending.activity_id,
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
