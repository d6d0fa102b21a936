"""A question to the worker: something only it can look up, because only it holds credentials."""

from typing import Any

from activities.models.common import Message


class Question(Message):
    """`activity` is the registered name of a reading activity, `argument` its request as plain values."""

    activity: str
    argument: dict[str, Any] = {}
