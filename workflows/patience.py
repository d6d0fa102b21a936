"""How long we wait, and how often we try: named once, each with its reason."""

from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType, ActivityConfig

#: A dead worker is noticed in this time (guessed: short enough for somebody who watches, long enough for a
#: worker that is short of CPU); the activity boundary beats every second.
DEAD_AFTER = timedelta(seconds=5)

#: Undo must never overlap the step it undoes, so a cancelled activity is always waited for.
_WAIT = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED

#: One change and its look-ups. Attempts are not limited: a cloud or an API server that is away comes back, and
#: what cannot be mended by trying again raises a permanent error, which parks.
CHANGE = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=60),
    heartbeat_timeout=DEAD_AFTER,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=1.5, maximum_interval=timedelta(seconds=20)
    ),
    cancellation_type=_WAIT,
)

#: Waiting for the world. Attempts are counted, not time, so that a worker that is down does not use up the
#: patience; at the activities' pace (0.5 s rising to 3 s) these are about ten minutes.
WAITING = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=60),
    heartbeat_timeout=DEAD_AFTER,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=1.5,
        maximum_interval=timedelta(seconds=20),
        maximum_attempts=250,
    ),
    cancellation_type=_WAIT,
)

#: Reading before anything is touched: a cluster that does not answer is reported within eight seconds, which
#: an API server that restarts stays below, because somebody is waiting and nothing is lost.
LOOK = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    heartbeat_timeout=DEAD_AFTER,
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=1.5, maximum_attempts=5
    ),
    cancellation_type=_WAIT,
)

#: Waiting in the queue behind another operation, for as long as it takes.
QUEUE = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    heartbeat_timeout=DEAD_AFTER,
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=5)),
    cancellation_type=_WAIT,
)
