"""Activity calls that can be made again, and the few ways of awaiting that cancels need; used by stories."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from workflows.patience import CHANGE, WAITING

T = TypeVar("T")
#: An activity call that can be made again; the number is how often a person has said "retry".
Call = Callable[[int], Awaitable[Any]]


def call(activity: Any, request: Any, **patience: Any) -> Call:
    """An activity call with our patience; a retry by a person carries its number to the activity."""
    options: Any = {**CHANGE, **patience}

    def do(tries: int) -> Awaitable[Any]:
        argument = request.model_copy(update={"tries": tries}) if tries else request
        # The step is the activity's id, so that whoever looks at pending activities sees which step is at work.
        return workflow.execute_activity_method(activity, argument, activity_id=request.step, **options)

    return do


def undoing(activity: Any, request: Any) -> Call:
    """An activity call as an undo: what cannot be undone within our patience parks, and a person decides."""
    return call(activity, request, **WAITING)


async def detached(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end whatever cancels arrive meanwhile. One shield is not enough: the awaiting task is
    cancelled all the same, so wait again."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            current = asyncio.current_task()
            if current is not None:
                current.uncancel()
    return task.result()


async def all_of(lanes: list[Coroutine[Any, Any, None]]) -> None:
    """Run side by side; the first that fails stops the others, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(lane)
        return
    except BaseExceptionGroup as several:
        # The lanes that were stopped because of it only say "cancelled"; the reason is the first real failure.
        real = [error for error in several.exceptions if not is_cancel(error)]
        failure = (real or list(several.exceptions))[0]
    # Outside of the handler, and not "from" anything: that would replace the failure's own cause.
    raise failure


def is_cancel(end: BaseException) -> bool:
    return isinstance(end, asyncio.CancelledError) or is_cancelled_exception(end)


async def attempt(do: Call, tries: int) -> Any:
    return await do(tries)
