"""How an operation ends, in words and in a state; and why something said to it is refused. Pure."""

from datetime import datetime

from temporalio.exceptions import ActivityError, is_cancelled_exception

from workflows.explain import explain, help_of, kind_of
from workflows.models.operations import Approve, OperationRecord, OperationState, Reject
from workflows.models.plans import Plan
from workflows.models.steps import Outcome, StoryState


def of_planning(failure: ActivityError) -> tuple[OperationState, str, str] | None:
    """The end when the facts cannot be read; None when the reading was cancelled."""
    if is_cancelled_exception(failure):
        return None
    text = explain(failure).removeprefix("gave up waiting: ")
    kind = kind_of(failure)
    state = OperationState.REFUSED if kind in ("QuotaExceeded", "OutOfCapacity") else OperationState.INVALID
    return state, text, help_of(failure)


def cancelled(outcomes: list[Outcome]) -> bool:
    """Whether it was undone because somebody cancelled it, and not because something had failed before."""
    undone = [one for one in outcomes if one.state in (StoryState.UNDONE, StoryState.UNDONE_IN_PART)]
    return bool(undone) and all(one.cancelled for one in undone)


def facts_changed(outcomes: list[Outcome]) -> bool:
    """Whether to plan again: some story found other facts, and none left anything behind."""
    states = {outcome.state for outcome in outcomes}
    return StoryState.FACTS_CHANGED in states and states <= {StoryState.FACTS_CHANGED, StoryState.UNDONE}


def of_stories(outcomes: list[Outcome], plan: Plan, cancelled: bool) -> tuple[OperationState, str, str]:
    """The end of the whole from the ends of its components, which stand or fall together."""
    states = {outcome.state for outcome in outcomes}
    if states == {StoryState.DONE}:
        return OperationState.SUCCEEDED, plan.summary, ""
    failed = [o for o in outcomes if o.reason and not o.cancelled]
    why = "; ".join(dict.fromkeys(o.reason for o in failed)) or ("cancelled" if cancelled else "undone")
    help_text = next((o.help for o in failed if o.help), "")
    pairs = zip(plan.components, outcomes, strict=True)
    if done := ", ".join(one.component for one, outcome in pairs if outcome.state is StoryState.DONE):
        # One failed when another was past its point of no return, or was ended by force after all were settled.
        why += f"; there was no way back for {done}, which ended as planned"
    if StoryState.UNDONE_IN_PART in states:
        return OperationState.UNDONE_IN_PART, why, help_text or "remove by hand what is listed as left behind"
    if done:
        return (
            OperationState.UNDONE_IN_PART,
            why,
            help_text or "see what is there, and ask again for the rest",
        )
    return OperationState.UNDONE, why, help_text


def why_not_approve(record: OperationRecord, approve: Approve, now: datetime) -> str:
    """The reason to refuse an approval, "" when it is valid."""
    approval, plan = record.approval, record.plan
    if record.state is not OperationState.WAITING_FOR_APPROVAL or approval is None or plan is None:
        return f"operation {record.id} does not wait for an approval; it is {record.state}"
    if approval.expires_at is not None and now >= approval.expires_at:
        return "the approval has expired; ask for the operation again"
    if not approve.by.strip():
        return "an approval needs to say by whom"
    if not approve.reason.strip():
        return "an approval needs a reason"
    if approve.plan_hash != plan.hash:
        return f"plan hash {approve.plan_hash} is not that of the plan in question ({plan.hash}); look at it again"
    if approval.approvers and approve.by not in approval.approvers:
        return f"{approve.by} may not approve this; {', '.join(approval.approvers)} may"
    if approval.not_requester and approve.by == record.requester:
        return f"{approve.by} asked for it and may not approve it as well"
    return ""


def why_not_reject(record: OperationRecord, reject: Reject) -> str:
    if record.state is not OperationState.WAITING_FOR_APPROVAL or record.approval is None:
        return f"operation {record.id} does not wait for an approval; it is {record.state}"
    if not reject.reason.strip():
        return "a rejection needs a reason"
    if record.approval.approvers and reject.by not in (*record.approval.approvers, record.requester):
        return f"{reject.by} may not reject this; {', '.join(record.approval.approvers)} may"
    return ""


def why_not_cancel(record: OperationRecord, settled: bool) -> str:
    if settled:
        return f"every step of operation {record.id} is done; what it made can be taken away by a delete"
    if record.state.ended:
        return f"operation {record.id} has ended already: {record.state}"
    if record.no_way_back:
        return f"past the point of no return ({record.no_way_back}); it rolls forward"
    return ""
