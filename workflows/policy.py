"""Decides what the policy says about a plan: nothing, an approval, or no. Pure."""

from datetime import timedelta

from activities.models.common import Message
from activities.models.policies import Policy, Rule
from activities.models.quantities import seconds
from workflows.models.operations import OperationRequest
from workflows.models.plans import ComponentPlan, Plan
from workflows.planning.delete import disks_at_stake


class Verdict(Message):
    """`refused` and `needs_approval` name the rules and why, a sentence each. With several rules the approval
    must satisfy all: an approver whom each names, the shortest life."""

    refused: list[str] = []
    needs_approval: list[str] = []
    approvers: list[str] = []
    not_requester: bool = False
    lives: timedelta = timedelta(hours=24)


def judge(policy: Policy, request: OperationRequest, plan: Plan) -> Verdict:
    """Apply every rule that matches."""
    refused, needed, rules = [], [], []
    for rule in policy.rules:
        reason = _reached(rule, plan) if _matches(rule, request) else None
        if reason is None:
            continue
        if rule.action == "refuse":
            refused.append(f"rule {rule.name!r}: {reason}")
        else:
            needed.append(f"rule {rule.name!r}: {reason}")
            rules.append(rule)
    named = [set(rule.approvers) for rule in rules if rule.approvers]
    approvers = sorted(set.intersection(*named)) if named else []
    if named and not approvers:
        refused.append("the rules that apply have no approver in common; the policy must be mended")
    return Verdict(
        refused=refused,
        needs_approval=needed,
        approvers=approvers,
        not_requester=any(rule.not_requester for rule in rules),
        lives=timedelta(seconds=min((seconds(rule.approval_lives) for rule in rules), default=86400)),
    )


def _matches(rule: Rule, request: OperationRequest) -> bool:
    selectors = (
        (rule.kinds, request.kind.value),
        (rule.clusters, request.cluster),
        (rule.apps, request.app),
        (rule.tenants, request.tenant),
    )
    return all(not allowed or value in allowed for allowed, value in selectors)


def _reached(rule: Rule, plan: Plan) -> str | None:
    """Why the rule applies, or None when it has thresholds and none is reached."""
    largest = max((size for one in plan.components for size in _disk_sizes(one)), default=0)
    instances = max((_instances(one) for one in plan.components), default=0)
    increase = plan.cost_after - plan.cost_before
    reasons = []
    if rule.disk_gib_at_least is not None and largest >= rule.disk_gib_at_least:
        reasons.append(f"a disk of {largest} GiB (from {rule.disk_gib_at_least})")
    if rule.cost_increase_at_least is not None and increase >= rule.cost_increase_at_least:
        reasons.append(f"{increase:.2f} USD a month more (from {rule.cost_increase_at_least:.2f})")
    elif rule.cost_increase_at_least is not None and plan.unpriced:
        # What cannot be known to stay below the threshold is looked at by a person.
        unknown = ", ".join(plan.unpriced)
        reasons.append(f"nobody knows the price of {unknown} disks (from {rule.cost_increase_at_least:.2f})")
    if rule.instances_at_least is not None and instances >= rule.instances_at_least:
        reasons.append(f"{instances} instances (from {rule.instances_at_least})")
    if reasons:
        return "; ".join(reasons)
    thresholds = (rule.disk_gib_at_least, rule.cost_increase_at_least, rule.instances_at_least)
    return None if any(t is not None for t in thresholds) else "it applies to every such operation"


def _disk_sizes(plan: ComponentPlan) -> list[int]:
    """In GiB: of the disks that are made, or kept or deleted."""
    if plan.found is not None:
        return [disk.size_gib for disk in disks_at_stake(plan.found, plan.keep_seconds)]
    return [disk.spec.size_gib for one in plan.instances for disk in one.disks]


def _instances(plan: ComponentPlan) -> int:
    """How many are made, or stopped for good."""
    return len(plan.found.instances if plan.found is not None else plan.instances)
