"""Decides a delete: what is stopped and removed, what is kept and for how long. Pure; printed by `--plan`."""

from typing import Any

from activities.models.facts import ComponentFacts, DeleteFacts, ExistingDisk
from activities.models.volumes import VolumeSpec
from workflows.models.operations import DeleteRequest
from workflows.models.plans import ComponentPlan, Plan
from workflows.models.steps import PlannedStep
from workflows.planning.cost import disk_cost, unpriced
from workflows.planning.words import count, no_price


def plan_delete(request: DeleteRequest, facts: DeleteFacts) -> Plan:
    """The plan for every named component that is there."""
    keep = 0 if request.delete_disks else facts.retention_seconds
    known = {found.component for found in facts.components}
    resting = [found for found in facts.components if keep and found.only_kept]
    concerned = [found for found in facts.components if found not in resting]
    plans = [_plan_component(request.app, found, keep) for found in concerned]
    unknown = [name for name in request.components if name not in known]
    disks = [_spec_of(disk) for found in concerned for disk in disks_at_stake(found, keep)]
    cost = round(sum(disk_cost(spec, facts.prices) for spec in disks), 2)
    unrecorded = [found.component for found in concerned if found.record is None]
    return Plan(
        summary=_summary(request.app, plans, len(disks), keep),
        components=plans,
        cost_before=cost,
        cost_after=cost if keep else 0.0,
        priced_on=facts.priced_on,
        downtime="for good: nothing of it runs afterwards",
        risk=_risk(len(disks), keep),
        can_be_undone=_can_be_undone(plans, len(disks), keep, unrecorded),
        refused=[f"there is no component {name!r} in {request.app}" for name in unknown],
        exists=[f"{one.component} is deleted already; what it left is kept for its time" for one in resting],
        notes=[f"{name} has no recorded release, so its delete cannot be undone" for name in unrecorded]
        + [no_price(kind) for kind in unpriced(disks, facts.prices)],
    )


def delete_steps(app: str, found: ComponentFacts, keep_seconds: int) -> list[PlannedStep]:
    """The steps of one component, in the order of the story."""
    name, known = found.component, found.record is not None
    disks = disks_at_stake(found, keep_seconds)

    def step(key: str, title: str, undo: str = "", **fields: Any) -> PlannedStep:
        return PlannedStep(id=f"{name}/{key}", title=title, undo=undo if known else "", **fields)

    steps = []
    if keep_seconds and disks:
        steps.append(
            PlannedStep(
                id=f"{name}/keep",
                title=f"mark the {count(len(disks), 'disk')} of {name} as kept",
                reason="nothing that holds data is destroyed at once",
                undo=f"take the mark from the disks of {name}",
            )
        )
    for number in found.instances:
        instance = f"{name}-{number}"
        title = f"stop {instance} and wait until its disks are free"
        steps.append(step(f"{number}/stop", title, f"start {instance} again and see it ready"))
    if found.claims:
        title = f"remove the {count(len(found.claims), 'claim')} of {name}"
        steps.append(step("claims", title, f"bind the disks of {name} again"))
    steps.append(step("services", f"remove the services of {name}", f"make the services of {name} again"))
    if not keep_seconds and disks:
        steps.append(
            step(
                "disks",
                f"delete the {count(len(disks), 'disk')} of {name} for good",
                point_of_no_return=True,
                skippable=True,
            )
        )
    steps.append(
        step("release", f"remove the release records of {name}", f"record the release of {name} again")
    )
    if not keep_seconds:
        # Its own point of no return, as there may be no disks before it, or a person may have skipped those.
        title = f"delete the secrets of {name}"
        steps.append(step("secrets", title, point_of_no_return=True, skippable=True))
    title = f"delete namespace {app} if nothing else is in it"
    again = f"see that namespace {app} is there again" if keep_seconds else ""
    steps.append(step("namespace", title, again, skippable=True))
    if keep_seconds and disks:
        steps.append(
            PlannedStep(
                id=f"{name}/until",
                title=f"set the end of the time the disks of {name} are kept: {_days(keep_seconds)} from then",
                undo=f"keep the disks of {name} without an end",
            )
        )
    return steps


def disks_at_stake(found: ComponentFacts, keep_seconds: int) -> list[ExistingDisk]:
    """The disks that a delete deals with: all when they are deleted; without those kept already otherwise."""
    return [disk for disk in found.disks if not (keep_seconds and disk.kept)]


def _plan_component(app: str, found: ComponentFacts, keep_seconds: int) -> ComponentPlan:
    return ComponentPlan(
        app=app,
        component=found.component,
        steps=delete_steps(app, found, keep_seconds),
        facts=found.fingerprint(),
        found=found,
        keep_seconds=keep_seconds,
    )


def _spec_of(disk: ExistingDisk) -> VolumeSpec:
    return VolumeSpec(
        zone=disk.zone,
        size_gib=disk.size_gib,
        type=disk.type,
        iops=disk.iops,
        throughput=disk.throughput,
    )


def _summary(app: str, plans: list[ComponentPlan], disks: int, keep_seconds: int) -> str:
    if not plans:
        return f"nothing to do: there is nothing of {app}"
    names = ", ".join(plan.component for plan in plans)
    fate = (
        f"keep its {count(disks, 'disk')} for {_days(keep_seconds)}"
        if keep_seconds
        else f"delete its {count(disks, 'disk')}"
    )
    return f"delete {app}: {names}; {fate}"


def _can_be_undone(plans: list[ComponentPlan], disks: int, keep_seconds: int, unrecorded: list[str]) -> str:
    if not plans:
        return ""
    first = "the first disk or secret is deleted" if disks else "the first secret is deleted"
    until = "it has succeeded" if keep_seconds else first
    if unrecorded:
        return f"in part, until {until}: no release is recorded of {', '.join(unrecorded)}"
    return f"all of it, until {until}"


def _risk(disks: int, keep_seconds: int) -> str:
    if not disks:
        return "low: there are no disks" + ("" if keep_seconds else ", but its secrets are lost")
    if keep_seconds:
        return "low: the disks are kept"
    return f"high: the data on {count(disks, 'disk')} is lost"


def _days(seconds: int) -> str:
    if seconds % 86400 == 0:
        days = seconds // 86400
        return f"{days} day" if days == 1 else f"{days} days"
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours >= 1 else f"{seconds} seconds"
