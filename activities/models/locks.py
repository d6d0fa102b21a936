"""Who holds the lock of a component: read from the server, which alone knows."""

from datetime import datetime

from activities.models.common import Message


class AskLock(Message):
    """`workflow_id` is the lock. `run_id` names the holder that was seen, when waiting for it to finish."""

    workflow_id: str
    run_id: str = ""


class LockHolder(Message):
    """The operation that holds the lock; `held` False: nobody does."""

    held: bool
    operation: str = ""
    kind: str = ""
    run_id: str = ""
    since: datetime | None = None
