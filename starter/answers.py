"""Waits for what a worker has to answer: says why no answer comes, gives up in time, and makes sure that saying
the same thing again is not said twice. Used by `operations`.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from starter.connecting import explained
from starter.failures import BAD_REQUEST, REFUSED, UNKNOWN, OperationFailed
from starter.watching import why_silent

T = TypeVar("T")

#: Silence after which somebody who waits is told why (guessed).
SAY_AFTER = timedelta(seconds=3)

#: How long somebody waits for a worker to take an answer or a question.
ANSWER_WITHIN = timedelta(seconds=60)


class NobodyHears(Exception):
    """The workflow that was told something has ended, or never was."""


class Answers:
    """`say` gets notes for whoever waits."""

    def __init__(self, client: Client, task_queue: str, say: Callable[[str], None]) -> None:
        self._client = client
        self._task_queue = task_queue
        self._say = say

    async def tell(
        self,
        handle: WorkflowHandle[Any, Any],
        operation: str,
        update: str,
        message: BaseModel,
        occasion: str = "",
    ) -> Any:
        """Say it to a workflow and return its answer. The same message on the same `occasion` is one update
        however often it is sent; NobodyHears if the workflow does not run."""
        parts = [operation, update, message.model_dump_json(), occasion]
        update_id = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]
        again = f"`supergiant op show {operation}` shows whether it did; said again, it is still said once"
        with explained(self._client, again):
            try:
                return await self.wait(handle.execute_update(update, message, id=update_id), again)
            except WorkflowUpdateFailedError as refusal:
                cause = refusal.cause
                why = cause.message if isinstance(cause, ApplicationError) else str(cause)
                raise OperationFailed(REFUSED, why, f"`supergiant op show {operation}` shows it") from refusal
            except WorkflowUpdateRPCTimeoutOrCancelledError as error:
                said = f"Temporal did not answer; it may still take effect: {error}"
                raise OperationFailed(UNKNOWN, said, again) from error
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
        raise NobodyHears

    async def wait(self, answer: Coroutine[Any, Any, T], again: str = "") -> T:
        """Wait for an answer of a worker; say why if it does not come soon, give up when it does not come.
        `again` is as in `explained`."""
        task = asyncio.ensure_future(answer)
        try:
            done, _ = await asyncio.wait([task], timeout=SAY_AFTER.total_seconds())
            if not done:
                self._say(await why_silent(self._client, self._task_queue))
                await asyncio.wait([task], timeout=(ANSWER_WITHIN - SAY_AFTER).total_seconds())
            if task.done():
                return task.result()
        finally:
            task.cancel()
            # A task whose error nobody takes would print it as a traceback when it is forgotten.
            await asyncio.gather(task, return_exceptions=True)
        raise nobody_answered(again)


def nobody_answered(again: str = "") -> OperationFailed:
    """The end of the patience with workers; `again` is as in `explained`."""
    waited = f"no worker answered within {ANSWER_WITHIN.total_seconds():.0f} s"
    if again:
        return OperationFailed(UNKNOWN, f"{waited}; it may still take effect", again)
    return OperationFailed(BAD_REQUEST, waited, "is one running? `supergiant doctor` tells")
