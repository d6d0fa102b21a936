"""Plans, steps and operations in plain words: pure functions from models to lines, used by every command."""

from datetime import UTC, datetime

from starter.cli.output import lasting, local
from starter.snapshots import Attempt, Snapshot
from workflows.models.operations import OperationRecord, OperationState
from workflows.models.plans import Plan
from workflows.models.steps import StepRecord, StepState

SIGNS = {
    StepState.WAITING: "·",
    StepState.RUNNING: "▸",
    StepState.PARKED: "‖",
    StepState.DONE: "✓",
    StepState.SKIPPED: "»",
    StepState.FAILED: "✗",
    StepState.CANCELLED: "⊘",
    StepState.UNDOING: "↶",
    StepState.UNDONE: "↶",
    StepState.NOT_UNDONE: "✗",
}

MOVING = (StepState.RUNNING, StepState.UNDOING)
STUCK = (StepState.PARKED, StepState.FAILED, StepState.NOT_UNDONE)


def plan_lines(plan: Plan) -> list[str]:
    """The plan as it is shown before anybody says yes to it."""
    lines = [f"Plan {plan.hash}: {plan.summary}"]
    for component in plan.components:
        lines.append(f"  {component.component}")
        for number, step in enumerate(component.steps, 1):
            why = f"  ({step.reason})" if step.reason else ""
            lines.append(f"  {number:>4}. {step.title}{why}")
            if step.point_of_no_return:
                lines.append("        ── from here on it cannot be undone ──")
    lines += _facts_of(plan)
    lines += [f"  refused: {why}" for why in plan.refused]
    return lines


def _facts_of(plan: Plan) -> list[str]:
    dated = f" (prices of {plan.priced_on})" if plan.priced_on else ""
    facts = [
        ("cost", f"USD {plan.cost_before:,.2f} → {plan.cost_after:,.2f} a month{dated}"),
        ("downtime", plan.downtime),
        ("risk", plan.risk),
        ("undo", plan.can_be_undone),
        *(("exists", what) for what in plan.exists),
        *(("note", note) for note in plan.notes),
    ]
    return [f"  {name + ':':<10}{text}" for name, text in facts if text]


def step_line(number: int, of: int, step: StepRecord, now: datetime, attempt: Attempt | None = None) -> str:
    """One step with where it stands."""
    text = f"{SIGNS[step.state]} {number:>{len(str(of))}}/{of} {step.step.title}"
    if step.state is StepState.WAITING:
        return text
    state = "" if step.state is StepState.DONE else f": {step.state.value}"
    if step.started_at and step.state is StepState.DONE and step.ended_at:
        state += f"  {lasting(step.ended_at - step.started_at)}"
    elif step.started_at and step.state in (StepState.RUNNING, StepState.PARKED):
        state += f", begun {lasting(now - step.started_at)} ago"
    if step.seen:
        state += f"  {step.seen}"
    return text + state + (f"; {attempt_words(attempt, now)}" if attempt else "")


def attempt_words(attempt: Attempt, now: datetime) -> str:
    words = f"attempt {attempt.number}" if attempt.number > 1 or attempt.running else "no attempt yet"
    if attempt.next_at and attempt.next_at > now:
        words += f", again in {lasting(attempt.next_at - now)}"
    return f"{words}; last: {attempt.failure}" if attempt.failure else words


def steps_lines(snapshot: Snapshot, now: datetime, only_moving: bool = False) -> list[str]:
    """All steps by component; `only_moving` leaves out those that wait or are done, and counts them."""
    lines = []
    for run in snapshot.components:
        done = sum(step.state in (StepState.DONE, StepState.SKIPPED) for step in run.steps)
        lines.append(f"{run.component}  {done} of {len(run.steps)} steps done")
        for number, step in enumerate(run.steps, 1):
            if only_moving and step.state in (StepState.WAITING, StepState.DONE):
                continue
            attempt = snapshot.attempt_at(step.step.id) if step.state in MOVING else None
            lines.append("  " + step_line(number, len(run.steps), step, now, attempt))
            if step.error and step.state in STUCK:
                lines.append(f"      {step.error}")
            if step.help and step.state in STUCK:
                lines.append(f"      → {step.help}")
    return lines


def loose_lines(snapshot: Snapshot, now: datetime) -> list[str]:
    """What is tried again and again for no step, such as reading the facts that a plan rests on."""
    return [f"{one.activity}: {attempt_words(one, now)}" for one in snapshot.loose_attempts]


def standing(snapshot: Snapshot) -> str:
    """Where the operation stands, in a sentence."""
    record = snapshot.record
    if record.state.ended:
        took = lasting(record.ended_at - record.asked_at) if record.ended_at else ""
        return f"{record.state.value}" + (f" after {took}" if took else "") + _because(record)
    text = record.state.value
    if record.behind:
        return f"{text} behind operation {record.behind}"
    return text + (f"; waits for {record.waits_for}" if record.waits_for else "")


def _because(record: OperationRecord) -> str:
    return f": {record.explanation}" if record.explanation else ""


def outcome_lines(snapshot: Snapshot) -> list[str]:
    """How it ended, or why it stands still: what happened, what was undone, what is left, what to do next."""
    record = snapshot.record
    lines = [f"{record.id}: {standing(snapshot)}"]
    for component, step in snapshot.parked:
        lines.append(f"  {component}: {step.step.title}: {step.error or 'parked'}")
        if step.help:
            lines.append(f"    → {step.help}")
    undone = [
        step.step.undo for _, step in snapshot.steps if step.state is StepState.UNDONE and step.step.undo
    ]
    lines += [f"  undone: {what}" for what in dict.fromkeys(reversed(undone))]
    lines += [f"  left behind: {what}" for what in record.left_behind]
    if record.state in (OperationState.INVALID, OperationState.REFUSED, OperationState.DECLINED):
        lines.append("  nothing was touched")
    if record.help:
        lines.append(f"  → {record.help}")
    return lines + [f"  → {what}" for what in next_commands(snapshot)]


def next_commands(snapshot: Snapshot) -> list[str]:
    """What a person can do about it now."""
    record = snapshot.record
    if snapshot.stands_still:
        skip = any(step.step.skippable for _, step in snapshot.parked)
        abort = "" if record.no_way_back else f", or undo it all: supergiant op abort {record.id}"
        also = f", or go on without it: supergiant op skip {record.id}" if skip else ""
        return [f"mend it, then: supergiant op retry {record.id}{also}{abort}"]
    if record.state is OperationState.WAITING_FOR_APPROVAL:
        return [
            f"supergiant op approve {record.id} --reason …",
            f"supergiant op reject {record.id} --reason …",
        ]
    return []


def record_lines(snapshot: Snapshot) -> list[str]:
    """All that `op show` says."""
    record, now = snapshot.record, datetime.now(UTC)
    lines = [f"{record.id}  {record.kind.value} {record.app} on {record.cluster}"]
    why = f": {record.reason}" if record.reason else ""
    facts = [
        ("asked", f"{local(record.asked_at)} by {record.requester}{why}"),
        ("stands", standing(snapshot)),
        *(("", line) for line in loose_lines(snapshot, now)),
    ]
    if snapshot.note:
        facts.append(("but", snapshot.note))
    facts += _approval_facts(record)
    if not record.state.ended:
        first, *rest = snapshot.cancel_would.split("; ")
        facts += [("cancel", f"would {first}"), *(("", f"then  {what}") for what in rest)]
    lines += [f"{name + ':' if name else '':<10}{text}" for name, text in facts]
    if snapshot.components:
        lines += ["", *steps_lines(snapshot, now)]
    if record.plan:
        lines += ["", f"Plan {record.plan.hash}: {record.plan.summary}", *_facts_of(record.plan)]
        lines += [f"  refused: {why}" for why in record.plan.refused]
    if record.history:
        lines += ["", "History"]
        lines += [
            f"  {local(event.at)}  {event.by}: {event.what}" + (f" ({event.reason})" if event.reason else "")
            for event in record.history
        ]
    if record.state.ended or snapshot.stands_still or next_commands(snapshot):
        lines += ["", *outcome_lines(snapshot)[1:]]
    return [line for i, line in enumerate(lines) if line or (i + 1 < len(lines))]


def _approval_facts(record: OperationRecord) -> list[tuple[str, str]]:
    approval = record.approval
    if approval is None:
        return []
    facts = [("approval", f"needed because {'; '.join(approval.needed_because)}")]
    if approval.granted_by and approval.granted_at:
        facts.append(
            ("", f"granted by {approval.granted_by} at {local(approval.granted_at)}: {approval.reason}")
        )
    elif not record.state.ended:
        who = ", ".join(approval.approvers) or "anybody"
        other = f" other than {record.requester}" if approval.not_requester else ""
        until = f" until {local(approval.expires_at)}" if approval.expires_at else ""
        facts.append(("", f"may be given by {who}{other}{until}"))
    return facts
