"""An operation from asking to its record: the messages of the outer workflow."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from activities.models.apps import App
from activities.models.common import Message
from workflows.models.plans import Plan
from workflows.models.steps import Person, StepRecord


class OperationKind(StrEnum):
    DEPLOY = "deploy"
    DELETE = "delete"


class OperationState(StrEnum):
    PLANNING = "planning"
    WAITING_FOR_APPROVAL = "waiting-for-approval"
    QUEUED = "queued"
    RUNNING = "running"
    PARKED = "parked"
    UNDOING = "undoing"
    PLANNED = "planned"  # only the plan was asked for
    SUCCEEDED = "succeeded"
    UNDONE = "undone"
    UNDONE_IN_PART = "undone-in-part"
    INVALID = "invalid"  # planning found that it cannot be done as asked; nothing was touched
    REFUSED = "refused"  # by lock, policy, quota or capacity; nothing was touched
    DECLINED = "declined"  # rejected, expired or cancelled before anything was touched

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = {
    OperationState.PLANNED,
    OperationState.SUCCEEDED,
    OperationState.UNDONE,
    OperationState.UNDONE_IN_PART,
    OperationState.INVALID,
    OperationState.REFUSED,
    OperationState.DECLINED,
}


class OnFailure(StrEnum):
    """What a permanent failure does: wait for a person, or undo by itself (for unattended operations)."""

    PARK = "park"
    UNDO = "undo"


class DeployRequest(Message):
    app: App


class DeleteRequest(Message):
    """`components` empty: all of the app. `keep_disks_seconds` None: the worker's retention setting."""

    app: str
    components: list[str] = []
    delete_disks: bool = False


class OperationRequest(Message):
    """One change asked for by someone. `id` is the caller's: the same id twice is the same operation.

    `agreed` names a plan that the requester has seen and agreed to (`Plan.agreement`): with another one the
    operation is refused instead of doing something that nobody looked at. Empty: nobody was asked.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    kind: OperationKind
    cluster: str
    app: str
    tenant: str = "default"
    requester: Person
    reason: str = ""
    wait: bool = True
    plan_only: bool = False
    on_failure: OnFailure = OnFailure.PARK
    agreed: str = ""
    deploy: DeployRequest | None = None
    delete: DeleteRequest | None = None

    @property
    def inconsistent(self) -> str:
        """Why the request contradicts itself, "" when it does not: policy and locks must speak of one app."""
        if self.kind is OperationKind.DEPLOY and self.deploy is not None:
            document = self.deploy.app
            same = (self.app, self.tenant) == (document.app, document.tenant)
            return "" if same else f"asked for app {self.app}, but the document is of {document.app}"
        if self.kind is OperationKind.DELETE and self.delete is not None:
            return "" if self.app == self.delete.app else f"asked for app {self.app}, not {self.delete.app}"
        return f"a request to {self.kind} must say what"


class Approve(Message):
    """`plan_hash` proves that the approver saw the plan that would run."""

    by: Person
    reason: str
    plan_hash: str


class Reject(Message):
    by: Person
    reason: str


class Cancel(Message):
    by: Person
    reason: str = ""


class Approval(BaseModel):
    """What the policy demands and what was answered."""

    needed_because: list[str] = []
    approvers: list[str] = []
    not_requester: bool = False
    expires_at: datetime | None = None
    granted_by: str = ""
    granted_at: datetime | None = None
    reason: str = ""
    plan_hash: str = ""


class Event(Message):
    """One line of the operation's own history: who did what and why."""

    at: datetime
    by: str
    what: str
    reason: str = ""


class ComponentRun(BaseModel):
    """One component's inner workflow: its lock id and run, and its steps once it has ended."""

    component: str
    workflow_id: str
    run_id: str = ""
    state: str = "waiting"
    steps: list[StepRecord] = []


class OperationRecord(BaseModel):
    """Everything about an operation: the answer of the `record` query and the result of the workflow.

    `behind` names the operation that holds the lock; `waits_for` says in plain words what it waits for;
    `help` says what to do next.
    """

    id: str
    kind: OperationKind
    cluster: str
    app: str
    tenant: str
    requester: str
    reason: str
    state: OperationState
    asked_at: datetime
    ended_at: datetime | None = None
    plan: Plan | None = None
    approval: Approval | None = None
    components: list[ComponentRun] = []
    behind: str = ""
    waits_for: str = ""
    explanation: str = ""
    help: str = ""
    cancelled: bool = False
    no_way_back: str = ""
    left_behind: list[str] = []
    history: list[Event] = []
