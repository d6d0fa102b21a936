"""An operation as it stands at one moment, put together from its record, the progress of its components
and the activities that Temporal has under way for them; made by `watching`, shown by the CLI.
"""

from dataclasses import dataclass, field
from datetime import datetime

from starter.failures import PARKED, Category, category_of
from workflows.models.operations import ComponentRun, OperationRecord, OperationState
from workflows.models.steps import Progress, StepRecord, StepState


@dataclass(frozen=True)
class Attempt:
    """What an activity is doing; `step` is its id, which is that of the step it is for. `failure` is why the
    attempt before this one ended."""

    step: str
    activity: str
    number: int
    failure: str = ""
    next_at: datetime | None = None
    worker: str = ""
    running: bool = False


@dataclass(frozen=True)
class Snapshot:
    """`note` says what keeps us from seeing more, such as that no worker answers."""

    record: OperationRecord
    progress: dict[str, Progress] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    note: str = ""

    @property
    def components(self) -> list[ComponentRun]:
        """The components with the steps as they are now: from the record once they have ended, else from
        their progress, else from the plan."""
        runs = self.record.components or self._planned_runs()
        return [run.model_copy(update={"steps": self._steps(run)}) for run in runs]

    @property
    def steps(self) -> list[tuple[str, StepRecord]]:
        return [(run.component, step) for run in self.components for step in run.steps]

    @property
    def parked(self) -> list[tuple[str, StepRecord]]:
        return [(component, step) for component, step in self.steps if step.state is StepState.PARKED]

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
        refused = bool(self.record.plan and self.record.plan.refused)
        return category_of(self.record.state.value, self.record.cancelled, refused)

    @property
    def cancel_would(self) -> str:
        """What a cancel would do now, in a sentence."""
        record = self.record
        if record.state.ended:
            return "nothing: it has ended"
        if record.no_way_back:
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
        if run.steps:
            return run.steps
        if progress := self.progress.get(run.component):
            return progress.steps
        plan = self.record.plan
        planned = (
            next((one for one in plan.components if one.component == run.component), None) if plan else None
        )
        return [StepRecord(step=step) for step in planned.steps] if planned else []
