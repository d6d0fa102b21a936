"""Keys by which a thing is made once however often its step runs, and the time an attempt has to act in.

Used by the activities that change what costs money. The key is cluster, app, operation and step, never the
attempt: so every attempt of a step, and its own ghost on another worker, say the same.
"""

import hashlib
import time
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.errors import NotReadyYet
from activities.models.common import AppRequest
from activities.models.tags import APP, CLUSTER, OPERATION, STEP, TRY

#: What must be left of an attempt's time to begin a change: more than one request can take (3 s to connect,
#: 20 s to read the answer), so that none is still on its way when the next attempt, or the undo, has begun.
TIME_TO_ACT = timedelta(seconds=25)

#: When the attempt reached this worker, by its own clock; set by `boundary` before the activity has a thread.
#: The wall clock and not the monotonic one, which stands still while a machine is paused.
attempt_began: ContextVar[float | None] = ContextVar("attempt_began", default=None)


class Beats:
    """The life signs of one attempt, kept by `boundary` and read by the thread that acts.

    The server gives an attempt up after a time without a beat. Whoever was paused for most of that time must take it
    that another attempt, or the undo, has begun meanwhile.
    """

    def __init__(self, timeout: timedelta) -> None:
        self._longest = timeout.total_seconds() * 0.6
        self._last = time.time()
        self._missed = False

    def beat(self) -> None:
        self._missed = self.missed
        self._last = time.time()

    @property
    def missed(self) -> bool:
        """Whether there was ever too long a pause between two beats, or there is one now."""
        return self._missed or time.time() - self._last > self._longest


#: None outside of a worker, and where an activity has no heartbeat timeout.
beats: ContextVar[Beats | None] = ContextVar("beats", default=None)


def token(request: AppRequest, generation: int = 0) -> str:
    """The idempotency token of a step: 64 hexadecimal digits, the most that EC2 takes.

    The app is part of it: an operation's id may be used again once Temporal has forgotten it, and the disk that the
    first one made for another app must never be the answer.

    A generation is the life of one token. The next begins only when what the last one made is known to be
    dead, because a cloud goes on answering a token with the thing that it made first.
    """
    words = [request.cluster, request.app, request.operation, request.step]
    words += [str(generation)] if generation else []
    return hashlib.sha256("/".join(words).encode()).hexdigest()[:64]


def key_tags(request: AppRequest, step: str | None = None) -> dict[str, str]:
    """What a step's things are found by; `step` for those of another step of the operation."""
    return {
        CLUSTER: request.cluster,
        APP: request.app,
        OPERATION: request.operation,
        STEP: step or request.step,
    }


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
    began, life = attempt_began.get(), beats.get()
    if began is None or not activity.in_activity():
        return
    if life is not None and life.missed:
        raise NotReadyYet("this worker stood still, and may have been given up; the next attempt does it")
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
