"""What an operation would do, before it does it: the thing that is printed, priced, approved and then executed."""

import hashlib
import json

from activities.models.apps import Component
from activities.models.common import Message
from activities.models.facts import ComponentFacts
from activities.models.volumes import VolumeSpec
from workflows.models.steps import PlannedStep


class PlannedDisk(Message):
    instance: int
    blueprint: str
    claim: str
    file_system: str
    spec: VolumeSpec


class PlannedInstance(Message):
    number: int
    zone: str
    disks: list[PlannedDisk]


class ComponentPlan(Message):
    """What the inner workflow of one component gets. `facts` is the fingerprint this plan rests on;
    `keep_seconds` 0: the disks are deleted for good."""

    app: str
    component: str
    after: list[str] = []
    steps: list[PlannedStep]
    facts: str
    # Of a deploy:
    spec: Component | None = None
    release: int = 0
    instances: list[PlannedInstance] = []
    # Of a delete:
    found: ComponentFacts | None = None
    keep_seconds: int = 0


class Plan(Message):
    """Costs are USD a month; those of new disks of the types `unpriced` are not known, and not in them. `refused`
    non-empty: the operation cannot run, and why, one sentence each."""

    summary: str
    components: list[ComponentPlan]
    cost_before: float = 0.0
    cost_after: float = 0.0
    unpriced: list[str] = []
    priced_on: str = ""
    downtime: str = "none"
    risk: str = ""
    can_be_undone: str = ""
    exists: list[str] = []
    refused: list[str] = []
    notes: list[str] = []

    @property
    def steps(self) -> list[PlannedStep]:
        return [step for component in self.components for step in component.steps]

    @property
    def impossible(self) -> bool:
        """Whether what is refused is a wrong request, and not a shortage or a conflict with what runs."""
        wrong = ("no such zone", "there is no component", "too large")
        return any(why.startswith(wrong) for why in self.refused)

    @property
    def agreement(self) -> str:
        """Names what a person agrees to who was shown this plan: everything but the names that an operation
        makes up for itself, and the notes."""
        parts = [
            (
                one.component,
                one.facts,
                one.keep_seconds,
                [(i.number, i.zone, [d.spec.model_dump() for d in i.disks]) for i in one.instances],
                one.found.model_dump(mode="json") if one.found else None,
            )
            for one in self.components
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def hash(self) -> str:
        """Names this very plan, with the facts it rests on, in an approval."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
