"""What an activity's failure carries to the workflow, as the detail of Temporal's ApplicationError."""

from activities.models.common import Message


class Failure(Message):
    """What went wrong, and what to do about it.

    `type` is the name of one of `activities.errors`, or of the exception that nobody foresaw; `help` says
    what to do, in a sentence, and is empty when the message says it all. `untouched`: the activity has
    looked, and the world is as it was before the step began, so that giving up loses nothing.
    """

    type: str
    message: str
    help: str = ""
    retryable: bool
    untouched: bool = False
