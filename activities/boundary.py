"""Where activities meet Temporal: our errors become its failures, a running activity beats, and log lines say
which operation they belong to. A worker gets one `Boundary` in its list of interceptors.

    activity ──► NotReadyYet, for less than a second ──► waited for here, for some seconds
             ├─► SupergiantError ──► ApplicationError(type, Failure) ──► retried at our pace, or parked
             └─► anything else   ──► retried; its text and traceback stay in the worker's log, because an
                                     exception that nobody foresaw may hold a secret, and histories are shown
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError, FailureError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from activities.errors import NotReadyYet, Permanent, SupergiantError, Throttled, Transient
from activities.idempotency import Beats, attempt_began, beats
from activities.models.common import StepRequest
from activities.models.failures import Failure

log = logging.getLogger(__name__)

#: A beat is cheap, and three fit into the shortest heartbeat timeout that the workflows use (5 s).
BEAT = timedelta(seconds=1.5)

#: The server makes every retry wait this long at least (measured on 1.32), so a shorter delay is kept here.
SERVERS_SHORTEST = timedelta(seconds=1)

#: Counted from when the activity was asked for. Longer waits are left to the server, because a waiting
#: activity holds one of the worker's slots; under load, when they wait for slots, nothing is waited for here.
WAITED_FOR_HERE = timedelta(seconds=6)

#: Temporal cuts a failure at 4 KiB; the texts of APIs can be longer than anybody reads.
LONGEST_MESSAGE = 1_500

_RANDOM = random.SystemRandom()


class Boundary(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Inbound(next)


class LogContext(logging.Filter):
    """Gives every record the fields activity, operation, step and attempt, empty outside of activities. It
    goes on the handlers, since the filter of a logger does not see the records of its children."""

    def filter(self, record: logging.LogRecord) -> bool:
        for key, value in (_NOWHERE | _context.get()).items():
            setattr(record, key, value)
        return True


_NOWHERE: dict[str, str] = {"activity": "", "operation": "", "step": "", "attempt": ""}
_context: ContextVar[dict[str, str]] = ContextVar("supergiant_log_context", default=_NOWHERE)


class _Inbound(ActivityInboundInterceptor):
    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        # `activity.heartbeat` cannot be used for beating: once a threaded activity runs, it is a call that
        # waits for the event loop, and from the event loop it would wait for itself.
        self._outbound = outbound
        super().init(outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = self._outbound.info()
        attempt_began.set(time.time())
        _context.set(_described(info, input.args))
        beating = self._begin_to_beat(info.heartbeat_timeout) if info.heartbeat_timeout else None
        try:
            with translated(info):
                return await self._patiently(input, info)
        finally:
            if beating is not None:
                beating.cancel()

    async def _patiently(self, input: ExecuteActivityInput, info: activity.Info) -> Any:
        """Keep short waits to ourselves: no thread is held, and the attempt stays one."""
        while True:
            try:
                return await super().execute_activity(input)
            except NotReadyYet as error:
                if not _worth_waiting_here(error, info):
                    raise
                waiting, pause = error, error.retry_after
            assert pause is not None
            await asyncio.sleep(pause.total_seconds())
            if activity.is_cancelled() or activity.is_worker_shutdown():
                raise waiting
            # The first execution has put a call for threads in the place of the heartbeat; see `init`.
            self.next.init(self._outbound)

    def _begin_to_beat(self, timeout: timedelta) -> "asyncio.Task[None]":
        # Set here and not in the task, whose context the activity would not see.
        life = Beats(timeout)
        beats.set(life)
        return asyncio.create_task(self._beat(life, timeout))

    async def _beat(self, life: Beats, timeout: timedelta) -> None:
        """Say that this worker lives. Whether the thread gets anywhere is bounded by start_to_close."""
        pause = min(BEAT, timeout / 3).total_seconds()
        while True:
            life.beat()
            self._outbound.heartbeat()
            await asyncio.sleep(pause)


@contextlib.contextmanager
def translated(info: activity.Info) -> Iterator[None]:
    """Turn what an activity raises into what Temporal understands."""
    try:
        yield
    except SupergiantError as error:
        if isinstance(error, Transient) and _cancel_requested():
            # Asked to stop, and nothing was wrong: a cancel, not a failure that the workflow would explain.
            raise CancelledError(_short(str(error))) from None
        level = logging.DEBUG if isinstance(error, NotReadyYet) else logging.WARNING
        log.log(level, "%s: %s", type(error).__name__, error)
        raise _failure(error, info.attempt) from None
    except (FailureError, asyncio.CancelledError):
        raise
    except Exception as error:
        log.exception("nobody foresaw this error")
        name = type(error).__name__
        failure = Failure(
            type=name,
            message=f"{info.activity_type} met an error that nobody foresaw ({name})",
            help="The worker's log says more; it is tried again by itself.",
            retryable=True,
        )
        raise ApplicationError(failure.message, failure, type=name) from None


def _failure(error: SupergiantError, attempt: int) -> ApplicationError:
    name, message = type(error).__name__, _short(str(error))
    return ApplicationError(
        message,
        Failure(
            type=name,
            message=message,
            help=error.help,
            retryable=error.retryable,
            untouched=isinstance(error, Permanent) and error.untouched,
        ),
        type=name,
        non_retryable=not error.retryable,
        next_retry_delay=_delay(error, attempt),
        category=(
            ApplicationErrorCategory.BENIGN
            if isinstance(error, NotReadyYet)
            else ApplicationErrorCategory.UNSPECIFIED
        ),
    )


def _delay(error: SupergiantError, attempt: int) -> timedelta | None:
    """When to try again; None leaves it to the retry policy, which has no jitter."""
    if not isinstance(error, Transient) or error.retry_after is not None:
        return error.retry_after if isinstance(error, Transient) else None
    if isinstance(error, Throttled):
        # All who were turned away at once must not come back at once.
        return timedelta(seconds=min(20.0, 2.0 ** min(attempt, 5)) * _RANDOM.uniform(0.5, 1.0))
    return None


def _worth_waiting_here(error: NotReadyYet, info: activity.Info) -> bool:
    if error.retry_after is None or error.retry_after >= SERVERS_SHORTEST:
        return False
    since_asked = datetime.now(UTC) - info.scheduled_time
    since_begun = timedelta(seconds=time.time() - (attempt_began.get() or 0.0))
    return max(since_asked, since_begun) < WAITED_FOR_HERE


def _cancel_requested() -> bool:
    if not activity.in_activity():
        return False
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


def _described(info: activity.Info, args: Any) -> dict[str, str]:
    request = args[0] if args else None
    step = request if isinstance(request, StepRequest) else None
    return {
        "activity": info.activity_type,
        "operation": step.operation if step else "",
        "step": step.step if step else "",
        "attempt": str(info.attempt),
    }


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "…"
