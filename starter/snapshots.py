"""An operation as it stands at one moment, put together from its record, the progress of its components
and the activities that Temporal has under way for them; made by `watching`, shown by the CLI.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from starter.failures import BAD_REQUEST, PARKED, REFUSED, Category, category_of
from workflows.models.operations import ComponentRun, OperationRecord, OperationState
from workflows.models.steps import PlannedStep, Progress, StepRecord, StepState


@dataclass(frozen=True)
class Attempt:
    """What an activity is doing; `step` is the id of the step it is for, with "/undo" behind it for its undo, and
    empty for what belongs to no step. `failure` is why the attempt before this one ended."""

    step: str
    activity: str
    number: int
    failure: str = ""
    next_at: datetime | None = None
    worker: str = ""
    running: bool = False


@dataclass(frozen=True)
class Snapshot:
    """`note` says what keeps us from seeing more, such as that no worker answers. `orphaned`: the operation's own
    workflow was ended by force, and what is seen is what its components do without it."""

    record: OperationRecord
    progress: dict[str, Progress] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    note: str = ""
    orphaned: bool = False

    @cached_property
    def components(self) -> list[ComponentRun]:
        """The components with the steps as they are now: from the record once they have ended, else from
        their progress, else from the plan."""
        runs = self.record.components or self._planned_runs()
        return [run.model_copy(update={"steps": self._steps(run)}) for run in runs]

    @property
    def whole_record(self) -> OperationRecord:
        """The record with the steps as they are now, each with the words of its plan."""
        return self.record.model_copy(update={"components": self.components})

    @property
    def steps(self) -> list[tuple[str, StepRecord]]:
        return [(run.component, step) for run in self.components for step in run.steps]

    @property
    def parked(self) -> list[tuple[str, StepRecord]]:
        return [(component, step) for component, step in self.steps if step.state is StepState.PARKED]

    def attempt_at(self, step: str) -> Attempt | None:
        """What the activity of a step, or of its undo, is doing."""
        found = {attempt.step: attempt for attempt in self.attempts}
        return found.get(step) or found.get(f"{step}/undo")

    @property
    def loose_attempts(self) -> list[Attempt]:
        """What is done for no step, such as reading the facts that a plan rests on."""
        known = {step.step.id for _, step in self.steps}
        return [attempt for attempt in self.attempts if attempt.step.removesuffix("/undo") not in known]

    @property
    def ended(self) -> bool:
        return self.record.state.ended

    @property
    def stands_still(self) -> bool:
        """Whether nothing will happen until a person decides. Just after a decision the record still says
        "parked", while the steps already say that they go on."""
        return self.record.state is OperationState.PARKED and (bool(self.parked) or not self.progress)

    @property
    def category(self) -> Category:
        if not self.ended:
            return PARKED if self.stands_still else category_of(self.record.state.value)
        plan = self.record.plan
        if self.record.state is OperationState.PLANNED and plan and plan.refused:
            return BAD_REQUEST if plan.impossible else REFUSED
        return category_of(self.record.state.value, self.record.cancelled)

    @property
    def cancel_would(self) -> str:
        """What a cancel would do now, in a sentence."""
        record = self.record
        if record.state.ended:
            return "nothing: it has ended"
        if record.no_way_back and not self.orphaned:
            return f"be refused: past the point of no return ({record.no_way_back}); it rolls forward"
        if self.note and not self.progress:
            return "undo what has been done, once a worker is back"
        if not self.progress:
            return "end it, with nothing touched" if not record.components else "undo what has been done"
        several = len(self.progress) > 1
        parts = [
            f"{name}: {p.cancel_would}" if several else p.cancel_would for name, p in self.progress.items()
        ]
        return "; ".join(parts)

    def _planned_runs(self) -> list[ComponentRun]:
        plan = self.record.plan
        return (
            [ComponentRun(component=one.component, workflow_id="") for one in plan.components] if plan else []
        )

    def _steps(self, run: ComponentRun) -> list[StepRecord]:
        planned = self._planned_steps(run.component)
        if run.steps:
            return _joined(run.steps, planned)
        if progress := self.progress.get(run.component):
            return progress.steps
        return [StepRecord(step=step) for step in planned]

    def _planned_steps(self, component: str) -> Sequence[PlannedStep]:
        plans = self.record.plan.components if self.record.plan else []
        return next((one.steps for one in plans if one.component == component), [])


def _joined(steps: Sequence[StepRecord], planned: Sequence[PlannedStep]) -> list[StepRecord]:
    """The steps with the words of their plan, which the record of an ended component leaves out."""
    by_id = {step.id: step for step in planned}
    return [step.model_copy(update={"step": by_id.get(step.step.id, step.step)}) for step in steps]
