"""The errors of activities. Each type answers: what happened, may we try again and when, who must act.

    SupergiantError
    ├── Transient            try again; nobody needs to act
    │   ├── NotReadyYet      the world is on its way; ask again after `retry_after`
    │   ├── Throttled        the API asked us to slow down
    │   ├── Unreachable      no answer, or a 5xx: the outcome is unknown, so look before acting again
    │   └── Conflict         somebody changed the object meanwhile; read and try again
    └── Permanent            trying again gives the same; the operation parks
        ├── InvalidSpec      what was asked for is not possible          -> the requester
        ├── AccessDenied     credentials are wrong or lack a permission  -> the cluster's administrator
        ├── QuotaExceeded    a limit of the account is reached           -> whoever can raise it
        ├── OutOfCapacity    the zone has nothing left                   -> another zone or type
        ├── NotFound         something given or made is gone             -> whoever deleted it
        ├── NotOurs          an object of that name belongs to another   -> its owner
        └── CameToFail       it was made, and then went to an error state

Adapters raise them with `from` the SDK's error; `boundary` turns them into Temporal's ApplicationError.
"""

from datetime import timedelta
from typing import ClassVar


class SupergiantError(Exception):
    """`help` says what to do, in a sentence; empty when the message says it all."""

    retryable: ClassVar[bool]

    def __init__(self, message: str, *, help: str = "") -> None:
        super().__init__(message)
        self.help = help


class Transient(SupergiantError):
    """`retry_after` None leaves the pace to the retry policy."""

    retryable = True

    def __init__(self, message: str, *, retry_after: timedelta | None = None, help: str = "") -> None:
        super().__init__(message, help=help)
        self.retry_after = retry_after


class NotReadyYet(Transient):
    pass


class Throttled(Transient):
    pass


class Unreachable(Transient):
    pass


class Conflict(Transient):
    pass


class Permanent(SupergiantError):
    """`untouched`: whoever raised it has looked, and the world is as it was before the step began."""

    retryable = False

    def __init__(self, message: str, *, help: str = "", untouched: bool = False) -> None:
        super().__init__(message, help=help)
        self.untouched = untouched


class InvalidSpec(Permanent):
    pass


class AccessDenied(Permanent):
    pass


class QuotaExceeded(Permanent):
    pass


class OutOfCapacity(Permanent):
    pass


class NotFound(Permanent):
    pass


class NotOurs(Permanent):
    pass


class CameToFail(Permanent):
    pass
