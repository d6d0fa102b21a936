"""Runs the steps of one component's operation: records them, parks on failure, undoes on cancel.

Every inner workflow derives from `Story` and tells its own story. This module knows nothing about disks or
apps; it knows what must hold for any operation:

    step ──► done ──► next step
      │ permanent failure
      ▼
    parked ──► retry | skip | abort ──► undo, last step first ──► undone
      ▲                                    ▲          │ an undo that cannot be done parks too
      └── (nothing is lost while parked)   └── cancel, unless a point of no return was passed

Lanes run side by side (`side_by_side`); within a lane, steps follow each other and are undone last first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from itertools import groupby
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

from workflows.calls import Call, all_of, attempt, detached, is_cancel
from workflows.explain import explain, help_of, touched_nothing
from workflows.models.operations import OnFailure
from workflows.models.runs import Report, RunComponent
from workflows.models.steps import (
    Decide,
    Decision,
    Outcome,
    Progress,
    Said,
    StepRecord,
    StepState,
    StoryState,
)


class FactsChanged(Exception):
    """What the plan rested on has changed; nothing was touched."""


class Undo:
    def __init__(self, lane: str, record: StepRecord, do: Call) -> None:
        self.lane, self.record, self.do = lane, record, do


class Story:
    """Base of every inner workflow: `told` is its entry, `step` and `side_by_side` are what stories use."""

    def __init__(self) -> None:
        self._run: RunComponent | None = None
        self._state = StoryState.RUNNING
        self._records: dict[str, StepRecord] = {}
        self._undos: list[Undo] = []
        self._parked: dict[str, StepRecord] = {}
        self._decisions: dict[str, Decide] = {}
        self._said: list[Said] = []
        self._no_way_back = ""
        self._deciding = ""
        self._aborted = False
        self._undoing = False
        self._may_go = False
        self._settled = False

    # What the outside may ask and say.

    @workflow.query
    def progress(self) -> Progress:
        return Progress(
            state=self._state,
            component=self._run.plan.component if self._run else "",
            steps=list(self._records.values()),
            cancel_would=self._cancel_would(),
            no_way_back=self._no_way_back or self._deciding,
        )

    @workflow.update
    def decide(self, decide: Decide) -> list[str]:
        """Decide about the parked steps; returns their titles."""
        chosen = [key for key in self._parked if decide.step in (None, key)]
        for key in chosen:
            self._decisions[key] = decide
        titles = [self._parked[key].step.title for key in chosen]
        what = f"{decide.decision}: {'; '.join(titles)}"
        self._said.append(Said(at=workflow.now(), by=decide.by, what=what, reason=decide.reason))
        return titles

    @decide.validator
    def _check_decision(self, decide: Decide) -> None:
        if refusal := self._why_not(decide):
            raise ApplicationError(refusal, type="DecisionRefused", non_retryable=True)

    @workflow.signal
    def go(self) -> None:
        self._may_go = True

    @workflow.signal
    def settle(self) -> None:
        self._settled = True

    # What a story uses.

    async def told(
        self,
        run: RunComponent,
        check: Callable[[RunComponent], Awaitable[None]],
        story: Callable[[RunComponent], Awaitable[None]],
    ) -> Outcome:
        """See that the facts hold, then carry the story out; whatever stops it, leave the world as promised."""
        self._run = run
        self._records = {step.id: StepRecord(step=step) for step in run.plan.steps}
        try:
            await check(run)
            if run.together:
                await self._report(checked=True)
                await self._until(lambda: self._may_go)
            await story(run)
            await self._wait_until_settled()
            skipped = [r for r in self._records.values() if r.state is StepState.SKIPPED]
            return self._outcome(
                StoryState.DONE, left=[f"skipped: {r.step.title} ({r.error})" for r in skipped]
            )
        except FactsChanged as change:
            return self._outcome(StoryState.FACTS_CHANGED, str(change))
        except BaseException as end:
            # Only a cancel and a failure are ends of the operation. Anything else is a bug in our code: it
            # fails the workflow task, and the operation goes on once the fix is deployed.
            if not isinstance(end, asyncio.CancelledError | FailureError):
                raise
            return await detached(self._undo_all(end))

    async def step(self, key: str, do: Call, undo: Call | None = None, lane: str = "") -> Any:
        """Do one planned step. Its undo is registered first, because an interrupted step may have acted."""
        self._stop_if_cancelled()
        record = self._records[key]
        record.state, record.started_at = StepState.RUNNING, workflow.now()
        if undo is not None:
            self._undos.append(Undo(lane, record, undo))
        result = await self._until_done(record, do)
        record.ended_at = workflow.now()
        if record.step.point_of_no_return and record.state is StepState.DONE:
            self._no_way_back = self._no_way_back or record.step.title
            self._undos.clear()
        self._stop_if_cancelled()
        return result

    async def side_by_side(self, lanes: list[Coroutine[Any, Any, None]]) -> None:
        """Run lanes at once. When one is given up the others stop at once, and all are undone."""
        work = all_of(lanes)
        await (detached(work) if self._no_way_back else work)

    def saw(self, key: str, what: str) -> None:
        """Write into a step's record what it made or measured."""
        self._records[key].seen = what

    # How it is done.

    async def _until_done(self, record: StepRecord, do: Call) -> Any:
        decisive = record.step.point_of_no_return and not self._no_way_back
        while True:
            if decisive:
                self._deciding = record.step.title
                await self._report()
                self._stop_if_cancelled()
            try:
                # A cancel must not reach the step that is the point of no return, nor any after it:
                # interrupted, nobody could say whether it has happened.
                work = attempt(do, record.tries)
                result = await (detached(work) if self._no_way_back or decisive else work)
            except ActivityError as failure:
                if is_cancelled_exception(failure):
                    raise
                self._decide_after(failure, record)
                record.error, record.help = explain(failure), help_of(failure)
                self._stop_if_cancelled()  # or the operation would park with its cancel already spent
                if not await self._decided_to_go_on(record):
                    raise
                if record.state is StepState.SKIPPED:
                    return None
                continue
            record.state, record.error, record.help = StepState.DONE, "", ""
            return result

    def _decide_after(self, failure: ActivityError, record: StepRecord) -> None:
        """A point of no return that failed was passed all the same, unless it is known to have touched nothing."""
        if self._deciding and not touched_nothing(failure):
            self._no_way_back = record.step.title
            self._undos.clear()
        self._deciding = ""

    async def _decided_to_go_on(self, record: StepRecord) -> bool:
        """Hold the operation, and its lock, until a person decides. False: give up and undo."""
        assert self._run is not None
        if self._run.on_failure is OnFailure.UNDO and not self._no_way_back:
            record.state, self._aborted = StepState.FAILED, True
            return False
        decide = await self._park(record)
        if decide.decision is Decision.RETRY:
            record.state, record.tries = StepState.RUNNING, record.tries + 1
            return True
        if decide.decision is Decision.SKIP:
            record.state = StepState.SKIPPED
            return True
        record.state, self._aborted = StepState.FAILED, True
        return False

    async def _park(self, record: StepRecord) -> Decide:
        key = record.step.id
        record.state = StepState.PARKED
        self._parked[key] = record
        before, self._state = self._state, StoryState.PARKED
        await self._report(f"{record.step.title}: {record.error}")
        try:
            await self._until(lambda: key in self._decisions)
            return self._decisions.pop(key)
        finally:
            del self._parked[key]
            if not self._parked:
                self._state = before if before is not StoryState.PARKED else StoryState.RUNNING
                await detached(self._report())

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to be said. A cancel ends the wait, even one that an earlier await swallowed,
        unless it is too late for one."""
        if self._no_way_back or self._undoing:
            await detached(workflow.wait_condition(condition))
            return
        await workflow.wait_condition(lambda: condition() or self._to_be_stopped)
        if not condition():
            self._stop_if_cancelled()

    @property
    def _nobody_will_settle(self) -> bool:
        # Past the point of no return a cancel can only mean that the outer workflow is gone, or gives up.
        return bool(self._no_way_back) and workflow.cancellation_reason() is not None

    def _stop_if_cancelled(self) -> None:
        if self._to_be_stopped and not self._no_way_back:
            raise asyncio.CancelledError

    @property
    def _to_be_stopped(self) -> bool:
        # A step or a signal that finishes in spite of a cancel swallows it for good: ask the server's record.
        return workflow.cancellation_reason() is not None or self._aborted

    async def _wait_until_settled(self) -> None:
        """Stay open until the outer workflow settles it: only then is a cancel too late, for one component as
        for several, and nobody can be told "it undoes" by one and see the other succeed."""
        await self._report(told=True)
        await self._until(lambda: self._settled or self._nobody_will_settle)

    async def _undo_all(self, end: BaseException) -> Outcome:
        """Undo last step first; an undo that cannot be done stops only its own lane, and is not forgotten."""
        assert self._run is not None
        cancelled = not self._aborted and is_cancel(end)
        reason = "cancelled" if cancelled else self._first_error() or explain(end)
        help_text = "" if cancelled else self._first_help()
        self._undoing, self._state = True, StoryState.UNDOING
        for record in self._records.values():
            if record.state in (StepState.RUNNING, StepState.PARKED):
                record.state, record.ended_at = StepState.CANCELLED, workflow.now()
        await self._report(reason)
        todo = self._undos
        while todo := await self._unwound(todo):
            stuck = [undo.record for undo in todo if undo.record.state is StepState.NOT_UNDONE]
            if self._run.on_failure is OnFailure.UNDO:
                break
            parked = next(record for record in stuck if record.error)
            decide = await self._park(parked)
            parked.state = StepState.NOT_UNDONE
            if decide.decision is not Decision.RETRY:
                break
        left = [_left_by(undo.record) for undo in todo if undo.record.state is StepState.NOT_UNDONE]
        left += self._beyond_undo()
        state = StoryState.UNDONE_IN_PART if left else StoryState.UNDONE
        return self._outcome(state, reason, help_text, cancelled, left)

    async def _unwound(self, undos: list[Undo]) -> list[Undo]:
        """Try every undo once, lanes side by side. What is to be done again, in the first order: those that could
        not be done, and all that came after them, which may have stopped short because of what was left."""
        again: list[Undo] = []
        for in_lanes, group in groupby(reversed(undos), key=lambda undo: bool(undo.lane)):
            lanes: dict[str, list[Undo]] = {}
            for undo in group:
                lanes.setdefault(undo.lane if in_lanes else "", []).append(undo)
            results = await asyncio.gather(*(self._unwind_lane(lane) for lane in lanes.values()))
            later = [undo for lane in lanes.values() for undo in lane] if again else []
            again += later or [undo for result in results for undo in result]
        return [undo for undo in undos if undo in again]

    async def _unwind_lane(self, undos: list[Undo]) -> list[Undo]:
        """Undo a lane, last step first. It stops at one that cannot be done: the next would wait for it."""
        for number, undo in enumerate(undos):
            undo.record.state, undo.record.error, undo.record.help = StepState.UNDOING, "", ""
            try:
                await undo.do(undo.record.tries)
            except FailureError as failure:
                undo.record.error, undo.record.help = explain(failure), help_of(failure)
                for left in undos[number:]:
                    left.record.state = StepState.NOT_UNDONE
                return undos[number:]
            undo.record.state, undo.record.ended_at = StepState.UNDONE, workflow.now()
        return []

    def _outcome(
        self,
        state: StoryState,
        reason: str = "",
        help_text: str = "",
        cancelled: bool = False,
        left: list[str] | None = None,
    ) -> Outcome:
        self._state = state
        return Outcome(
            state=state,
            reason=reason,
            help=help_text,
            cancelled=cancelled,
            left_behind=left or [],
            steps=list(self._records.values()),
        )

    async def _report(self, reason: str = "", told: bool = False, checked: bool = False) -> None:
        """Tell the outer workflow. One that was ended by force cannot hear, and nothing depends on it."""
        parent, run = workflow.info().parent, self._run
        if parent is None or run is None:
            return
        outer = workflow.get_external_workflow_handle(parent.workflow_id, run_id=parent.run_id)
        report = Report(
            component=run.plan.component,
            state=self._state,
            told=told,
            checked=checked,
            no_way_back=self._no_way_back or self._deciding,
            reason=reason,
            said=self._said,
        )
        self._said = []
        try:
            await outer.signal("report", report)
        except FailureError:
            workflow.logger.info("the operation's outer workflow is gone")

    def _why_not(self, decide: Decide) -> str:
        chosen = [r for key, r in self._parked.items() if decide.step in (None, key)]
        if not chosen:
            return "nothing is parked" + (f" at step {decide.step}" if decide.step else "")
        if decide.decision is Decision.ABORT and self._undoing:
            return "it is being undone already; use retry, or skip to leave behind what cannot be undone"
        if decide.decision is Decision.ABORT and self._no_way_back:
            return self._cancel_would()
        if decide.decision is Decision.SKIP and not self._undoing:
            unsafe = [r for r in chosen if not r.step.skippable]
            if unsafe:
                return f"'{unsafe[0].step.title}' cannot be skipped safely; use retry or abort"
        return ""

    def _cancel_would(self) -> str:
        if decisive := self._no_way_back or self._deciding:
            return f"nothing: past the point of no return ({decisive}); it rolls forward"
        steps = [undo.record.step.undo for undo in reversed(self._undos)]
        return "; ".join(dict.fromkeys(steps)) or "stop; there is nothing to undo"

    def _beyond_undo(self) -> list[str]:
        """What was changed by steps that have no undo, as where nobody recorded what had been there."""
        return [
            f"cannot be brought back: {record.step.title}"
            for record in self._records.values()
            if record.state is StepState.DONE and record.step.changes and not record.step.undo
        ]

    def _first_error(self) -> str:
        errors = [r.error for r in self._records.values() if r.error and r.state is StepState.FAILED]
        return errors[0] if errors else ""

    def _first_help(self) -> str:
        helps = [r.help for r in self._records.values() if r.help and r.state is StepState.FAILED]
        return helps[0] if helps else ""


def _left_by(record: StepRecord) -> str:
    return f"{record.step.undo}: {record.error or 'waits for what came after it'}"
