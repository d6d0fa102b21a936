"""Looks at one operation, again and again: outer workflow, inner workflows and their activities. Used by
`operations` for `op show` and `--watch`; it keeps what it saw, so a worker that dies does not blank the
picture.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
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
from starter.attempts import attempts_of
from starter.connecting import explained
from starter.failures import BAD_REQUEST, OperationFailed
from starter.orphans import Orphans
from starter.snapshots import Attempt, Snapshot
from workflows.ids import operation_workflow_id
from workflows.models.operations import ComponentRun, OperationRecord
from workflows.models.steps import Progress

#: A worker answers a query in milliseconds; one that has died never does (guessed).
QUERY_TIMEOUT = timedelta(seconds=2)

#: Workers poll for a minute at a time, so one that was seen within this time may still be there.
POLLER_SEEN_WITHIN = timedelta(seconds=75)


class Watcher:
    def __init__(self, client: Client, operation: str, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self._operation = operation
        self._last: OperationRecord | None = None
        self._progress: dict[str, Progress] = {}
        self._orphans: Orphans | None = None

    async def look(self) -> Snapshot:
        handle = self._client.get_workflow_handle(operation_workflow_id(self._operation))
        with explained(self._client):
            try:
                outer = await handle.describe()
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND and "amespace" not in error.message:
                    raise no_such_operation(self._operation) from None
                raise
            if outer.status is WorkflowExecutionStatus.RUNNING:
                return await self._running(handle, outer)
            try:
                ended = self._client.get_workflow_handle(
                    outer.id, run_id=outer.run_id, result_type=OperationRecord
                )
                return Snapshot(await ended.result())
            except WorkflowFailureError as failure:
                return await self._orphaned(outer, failure)

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
        attempts = await self._components(begun, silent=bool(note))
        if not record.behind:
            # Waiting in the queue is made of many attempts too, and the record says already behind whom.
            attempts = [*attempts_of(outer), *attempts]
        return Snapshot(record, dict(self._progress), attempts, note)

    async def _orphaned(self, outer: WorkflowExecutionDescription, failure: WorkflowFailureError) -> Snapshot:
        """The operation's own workflow was ended by force, so its components are asked one by one."""
        orphans = self._orphans = self._orphans or Orphans(self._client, self._operation, outer)
        await orphans.look()
        note = ""
        if orphans.running:
            note = await self._silence(orphans.running[0])
        attempts = await self._components(orphans.running, silent=bool(note))
        return Snapshot(
            self._record_of(orphans, failure), dict(self._progress), attempts, note, orphaned=True
        )

    def _record_of(self, orphans: Orphans, failure: WorkflowFailureError) -> OperationRecord:
        why = f"its own workflow was ended by force: {failure.cause}"
        ended = not orphans.running
        after = "its components ended without it" if orphans.found else "nothing had been touched"
        record = self._last or _from_description(self._operation, orphans.outer)
        return record.model_copy(
            update={
                "state": orphans.state(list(self._progress.values())),
                "components": [orphan.run for orphan in orphans.found],
                "ended_at": orphans.ended_at,
                "behind": "",
                "waits_for": "" if ended else f"its components; {why}",
                "explanation": f"{why}; {after}" if ended else "",
                "help": "`supergiant app show` shows what is there; delete it, or ask again" if ended else "",
                "no_way_back": next((p.no_way_back for p in self._progress.values() if p.no_way_back), ""),
                "left_behind": orphans.left_behind,
            }
        )

    async def _silence(self, run: ComponentRun) -> str:
        """Why a component does not answer; "" when it does."""
        try:
            await self._ask_progress(run)
        except (RPCError, WorkflowQueryFailedError) as error:
            return await why_silent(self._client, self._task_queue, error)
        return ""

    async def _components(self, begun: list[ComponentRun], silent: bool) -> list[Attempt]:
        """Keep the progress of those that go on, and return the attempts that are worth a word."""
        seen = await asyncio.gather(*(self._inner(run, silent) for run in begun))
        names = {run.component for run in begun}
        self._progress = {name: p for name, p in self._progress.items() if name in names}
        return [attempt for attempts in seen for attempt in attempts]

    async def _inner(self, run: ComponentRun, silent: bool) -> list[Attempt]:
        try:
            if not silent:
                await self._ask_progress(run)
            handle = self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
            return attempts_of(await handle.describe())
        except (RPCError, WorkflowQueryFailedError):
            return []  # It has just ended, or nobody answers; the outer workflow says which.

    async def _ask_progress(self, run: ComponentRun) -> None:
        handle = self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
        self._progress[run.component] = await handle.query(
            "progress", result_type=Progress, rpc_timeout=QUERY_TIMEOUT
        )


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
