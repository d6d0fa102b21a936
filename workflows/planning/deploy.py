"""Decides a first release: zones, disks, steps, cost, and what is in the way. Pure; printed by `--plan`."""

from pydantic import BaseModel

from activities.models import tags
from activities.models.apps import App, Component, in_order
from activities.models.facts import DeployFacts, ExistingComponent
from activities.models.volumes import VolumeSpec
from workflows.ids import short_hash
from workflows.models.plans import ComponentPlan, Plan, PlannedDisk, PlannedInstance
from workflows.models.steps import PlannedStep
from workflows.planning.cost import disk_cost, unpriced
from workflows.planning.placement import Room, place
from workflows.planning.words import count, no_price

#: Bytes. Leaves as much again for the record of the steps.
LARGEST_PLAN = 900_000

#: Bytes. All instances of a component may be started in one message, each with the whole document of the component;
#: gRPC takes 4 MiB, of which half is left for what stands around it.
LARGEST_START = 2 * 1024 * 1024


def plan_deploy(app: App, facts: DeployFacts, operation: str) -> Plan:
    """The plan for every component that is not already as asked; `refused` says what stands in the way."""
    existing = {c.component: c for c in facts.components}
    refused = _refusals(app, facts, existing)
    wanted = [c for c in in_order(app.components) if not _is_as_asked(c, existing)]
    plans: list[ComponentPlan] = []
    notes: list[str] = []
    room = Room(facts.nodes)
    for component in wanted:
        placed = place(app.app, component, facts.zones, room)
        refused += placed.refused
        notes += placed.notes
        if not placed.refused:
            plans.append(_plan_component(app, component, placed.zones, facts, operation))
    disks = [disk.spec for plan in plans for one in plan.instances for disk in one.disks]
    refused += _over_quota(disks, facts)
    refused += too_large(plans)
    unknown = unpriced(disks, facts.prices)
    notes += [no_price(kind) for kind in unknown]
    as_asked = [c.name for c in app.components if _is_as_asked(c, existing)]
    return Plan(
        summary=_summary(app, plans, disks),
        components=plans,
        cost_after=round(sum(disk_cost(spec, facts.prices) for spec in disks), 2),
        unpriced=unknown,
        priced_on=facts.priced_on,
        downtime="none: nothing of it runs yet" if plans else "none",
        risk="low: only new things are made" if plans else "none: nothing is done",
        can_be_undone="all of it, until it has succeeded; then by `supergiant app delete`" if plans else "",
        exists=[f"{name} is as asked already" for name in as_asked]
        + ([f"namespace {app.app}"] if facts.namespace_owner is not None else []),
        refused=list(dict.fromkeys(refused)),
        notes=[*notes, "costs are those of the disks; machines are shared and counted by the node pool"],
    )


def deploy_steps(
    component: Component, app: str, instances: list[PlannedInstance], release: int
) -> list[PlannedStep]:
    """The steps of one component, in the order of the story; the ids are what `DeployComponentWorkflow` does."""
    name = component.name
    steps = [
        PlannedStep(
            id=f"{name}/namespace",
            title=f"see that namespace {app} is there",
            undo=f"delete namespace {app} if nothing else is in it",
        )
    ]
    if component.secrets:
        steps.append(
            PlannedStep(
                id=f"{name}/secrets",
                title=f"make the secrets of {name}",
                reason="random values, known to the cluster only",
                undo=f"delete the secrets of {name}",
            )
        )
    steps.append(
        PlannedStep(
            id=f"{name}/services",
            title=f"make the services, network policy and disruption budget of {name}",
            undo=f"delete the services of {name}",
        )
    )
    for one in instances:
        steps += _instance_steps(name, one)
    steps += [
        PlannedStep(
            id=f"{name}/health", title=f"see {name} healthy", reason="measured, not assumed", changes=False
        ),
        PlannedStep(
            id=f"{name}/release",
            title=f"record release {release} of {name}",
            undo=f"take back the record of release {release}",
        ),
    ]
    return steps


def _instance_steps(name: str, one: PlannedInstance) -> list[PlannedStep]:
    instance = f"{name}-{one.number}"
    steps = []
    for disk in one.disks:
        spec = disk.spec
        steps += [
            PlannedStep(
                id=f"{name}/{one.number}/disk/{disk.blueprint}",
                title=f"create disk {disk.blueprint} of {instance}: {spec.size_gib} GiB {spec.type} in {spec.zone}",
                undo=f"delete disk {disk.blueprint} of {instance}",
            ),
            PlannedStep(
                id=f"{name}/{one.number}/claim/{disk.blueprint}",
                title=f"bind disk {disk.blueprint} to claim {disk.claim}",
                undo=f"remove claim {disk.claim}",
            ),
        ]
    steps.append(
        PlannedStep(
            id=f"{name}/{one.number}/start",
            title=f"start {instance} in {one.zone}",
            undo=f"stop {instance} and wait until its disks are free",
        )
    )
    if one.disks:
        steps.append(
            PlannedStep(
                id=f"{name}/{one.number}/attached",
                title=f"see the disks of {instance} attached",
                changes=False,
            )
        )
    steps.append(PlannedStep(id=f"{name}/{one.number}/ready", title=f"see {instance} ready", changes=False))
    return steps


def _plan_component(
    app: App, component: Component, zones: list[str], facts: DeployFacts, operation: str
) -> ComponentPlan:
    instances = [
        PlannedInstance(number=number, zone=zone, disks=_disks(component, number, zone, operation))
        for number, zone in enumerate(zones)
    ]
    return ComponentPlan(
        app=app.app,
        component=component.name,
        after=list(component.after),
        steps=deploy_steps(component, app.app, instances, release=1),
        facts=facts.fingerprint(component.name),
        spec=component,
        release=1,
        instances=instances,
    )


def disk_tags(cluster: str, tenant: str, app: str, component: Component, disk: PlannedDisk) -> dict[str, str]:
    """The user's tags and whose the disk is. Not part of the plan: they would be most of its size."""
    return {
        **component.tags,
        "Name": f"{app}/{component.name}-{disk.instance}-{disk.blueprint}",
        tags.CLUSTER: cluster,
        tags.TENANT: tenant,
        tags.APP: app,
        tags.COMPONENT: component.name,
        tags.INSTANCE: str(disk.instance),
        tags.VOLUME: disk.blueprint,
    }


def _disks(component: Component, number: int, zone: str, operation: str) -> list[PlannedDisk]:
    disks = []
    for blueprint in component.volumes:
        # The operation is part of the claim's name, so that a later disk of the same blueprint has another.
        suffix = short_hash(operation, component.name, str(number), blueprint.name)
        disks.append(
            PlannedDisk(
                instance=number,
                blueprint=blueprint.name,
                claim=f"{component.name}-{number}-{blueprint.name}-{suffix}",
                file_system=blueprint.file_system.value,
                spec=VolumeSpec(
                    zone=zone,
                    size_gib=blueprint.size_gib,
                    type=blueprint.type,
                    iops=blueprint.iops,
                    throughput=blueprint.throughput,
                ),
            )
        )
    return disks


def _is_as_asked(component: Component, existing: dict[str, ExistingComponent]) -> bool:
    found = existing.get(component.name)
    if found is None or found.release == 0 or found.spec != component:
        return False
    return found.instances == list(range(component.instances))


def _refusals(app: App, facts: DeployFacts, existing: dict[str, ExistingComponent]) -> list[str]:
    refused = [
        f"{what} exists and is not Supergiant's; rename it or the component" for what in facts.foreign_objects
    ]
    if facts.namespace_owner is not None and facts.namespace_owner != app.tenant:
        owner = f"tenant {facts.namespace_owner}" if facts.namespace_owner else "somebody else"
        refused.append(f"namespace {app.app} belongs to {owner}; choose another app name")
    for component in app.components:
        found = existing.get(component.name)
        if found is None or _is_as_asked(component, existing):
            continue
        if found.release > 0 and found.spec == component:
            there = ", ".join(f"{component.name}-{number}" for number in found.instances) or "none"
            refused.append(
                f"{component.name} is deployed already (release {found.release}), but of its instances only "
                f"{there} are there; delete it and deploy it again"
            )
        elif found.release > 0:
            refused.append(
                f"{component.name} is deployed already (release {found.release}) and differs from the document; "
                "changing a running component is not supported yet: delete it first"
            )
        else:
            refused.append(
                f"parts of {component.name} were left by operation {found.operation or 'unknown'}; "
                f"`supergiant app delete {app.app} --component {component.name}` clears them away"
            )
    return refused


def too_large(plans: list[ComponentPlan]) -> list[str]:
    """Temporal carries 2 MiB in a payload, and the record of an operation is its plan and what came of it; and it
    ends a story by force whose next activities do not fit into one message."""
    refused = []
    size = sum(_carried(plan) for plan in plans)
    if size > LARGEST_PLAN:
        refused.append(
            f"too large for one operation (a plan of {size // 1024} KiB); deploy its components in parts"
        )
    for plan in plans:
        each, many = _carried(plan.spec) if plan.spec else 0, len(plan.instances)
        if each * many > LARGEST_START:
            refused.append(
                f"too large to start: {plan.component} is described in {each // 1024} KiB, which is sent with each of "
                f"its {many} instances, {each * many // 1024} KiB where {LARGEST_START // 1024} are allowed; "
                "put long arguments and values into the image, or ask for fewer instances"
            )
    return refused


def _carried(message: BaseModel) -> int:
    """Bytes of the message as a payload."""
    return len(message.model_dump_json().encode())


def _over_quota(disks: list[VolumeSpec], facts: DeployFacts) -> list[str]:
    refused, total = [], sum(spec.size_gib for spec in disks)
    quota = facts.quota
    if quota.volumes_left is not None and len(disks) > quota.volumes_left:
        refused.append(f"{len(disks)} disks are needed, the account may create {quota.volumes_left} more")
    if quota.gib_left is not None and total > quota.gib_left:
        refused.append(f"{total} GiB are needed, the account may create {quota.gib_left} GiB more")
    return refused


def _summary(app: App, plans: list[ComponentPlan], disks: list[VolumeSpec]) -> str:
    if not plans:
        return f"nothing to do for {app.app}"
    parts = ", ".join(f"{plan.component} ({count(len(plan.instances), 'instance')})" for plan in plans)
    return f"deploy {app.app}: {parts}; {count(len(disks), 'disk')}, {sum(s.size_gib for s in disks)} GiB"
