"""One operation from asking to its record: plan, policy, approval, queue, then the inner workflows.

    asked ─► planning ─► (needs approval?) ─► queued behind the lock ─► running ─► succeeded
                 ▲             │ rejected, expired                         ├─► parked ─► retry | skip | abort
                 │             ▼                                           └─► undoing ─► undone
                 │         declined
                 └── the facts changed since the plan: an approval is void, and it plans again

Waiting for a person holds no lock. The record is the query's answer and, at the end, the result.
"""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType
from temporalio.exceptions import TimeoutError as Timeout

from activities.facts import FactsActivities
from activities.models import search_attributes
from activities.models.facts import ReadDeleteFacts, ReadDeployFacts
from activities.models.locks import LockHolder
from activities.models.policies import ReadPolicy
from activities.policies import PolicyActivities
from workflows import endings
from workflows.carry_out import CarryOut
from workflows.models.operations import (
    Approval,
    Approve,
    Cancel,
    Event,
    OperationKind,
    OperationRecord,
    OperationRequest,
    OperationState,
    Reject,
)
from workflows.models.plans import Plan
from workflows.models.runs import Report
from workflows.models.steps import StoryState
from workflows.patience import LOOK
from workflows.planning.delete import plan_delete
from workflows.planning.deploy import plan_deploy
from workflows.policy import Verdict, judge
from workflows.queueing import Locked, at_work_on, locked, until_ended

T = TypeVar("T")
STATE = SearchAttributeKey.for_keyword(search_attributes.STATE)
TENANT = SearchAttributeKey.for_keyword(search_attributes.TENANT)

#: A cluster that changes faster than it can be planned for needs a person, not a sixth plan (guessed).
MOST_PLANS = 5

INSTEAD_OF_NO_WAIT = "wait for it, or ask again without --no-wait"


class Ended(Exception):
    """The operation ended before anything was touched."""

    def __init__(self, state: OperationState, why: str, help: str = "") -> None:
        super().__init__(why)
        self.state, self.why, self.help = state, why, help


@workflow.defn(name="operation")
class OperationWorkflow:
    @workflow.init
    def __init__(self, request: OperationRequest) -> None:
        self._request = request
        self._cancel: Cancel | None = None
        self._rejected: Reject | None = None
        self._work: CarryOut | None = None
        self._record = OperationRecord(
            **request.model_dump(
                include=set(OperationRecord.model_fields) & set(OperationRequest.model_fields)
            ),
            state=OperationState.PLANNING,
            asked_at=workflow.now(),
            waits_for="the plan",
        )
        self._note(request.requester, f"asked to {request.kind} {request.app}", request.reason)

    @workflow.run
    async def run(self, request: OperationRequest) -> OperationRecord:
        try:
            if request.inconsistent:
                raise Ended(OperationState.INVALID, request.inconsistent)
            for _ in range(MOST_PLANS):
                plan = await self._unless_cancelled(self._plan())
                await self._unless_cancelled(self._permission(plan))
                if await self._carry_out(plan):
                    break
                self._facts_changed()
            else:
                raise Ended(
                    OperationState.REFUSED,
                    f"the cluster changed under {MOST_PLANS} plans in a row",
                    "ask again when it is quiet",
                )
        except Ended as end:
            self._end(end.state, end.why, end.help)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._record

    # What the outside may ask and say.

    @workflow.query
    def record(self) -> OperationRecord:
        return self._record

    @workflow.update
    def approve(self, approve: Approve) -> str:
        approval = self._record.approval
        assert approval is not None
        approval.granted_by, approval.granted_at = approve.by, workflow.now()
        approval.reason, approval.plan_hash = approve.reason, approve.plan_hash
        self._note(approve.by, f"approved plan {approve.plan_hash}", approve.reason)
        return f"approved plan {approve.plan_hash}"

    @approve.validator
    def _check_approve(self, approve: Approve) -> None:
        _refuse(endings.why_not_approve(self._record, approve, workflow.now()))

    @workflow.update
    def reject(self, reject: Reject) -> str:
        self._rejected = reject
        self._note(reject.by, "rejected the plan", reject.reason)
        return "rejected"

    @reject.validator
    def _check_reject(self, reject: Reject) -> None:
        _refuse(endings.why_not_reject(self._record, reject))

    @workflow.update
    def cancel(self, cancel: Cancel) -> str:
        """Stop and undo; says what that means where it stands now."""
        if self._cancel is None:
            self._note(cancel.by, "cancelled", cancel.reason)
            self._cancel = cancel
        return "it undoes what it did" if self._work else "nothing was touched; it ends"

    @cancel.validator
    def _check_cancel(self, cancel: Cancel) -> None:
        _refuse(endings.why_not_cancel(self._record, self._work is not None and self._work.settled))

    @workflow.signal
    def report(self, report: Report) -> None:
        """Where an inner workflow stands."""
        if self._work is None or self._record.state.ended:
            return
        self._work.heard(report)
        self._record.history += [Event(**said.model_dump()) for said in report.said]
        for run in self._record.components:
            if run.component == report.component:
                run.state = "done" if report.told else report.state.value
        self._record.no_way_back = self._work.no_way_back
        if report.state is StoryState.PARKED:
            self._record.explanation = report.reason
            self._note(report.component, "parked", report.reason)
        self._stands()

    def _stands(self) -> None:
        """The state of the whole, from those of its components."""
        states = {run.state for run in self._record.components}
        parked = [run.component for run in self._record.components if run.state == StoryState.PARKED.value]
        if parked:
            self._set(OperationState.PARKED, f"a person: retry, skip or abort ({', '.join(parked)})")
        elif StoryState.UNDOING.value in states:
            self._set(OperationState.UNDOING, "the undo")
        else:
            self._record.explanation = ""
            self._set(OperationState.RUNNING, "its steps")

    # The stages.

    async def _plan(self) -> Plan:
        plan = self._record.plan = await self._plan_behind_others()
        if plan.refused:
            refusal = OperationState.INVALID if plan.impossible else OperationState.REFUSED
            state = OperationState.PLANNED if self._request.plan_only else refusal
            raise Ended(state, "; ".join(plan.refused))
        if self._request.plan_only:
            await self._say_what_the_policy_wants(plan)
            raise Ended(OperationState.PLANNED, plan.summary)
        if self._request.agreed and plan.agreement != self._request.agreed:
            raise Ended(
                OperationState.REFUSED,
                "the facts changed since the plan that was agreed to",
                "look at the new plan and ask again",
            )
        if not plan.components:
            raise Ended(OperationState.SUCCEEDED, plan.summary)
        return plan

    async def _plan_behind_others(self) -> Plan:
        """A plan that does not take for left or settled what another operation is at work on."""
        while True:
            self._set(OperationState.PLANNING, "the plan")
            plan = await self._plan_of_kind()
            found = await at_work_on(self._request, plan)
            if found is None:
                return plan
            why = locked(*found)
            if self._request.plan_only:
                return plan.model_copy(update={"refused": [f"{why}; ask again when it has ended"]})
            if not self._request.wait:
                raise Ended(OperationState.REFUSED, why, INSTEAD_OF_NO_WAIT)
            self._behind(found[1])
            await until_ended(*found)
            self._record.behind = ""

    async def _plan_of_kind(self) -> Plan:
        request = self._request
        if request.kind is OperationKind.DEPLOY and request.deploy is not None:
            names = [component.name for component in request.deploy.app.components]
            ask = ReadDeployFacts(cluster=request.cluster, app=request.app, components=names)
            return plan_deploy(
                request.deploy.app, await _look(FactsActivities.read_deploy_facts, ask), request.id
            )
        if request.kind is OperationKind.DELETE and request.delete is not None:
            chosen = request.delete.components
            what = ReadDeleteFacts(cluster=request.cluster, app=request.app, components=chosen)
            facts = await _look(FactsActivities.read_delete_facts, what)
            self._belongs_to(facts.tenant)
            return plan_delete(request.delete, facts)
        raise Ended(OperationState.INVALID, request.inconsistent)

    def _belongs_to(self, tenant: str) -> None:
        """Whose an app is says the cluster, not who asks for its end."""
        if tenant != self._request.tenant:
            self._request = self._request.model_copy(update={"tenant": tenant})
            self._record.tenant = tenant
            workflow.upsert_search_attributes([TENANT.value_set(tenant)])

    async def _judged(self, plan: Plan) -> Verdict:
        policy = await _look(PolicyActivities.read_policy, ReadPolicy(cluster=self._request.cluster))
        return judge(policy, self._request, plan)

    async def _say_what_the_policy_wants(self, plan: Plan) -> None:
        verdict = await self._judged(plan)
        words = [f"the policy refuses it: {why}" for why in verdict.refused]
        who = ", ".join(verdict.approvers) or "somebody who may approve"
        words += [f"it needs an approval by {who}: {why}" for why in verdict.needs_approval]
        self._record.plan = plan.model_copy(update={"notes": [*plan.notes, *words]})

    async def _permission(self, plan: Plan) -> None:
        """Ask the policy and, where it wants one, wait for a person's approval of this very plan."""
        verdict = await self._judged(plan)
        if verdict.refused:
            raise Ended(OperationState.REFUSED, "the policy refuses it: " + "; ".join(verdict.refused))
        if not verdict.needs_approval:
            self._record.approval = None
            return
        self._record.approval = Approval(
            needed_because=verdict.needs_approval,
            approvers=verdict.approvers,
            not_requester=verdict.not_requester,
            expires_at=workflow.now() + verdict.lives,
        )
        await self._wait_for_approval(self._record.approval, verdict.lives)

    async def _wait_for_approval(self, approval: Approval, lives: timedelta) -> None:
        who = ", ".join(approval.approvers) or "anybody who may approve"
        self._set(OperationState.WAITING_FOR_APPROVAL, f"approval by {who}")
        try:
            await workflow.wait_condition(
                lambda: bool(approval.granted_by) or self._rejected is not None, timeout=lives
            )
        except TimeoutError:
            raise Ended(
                OperationState.DECLINED, "the approval expired; nobody answered in time", "ask again"
            ) from None
        if self._rejected is not None:
            raise Ended(OperationState.DECLINED, f"rejected by {self._rejected.by}: {self._rejected.reason}")

    async def _carry_out(self, plan: Plan) -> bool:
        """Run it under its locks; False when the facts had changed and nothing was touched."""
        work = self._work = CarryOut(self._request, plan, self._behind, self._stands)
        self._record.components = work.runs
        self._set(OperationState.RUNNING, "its steps")
        running = asyncio.create_task(work.run())
        await self._done_or_cancelled(running)
        if not running.done():
            work.stop()
            await self._done(running)
        try:
            outcomes = running.result()
        except Locked as refusal:
            raise Ended(OperationState.REFUSED, str(refusal), INSTEAD_OF_NO_WAIT) from None
        if endings.facts_changed(outcomes) and self._cancel is None:
            self._work = None
            return False
        self._record.left_behind = [left for one in outcomes for left in one.left_behind]
        self._record.cancelled = endings.cancelled(outcomes)
        if self._cancel is not None and not any(run.run_id for run in work.runs):
            self._record.cancelled = True
            raise Ended(OperationState.DECLINED, f"cancelled by {self._cancel.by}; nothing was touched")
        self._end(*endings.of_stories(outcomes, plan, self._record.cancelled))
        return True

    # How it is done.

    async def _unless_cancelled(self, stage: Coroutine[Any, Any, T]) -> T:
        """Run a stage in which nothing is touched; a cancel ends it and the operation."""
        task = asyncio.create_task(stage)
        await self._done_or_cancelled(task)
        if self._cancel is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._record.cancelled = True
            raise Ended(OperationState.DECLINED, f"cancelled by {self._cancel.by}; nothing was touched")
        return task.result()

    async def _done_or_cancelled(self, task: "asyncio.Task[Any]") -> None:
        """A cancel comes as an Update, with a name and a reason, or straight from the server, with none."""
        try:
            await workflow.wait_condition(lambda: task.done() or self._cancel is not None)
        except asyncio.CancelledError:
            if self._cancel is None:
                reason = workflow.cancellation_reason() or ""
                self._cancel = Cancel(by="the Temporal server", reason=reason)
                self._note(self._cancel.by, "cancelled", reason)

    async def _done(self, task: "asyncio.Task[Any]") -> None:
        while not task.done():
            try:
                await workflow.wait_condition(task.done)
            except asyncio.CancelledError:
                continue  # It is being undone already; the server delivers a cancel once.

    def _behind(self, holder: LockHolder | None) -> None:
        if holder is None:
            self._record.behind = ""
            self._set(OperationState.RUNNING, "its steps")
            return
        self._record.behind = holder.operation
        self._set(
            OperationState.QUEUED, f"operation {holder.operation} ({holder.kind}), which holds the lock"
        )

    def _facts_changed(self) -> None:
        void = self._record.approval is not None
        self._record.approval, self._record.components = None, []
        self._note(
            "supergiant", "the facts changed since the plan" + ("; the approval is void" if void else "")
        )

    def _end(self, state: OperationState, why: str, help_text: str = "") -> None:
        self._record.explanation, self._record.help = why, help_text
        self._record.ended_at, self._record.behind = workflow.now(), ""
        self._set(state, "")
        self._note("supergiant", state.value, why)

    def _set(self, state: OperationState, waits_for: str) -> None:
        self._record.waits_for = waits_for
        if self._record.state is not state:
            self._record.state = state
            workflow.upsert_search_attributes([STATE.value_set(state.value)])

    def _note(self, by: str, what: str, reason: str = "") -> None:
        self._record.history.append(Event(at=workflow.now(), by=by, what=what, reason=reason))


async def _look(activity: Any, request: Any) -> Any:
    """Read something before anything is touched; what cannot be read ends the operation. A worker that was
    lost while it looked is no reason to: another one looks."""
    while True:
        try:
            return await workflow.execute_activity_method(activity, request, **LOOK)
        except ActivityError as failure:
            if isinstance(failure.cause, Timeout) and failure.cause.type is TimeoutType.HEARTBEAT:
                continue
            end = endings.of_planning(failure)
            if end is None:
                raise
            raise Ended(*end) from failure


def _refuse(why: str) -> None:
    if why:
        raise ApplicationError(why, type="Refused", non_retryable=True)
