"""The two kinds of message base: strict at the door, lenient on the wire; used by every model."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """What travels between workflows and activities: frozen, and unknown fields are ignored, so that a
    message of a newer version does not break an older reader."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(BaseModel):
    """What a person writes. The door refuses unknown keys (`model_validate(..., extra="forbid")`); on the wire
    they are ignored like those of any message."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StepRequest(Message):
    """Base of every request that changes something.

    `operation` and `step` together are the idempotency key: the same pair never makes a thing twice.
    `tries` counts how often a person has said "retry"; it lets a step replace what failed for good.
    """

    cluster: str
    operation: str
    step: str
    tries: int = 0

    @property
    def is_undo(self) -> bool:
        return self.step.endswith("/undo")


class AppRequest(StepRequest):
    """Base of requests about what carries the app in its key, as what has no namespace must."""

    app: str
