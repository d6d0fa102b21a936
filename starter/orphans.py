"""The components of an operation whose own workflow was ended by force: they hold their locks, and undo what they
did or wait for a person, with nobody above them. Found by `watching`, so that the operation can still be seen
and told something.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.service import RPCError, RPCStatusCode

from workflows.models.operations import ComponentRun, OperationState
from workflows.models.steps import Outcome, Progress, StoryState

#: What nobody can know of a workflow that was ended by force.
UNKNOWN_REMAINS = "whatever had been made until then; see `supergiant app show`"


@dataclass(frozen=True)
class Orphan:
    """`outcome` is how it ended; None: it goes on."""

    run: ComponentRun
    outcome: Outcome | None = None
    ended_at: datetime | None = None


@dataclass
class Orphans:
    """Those of one operation, as they were when `look` was called last."""

    client: Client
    operation: str
    outer: WorkflowExecutionDescription
    found: list[Orphan] = field(default_factory=list)
    _begun: dict[str, str] | None = None

    async def look(self) -> None:
        if self._begun is None:
            self._begun = await self._from_history()
        seen = await asyncio.gather(*(self._one(lock, run) for lock, run in self._begun.items()))
        self.found = [orphan for orphan in seen if orphan]

    @property
    def running(self) -> list[ComponentRun]:
        return [orphan.run for orphan in self.found if orphan.outcome is None]

    @property
    def ended_at(self) -> datetime | None:
        """When the last of them ended, None while one goes on."""
        if self.running:
            return None
        ends = [moment for moment in (self.outer.close_time, *(o.ended_at for o in self.found)) if moment]
        return max(ends, default=None)

    @property
    def left_behind(self) -> list[str]:
        return [left for orphan in self.found if orphan.outcome for left in orphan.outcome.left_behind]

    def state(self, progress: Sequence[Progress]) -> OperationState:
        """That of the operation as a whole, from those of its components."""
        if self.running:
            states = {one.state for one in progress}
            if StoryState.PARKED in states:
                return OperationState.PARKED
            return OperationState.UNDOING if StoryState.UNDOING in states else OperationState.RUNNING
        ends = {orphan.outcome.state for orphan in self.found if orphan.outcome}
        if ends == {StoryState.DONE}:
            return OperationState.SUCCEEDED
        return (
            OperationState.UNDONE
            if ends <= {StoryState.UNDONE, StoryState.FACTS_CHANGED}
            else OperationState.UNDONE_IN_PART
        )

    async def _from_history(self) -> dict[str, str]:
        """The locks that the operation asked for, with the run that holds each, "" where it did not hear of it
        any more. Its search attributes do not tell: a delete of a whole app names no components."""
        begun: dict[str, str] = {}
        handle = self.client.get_workflow_handle(self.outer.id, run_id=self.outer.run_id)
        async for event in handle.fetch_history_events():
            if event.HasField("start_child_workflow_execution_initiated_event_attributes"):
                begun[event.start_child_workflow_execution_initiated_event_attributes.workflow_id] = ""
            elif event.HasField("child_workflow_execution_started_event_attributes"):
                child = event.child_workflow_execution_started_event_attributes.workflow_execution
                begun[child.workflow_id] = child.run_id
        return begun

    async def _one(self, lock: str, run_id: str) -> Orphan | None:
        handle = self.client.get_workflow_handle(lock, run_id=run_id or None)
        try:
            seen = await handle.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None  # It never began, or its retention has ended.
            raise
        if await seen.memo_value("operation", "") != self.operation:
            return None  # The lock is held by another operation, behind which this one waited.
        run = ComponentRun(component=lock.rsplit("/", 1)[1], workflow_id=lock, run_id=seen.run_id)
        if seen.status is WorkflowExecutionStatus.RUNNING:
            return Orphan(run.model_copy(update={"state": StoryState.RUNNING.value}))
        outcome = await self._outcome(run)
        ended = run.model_copy(update={"state": outcome.state.value, "steps": outcome.steps})
        return Orphan(ended, outcome, seen.close_time)

    async def _outcome(self, run: ComponentRun) -> Outcome:
        handle = self.client.get_workflow_handle(run.workflow_id, run_id=run.run_id, result_type=Outcome)
        try:
            outcome: Outcome = await handle.result()
            return outcome
        except WorkflowFailureError as failure:
            return Outcome(
                state=StoryState.UNDONE_IN_PART,
                reason=f"ended by force: {failure.cause}",
                left_behind=[f"{run.component}: {UNKNOWN_REMAINS}"],
            )
