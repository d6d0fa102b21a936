"""The queue before a component: who is at work on it, and waiting until that one has ended.

Used by `operation` before it believes a plan, and by `carry_out` when it takes the locks.
"""

from temporalio import workflow

from activities.locks import LockActivities
from activities.models.locks import AskLock, LockHolder
from workflows.ids import component_lock
from workflows.models.operations import OperationRequest
from workflows.models.plans import Plan
from workflows.patience import QUEUE


class Locked(Exception):
    """A lock is held and the caller did not want to wait; nothing was touched."""


async def holder_of(lock: str) -> LockHolder | None:
    """Who holds the lock; None when it is free."""
    holder: LockHolder = await workflow.execute_activity_method(
        LockActivities.read_lock, AskLock(workflow_id=lock), **QUEUE
    )
    return holder if holder.held else None


async def until_ended(lock: str, holder: LockHolder) -> None:
    """Wait for as long as it takes."""
    await workflow.execute_activity_method(
        LockActivities.await_lock, AskLock(workflow_id=lock, run_id=holder.run_id), **QUEUE
    )


def locked(lock: str, holder: LockHolder) -> str:
    return f"{lock.split('/', 1)[1]} is locked by operation {holder.operation} ({holder.kind})"


async def at_work_on(request: OperationRequest, plan: Plan) -> tuple[str, LockHolder] | None:
    """The lock and the holder of a component that the plan refuses, or finds as asked already.

    What another operation has half made looks like what one has left behind, and what it has half deleted as
    if it were there to stay. A plan that goes to work needs no such look: it queues when it takes the locks;
    nor does one that is impossible, whoever is at work.
    """
    if plan.impossible:
        return None
    planned = {one.component for one in plan.components}
    for name in sorted(_named(request)):
        if plan.refused or name not in planned:
            lock = component_lock(request.cluster, request.app, name)
            if holder := await holder_of(lock):
                return lock, holder
    return None


def _named(request: OperationRequest) -> list[str]:
    if request.deploy is not None:
        return [component.name for component in request.deploy.app.components]
    return request.delete.components if request.delete is not None else []
