"""Runs the inner workflows of an operation under their locks; used by `OperationWorkflow`.

Locks are taken in the order of their names before anything begins, so two operations over several components
cannot wait for each other in a circle. With several components, each begins when those it comes after are
done. All stay open until the last is done and they are settled: they stand or fall together.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ChildWorkflowError, FailureError, WorkflowAlreadyStartedError

from activities.models.locks import LockHolder
from workflows.explain import explain
from workflows.ids import component_lock
from workflows.models.operations import ComponentRun, OperationKind, OperationRequest
from workflows.models.plans import ComponentPlan, Plan
from workflows.models.runs import Report, RunComponent
from workflows.models.steps import Outcome, StoryState
from workflows.queueing import Locked, holder_of, locked, until_ended

INNER = {OperationKind.DEPLOY: "deploy-component", OperationKind.DELETE: "delete-component"}


#: A worker that dies while it decides is noticed after this; deciding takes milliseconds.
DECIDED_WITHIN = timedelta(seconds=5)


class CarryOut:
    """One go at a plan. `behind` is told who holds a lock that is waited for, None when the wait is over;
    `stands` that the states of `runs` are to be looked at again."""

    def __init__(
        self,
        request: OperationRequest,
        plan: Plan,
        behind: Callable[[LockHolder | None], None],
        stands: Callable[[], None],
    ) -> None:
        self._request, self._plan, self._behind, self._stands = request, plan, behind, stands
        self._children: dict[str, workflow.ChildWorkflowHandle[Any, Any]] = {}
        self._checked: set[str] = set()
        self._told: set[str] = set()
        self._decided: dict[str, str] = {}
        self._held = {one.component for one in plan.components} if len(plan.components) > 1 else set()
        self._stopping = False
        self.settled = False
        self.runs = [
            ComponentRun(
                component=one.component,
                workflow_id=component_lock(request.cluster, one.app, one.component),
            )
            for one in plan.components
        ]

    async def run(self) -> list[Outcome]:
        """Take the locks, run the stories, and return how each ended, in the plan's order."""
        try:
            for component in sorted(run.component for run in self.runs):
                await self._take_lock(component)
        except Locked:
            self.stop()
            await self._outcomes()
            raise
        await self._in_their_order()
        return await self._outcomes()

    def stop(self) -> None:
        """Cancel: every story that has begun undoes itself, and no lock is waited for any longer. Once they are
        settled, or one is past its point of no return, it is too late and all roll forward."""
        if self.settled or self._decided:
            return
        self._stopping = True
        for child in self._children.values():
            child.cancel()

    def heard(self, report: Report) -> None:
        """A report of an inner workflow."""
        if report.checked:
            self._checked.add(report.component)
        if report.told:
            self._told.add(report.component)
        if report.no_way_back:
            self._decided[report.component] = report.no_way_back
        else:
            self._decided.pop(report.component, None)

    @property
    def no_way_back(self) -> str:
        """The point of no return that was passed, "" when a cancel still undoes everything."""
        return next(iter(self._decided.values()), "")

    @property
    def _together(self) -> bool:
        return len(self.runs) > 1

    async def _take_lock(self, component: str) -> None:
        run = self._run_of(component)
        while not self._stopping:
            try:
                child = await workflow.start_child_workflow(
                    INNER[self._request.kind],
                    self._message(component),
                    id=run.workflow_id,
                    result_type=Outcome,
                    memo={"operation": self._request.id},
                    task_timeout=DECIDED_WITHIN,
                    parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                    cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                )
            except WorkflowAlreadyStartedError:
                await self._wait_behind(run.workflow_id)
                continue
            run.run_id, run.state = child.first_execution_run_id or "", "running"
            self._children[component] = child
            if self._stopping:
                child.cancel()
            self._behind(None)
            return

    async def _wait_behind(self, lock: str) -> None:
        holder = await holder_of(lock)
        if holder is None:
            return
        if not self._request.wait:
            raise Locked(locked(lock, holder))
        self._behind(holder)
        waiting = asyncio.create_task(until_ended(lock, holder))
        await workflow.wait_condition(lambda: waiting.done() or self._stopping)
        if not waiting.done():
            waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    async def _in_their_order(self) -> None:
        """Let each story begin when those it comes after are done; settle when all are, stop when one fails.

        None begins before all have seen that their facts hold: to plan again after something was made would
        mean to undo it first.
        """
        if self._together:
            await workflow.wait_condition(lambda: len(self._checked) == len(self.runs) or self._over)
            await self._let_go()
        await workflow.wait_condition(lambda: len(self._told) == len(self.runs) or self._over)
        if self._over:
            self.stop()
            await self._end_before_all_are_done()
            return
        self.settled = True
        for child in self._children.values():
            await _say(child, "settle")

    async def _let_go(self) -> None:
        waiting = {one.component: set(one.after) for one in self._plan.components}
        present = set(waiting)
        while waiting and not self._over:
            ready = [name for name, after in waiting.items() if after & present <= self._told]
            for name in ready:
                del waiting[name]
                self._held.discard(name)
                await _say(self._children[name], "go")
            seen = len(self._told)
            if waiting:
                await workflow.wait_condition(lambda seen=seen: len(self._told) > seen or self._over)  # type: ignore[misc]

    async def _end_before_all_are_done(self) -> None:
        """One has ended before its time, or all are to stop. Past a point of no return nothing is gained by undoing
        the others: who has not begun never does, who is at work goes on, and who is done is settled."""
        for name in () if self._stopping else sorted(self._held):
            self._children[name].cancel()
        while not all(child.done() for child in self._children.values()):
            if not self._stopping:
                self.stop()  # The one that was past it may have turned out to have touched nothing.
            for name in sorted(self._forward):
                self._told.discard(name)
                if not self._children[name].done():
                    self._decided.setdefault(name, f"{name} is done")
                    await _say(self._children[name], "settle")
            if not self._stopping:
                await self._show_the_ended()
            ended = self._ended_count
            await workflow.wait_condition(
                lambda ended=ended: (  # type: ignore[misc]
                    bool(self._forward) or self._ended_count > ended or not (self._stopping or self._decided)
                )
            )

    @property
    def _forward(self) -> set[str]:
        """Who waits for "settle" and is to get it, since it is not being undone."""
        return self._told & self._decided.keys() if self._stopping else self._told

    @property
    def _ended_count(self) -> int:
        return sum(child.done() for child in self._children.values())

    async def _show_the_ended(self) -> None:
        """An end is no report: without this, all would seem to be undoing because one has, while they go on."""
        for run in self.runs:
            child = self._children.get(run.component)
            if child is not None and child.done():
                run.state = (await _ended(child)).state.value
        self._stands()

    @property
    def _over(self) -> bool:
        """Whether one story has ended, which before the settling means that it failed, or all are to stop."""
        return self._stopping or any(child.done() for child in self._children.values())

    async def _outcomes(self) -> list[Outcome]:
        outcomes = []
        for run in self.runs:
            child = self._children.get(run.component)
            outcome = await _ended(child) if child else Outcome(state=StoryState.UNDONE, cancelled=True)
            run.state, run.steps = outcome.state.value, [step.trimmed() for step in outcome.steps]
            outcomes.append(outcome)
        return outcomes

    def _message(self, component: str) -> RunComponent:
        plan: ComponentPlan = next(one for one in self._plan.components if one.component == component)
        request = self._request
        return RunComponent(
            operation=request.id,
            cluster=request.cluster,
            tenant=request.tenant,
            requester=request.requester,
            plan=plan,
            on_failure=request.on_failure,
            together=self._together,
        )

    def _run_of(self, component: str) -> ComponentRun:
        return next(run for run in self.runs if run.component == component)


async def _say(child: "workflow.ChildWorkflowHandle[Any, Any]", what: str) -> None:
    """A story that was ended by force cannot hear; how it ended is read from its outcome."""
    with contextlib.suppress(FailureError):
        await child.signal(what)


async def _ended(child: "workflow.ChildWorkflowHandle[Any, Any]") -> Outcome:
    """How a story ended; one that was ended by force says so, because nobody can know what it left."""
    try:
        outcome: Outcome = await child
        return outcome
    except ChildWorkflowError as error:
        return Outcome(
            state=StoryState.UNDONE_IN_PART,
            reason=f"the story was ended by force: {explain(error.__cause__ or error)}",
            help="delete the component to clear away what is left, then ask again",
            left_behind=["whatever had been made until then; see `supergiant app show`"],
        )
