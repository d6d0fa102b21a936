"""Looks at locks for the outer workflow. The lock is the id of a running workflow, so there is nothing to leak."""

from datetime import timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.errors import NotReadyYet, Unreachable
from activities.models.locks import AskLock, LockHolder


class LockActivities:
    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name="read-lock")
    async def read_lock(self, ask: AskLock) -> LockHolder:
        """Who holds the lock now."""
        handle = self._client.get_workflow_handle(ask.workflow_id, run_id=ask.run_id or None)
        try:
            seen = await handle.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return LockHolder(held=False)
            raise Unreachable(f"Temporal did not say who holds {ask.workflow_id}: {error.message}") from error
        memo = await seen.memo()
        return LockHolder(
            held=seen.status is WorkflowExecutionStatus.RUNNING,
            operation=str(memo.get("operation", "")),
            kind=seen.workflow_type.removesuffix("-component"),
            run_id=seen.run_id,
            since=seen.start_time,
        )

    @activity.defn(name="await-lock")
    async def await_lock(self, ask: AskLock) -> None:
        """Return when the holder that was seen has finished. Holds no worker slot between looks."""
        holder = await self.read_lock(ask)
        if holder.held:
            raise NotReadyYet(f"behind operation {holder.operation}", retry_after=timedelta(seconds=1))
