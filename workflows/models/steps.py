"""What a plan is made of, and what is recorded while it is carried out."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from activities.models.common import Message

#: Who asks, approves or decides. The record tells it for ever, so nobody may stay unnamed.
Person = Annotated[str, Field(min_length=1, pattern=r"\S")]


class PlannedStep(Message):
    """One step as the plan shows it and the record repeats it, in the user's words."""

    id: str  # "db/0/disk/data": stable within the operation, part of every idempotency key
    title: str
    reason: str = ""
    undo: str = ""  # what undoing would do; empty when there is nothing to undo
    point_of_no_return: bool = False  # once this step is done, nothing before it is undone
    skippable: bool = False  # whether a person may skip it without harm
    changes: bool = True  # False for a step that only looks


class StepState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    PARKED = "parked"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNDOING = "undoing"
    UNDONE = "undone"
    NOT_UNDONE = "not undone"


class StepRecord(BaseModel):
    """One step while and after it runs. `error` is the last thing that stopped it, `help` what to do."""

    step: PlannedStep
    state: StepState = StepState.WAITING
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tries: int = 0
    error: str = ""
    help: str = ""
    seen: str = ""  # what the step measured or made: a volume id, an address

    def trimmed(self) -> "StepRecord":
        """The record without the words of its plan, which stand beside it: they are joined by the step's id."""
        return self.model_copy(update={"step": PlannedStep(id=self.step.id, title="")})


class Decision(StrEnum):
    """What a person may say to a parked step."""

    RETRY = "retry"
    SKIP = "skip"
    ABORT = "abort"


class Decide(Message):
    """A decision about the parked steps; `step` None: about all of them. Signed."""

    decision: Decision
    by: Person
    reason: str = ""
    step: str | None = None


class Said(Message):
    """A decision that a person made, as the operation's history tells it."""

    at: datetime
    by: str
    what: str
    reason: str = ""


class StoryState(StrEnum):
    RUNNING = "running"
    PARKED = "parked"
    UNDOING = "undoing"
    DONE = "done"
    UNDONE = "undone"
    UNDONE_IN_PART = "undone-in-part"
    FACTS_CHANGED = "facts-changed"


class Outcome(Message):
    """How the story of one component ended."""

    state: StoryState
    reason: str = ""
    help: str = ""
    cancelled: bool = False
    left_behind: list[str] = []
    steps: list[StepRecord] = []


class Progress(Message):
    """What the inner workflow answers while it runs."""

    state: StoryState
    component: str
    steps: list[StepRecord]
    cancel_would: str
    no_way_back: str = ""
