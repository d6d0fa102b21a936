"""Keys by which a thing is made once however often its step runs, and the time an attempt has to act in.

Used by the activities that change what costs money. The key is cluster, operation and step, never the
attempt: so every attempt of a step, and its own ghost on another worker, say the same.
"""

import hashlib
import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.errors import NotReadyYet
from activities.models.common import StepRequest
from activities.models.tags import CLUSTER, OPERATION, STEP, TRY

#: What must be left of an attempt's time to begin a change: more than one request can take (3 s to connect,
#: 20 s to read the answer), so that none is still on its way when the next attempt, or the undo, has begun.
TIME_TO_ACT = timedelta(seconds=25)

#: When the attempt reached this worker, by its own clock; set by `boundary` before the activity has a thread.
#: The wall clock and not the monotonic one, which stands still while a machine is paused.
attempt_began: ContextVar[float | None] = ContextVar("attempt_began", default=None)


def token(request: StepRequest, generation: int = 0) -> str:
    """The idempotency token of a step: 64 hexadecimal digits, the most that EC2 takes.

    A generation is the life of one token. The next begins only when what the last one made is known to be
    dead, because a cloud goes on answering a token with the thing that it made first.
    """
    words = [request.cluster, request.operation, request.step, *([str(generation)] if generation else [])]
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:64]


def key_tags(request: StepRequest, step: str | None = None) -> dict[str, str]:
    """What a step's things are found by; `step` for those of another step of the operation."""
    return {CLUSTER: request.cluster, OPERATION: request.operation, STEP: step or request.step}


def try_tag(generation: int) -> dict[str, str]:
    """Part of the tags at creation: the same on every attempt, or the cloud would refuse the token because
    its parameters differ."""
    return {TRY: str(generation)} if generation else {}


def generation_of(tags: dict[str, str]) -> int:
    value = tags.get(TRY, "0")
    return int(value) if value.isdigit() else 0


def check_time_to_act() -> None:
    """Refuse to begin a change late in an attempt, or after its cancel.

    A thread that hung (a paused machine, a stalled resolver) may wake up after its attempt was given up and
    its step undone, and nobody would look for what it made then.
    """
    began = attempt_began.get()
    if began is None or not activity.in_activity():
        return
    allowed = activity.info().start_to_close_timeout
    elapsed = timedelta(seconds=time.time() - began)
    if activity.is_cancelled() or (allowed and elapsed > max(allowed - TIME_TO_ACT, allowed / 4)):
        raise NotReadyYet("this attempt came too late to begin a change; the next one does it")


def waited() -> timedelta:
    """How long ago the step's activity was first asked for, over all its attempts."""
    return datetime.now(UTC) - activity.info().scheduled_time


def pace() -> timedelta:
    """The delay before looking again: short in the first attempt, where `boundary` keeps it, three seconds in
    the end."""
    return timedelta(seconds=min(3.0, 0.3 * 1.25 ** (activity.info().attempt - 1)))
