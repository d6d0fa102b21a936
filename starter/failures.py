"""How a request can fail for the one who asked; raised by `operations` and `documents`, printed by the CLI.

A category is what a program acts on: each has its exit code, and none of them is a traceback.
"""

from typing import NamedTuple


class Category(NamedTuple):
    name: str
    exit_code: int


DONE = Category("done", 0)
FAILED = Category("failed", 1)
BAD_REQUEST = Category("bad-request", 2)
PARKED = Category("parked", 3)
#: Nobody answered, so it may take effect or not; a person must look, as at what has parked.
UNKNOWN = Category("unknown", 3)
REFUSED = Category("refused", 4)
DECLINED = Category("declined", 5)


class OperationFailed(Exception):
    """`message` says what happened in a line, `help` what to do next; `details` are further lines of it."""

    def __init__(
        self, category: Category, message: str, help: str = "", details: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.category = category
        self.message = message
        self.help = help
        self.details = details


def category_of(state: str, cancelled: bool = False) -> Category:
    """What the end of an operation, or its being parked, means to the one who asked.

    `state` is the value of an OperationState; every other state is of an operation that still goes on.
    """
    if state == "undone" and cancelled:
        return DECLINED
    return CATEGORIES.get(state, DONE)


#: Of every state in which an operation does not go on.
CATEGORIES = {
    "planned": DONE,
    "succeeded": DONE,
    "undone": FAILED,
    "undone-in-part": FAILED,
    "invalid": BAD_REQUEST,
    "refused": REFUSED,
    "declined": DECLINED,
    "parked": PARKED,
}
