"""The first release of a component: disks, claims, instances side by side, health, record."""

from typing import Any

from temporalio import workflow

from activities.components import ComponentActivities
from activities.facts import FactsActivities
from activities.instances import InstanceActivities
from activities.models.facts import DeployFacts, ReadDeployFacts
from activities.models.instances import (
    ComponentRequest,
    InstanceRequest,
    NamespaceRequest,
    RecordRelease,
    RemoveComponent,
    RemoveInstance,
    RemoveRelease,
)
from activities.models.volumes import (
    AwaitAttached,
    BindVolume,
    CreateVolume,
    DeleteVolume,
    UnbindVolume,
    Volume,
)
from activities.volumes import VolumeActivities
from workflows.calls import call, undoing
from workflows.models.plans import PlannedDisk, PlannedInstance
from workflows.models.runs import RunComponent
from workflows.models.steps import Outcome
from workflows.patience import CHANGE, WAITING
from workflows.planning.deploy import disk_tags
from workflows.story import FactsChanged, Story


@workflow.defn(name="deploy-component")
class DeployComponentWorkflow(Story):
    @workflow.run
    async def run(self, run: RunComponent) -> Outcome:
        return await self.told(run, self.see_that_the_facts_hold, self.deploy)

    async def deploy(self, run: RunComponent) -> None:
        plan, say = run.plan, Words(run)
        await self.step(
            say.key("namespace"),
            call(ComponentActivities.ensure_namespace, say.namespace("namespace")),
            undo=undoing(ComponentActivities.remove_namespace, say.namespace("namespace/undo")),
        )
        if say.component.secrets:
            await self.step(
                say.key("secrets"),
                call(ComponentActivities.ensure_secrets, say.request("secrets")),
                undo=undoing(ComponentActivities.remove_secrets, say.removal("secrets/undo")),
            )
        await self.step(
            say.key("services"),
            call(ComponentActivities.ensure_services, say.request("services")),
            undo=undoing(ComponentActivities.remove_services, say.removal("services/undo")),
        )
        volumes: dict[int, dict[str, str]] = {one.number: {} for one in plan.instances}
        await self.side_by_side([self._bring_up(say, one, volumes[one.number]) for one in plan.instances])
        await self.step(
            say.key("health"), call(ComponentActivities.check_health, say.request("health"), **WAITING)
        )
        await self.step(
            say.key("release"),
            call(ComponentActivities.record_release, say.release(volumes)),
            undo=undoing(ComponentActivities.remove_release, say.no_release()),
        )

    async def _bring_up(self, say: "Words", one: PlannedInstance, volumes: dict[str, str]) -> None:
        """One instance, from nothing to ready."""
        lane = str(one.number)
        for disk in one.disks:
            created: Volume = await self.step(
                say.key(one.number, "disk", disk.blueprint),
                call(VolumeActivities.create_volume, say.create(disk), **WAITING),
                undo=undoing(VolumeActivities.delete_volume, say.delete(disk)),
                lane=lane,
            )
            volumes[disk.blueprint] = created.id
            self.saw(say.key(one.number, "disk", disk.blueprint), created.id)
            await self.step(
                say.key(one.number, "claim", disk.blueprint),
                call(InstanceActivities.bind_volume, say.bind(disk, created), **WAITING),
                undo=undoing(InstanceActivities.unbind_volume, say.unbind(disk)),
                lane=lane,
            )
        await self.step(
            say.key(one.number, "start"),
            call(InstanceActivities.start_instance, say.instance(one, "start")),
            undo=undoing(InstanceActivities.remove_instance, say.stop(one)),
            lane=lane,
        )
        if one.disks:
            attachments = await self.step(
                say.key(one.number, "attached"),
                call(InstanceActivities.await_attached, say.attached(one), **WAITING),
                lane=lane,
            )
            seen = ", ".join(f"{a.volume} on {a.machine}" for a in attachments or [])
            self.saw(say.key(one.number, "attached"), seen)
        status = await self.step(
            say.key(one.number, "ready"),
            call(InstanceActivities.await_ready, say.instance(one, "ready"), **WAITING),
            lane=lane,
        )
        if status is not None:
            self.saw(say.key(one.number, "ready"), status.address)

    async def see_that_the_facts_hold(self, run: RunComponent) -> None:
        plan = run.plan
        request = ReadDeployFacts(cluster=run.cluster, app=plan.app, components=[plan.component])
        facts: DeployFacts = await workflow.execute_activity_method(
            FactsActivities.read_deploy_facts, request, **CHANGE
        )
        if facts.fingerprint(plan.component) != plan.facts:
            raise FactsChanged(f"what the plan for {plan.component} rests on has changed since it was made")


class Words:
    """The requests of this story's activities: each carries the operation and the step as its key."""

    def __init__(self, run: RunComponent) -> None:
        assert run.plan.spec is not None
        self.run, self.plan, self.component = run, run.plan, run.plan.spec

    def key(self, *parts: Any) -> str:
        return "/".join([self.component.name, *(str(part) for part in parts)])

    def namespace(self, step: str) -> NamespaceRequest:
        return NamespaceRequest(
            **self._base(step), app=self.plan.app, tenant=self.run.tenant, component=self.component.name
        )

    def request(self, step: str) -> ComponentRequest:
        return ComponentRequest(**self._component(step))

    def removal(self, step: str) -> RemoveComponent:
        return RemoveComponent(**self._base(step), app=self.plan.app, component=self.component.name)

    def create(self, disk: PlannedDisk) -> CreateVolume:
        tags = disk_tags(self.run.cluster, self.run.tenant, self.plan.app, self.component, disk)
        spec = disk.spec.model_copy(update={"tags": tags})
        step = f"{disk.instance}/disk/{disk.blueprint}"
        return CreateVolume(**self._base(step), app=self.plan.app, spec=spec)

    def delete(self, disk: PlannedDisk) -> DeleteVolume:
        step = f"{disk.instance}/disk/{disk.blueprint}"
        return DeleteVolume(**self._base(f"{step}/undo"), app=self.plan.app, of_step=self.key(step))

    def bind(self, disk: PlannedDisk, volume: Volume) -> BindVolume:
        return BindVolume(
            **self._base(f"{disk.instance}/claim/{disk.blueprint}"),
            app=self.plan.app,
            component=self.component.name,
            instance=disk.instance,
            blueprint=disk.blueprint,
            claim=disk.claim,
            volume=volume,
            file_system=disk.file_system,
        )

    def unbind(self, disk: PlannedDisk) -> UnbindVolume:
        step = f"{disk.instance}/claim/{disk.blueprint}/undo"
        return UnbindVolume(**self._base(step), app=self.plan.app, claim=disk.claim)

    def instance(self, one: PlannedInstance, step: str) -> InstanceRequest:
        return InstanceRequest(
            **self._component(f"{one.number}/{step}"),
            instance=one.number,
            zone=one.zone,
            claims=claims_of(one),
        )

    def stop(self, one: PlannedInstance) -> RemoveInstance:
        return RemoveInstance(
            **self._base(f"{one.number}/start/undo"),
            app=self.plan.app,
            component=self.component.name,
            instance=one.number,
        )

    def attached(self, one: PlannedInstance) -> AwaitAttached:
        return AwaitAttached(
            **self._base(f"{one.number}/attached"),
            app=self.plan.app,
            component=self.component.name,
            instance=one.number,
            claims=[disk.claim for disk in one.disks],
        )

    def release(self, volumes: dict[int, dict[str, str]]) -> RecordRelease:
        return RecordRelease(
            **self._component("release"),
            release=self.plan.release,
            requester=self.run.requester,
            zones=[one.zone for one in self.plan.instances],
            claims=[claims_of(one) for one in self.plan.instances],
            volumes=[volumes[one.number] for one in self.plan.instances],
        )

    def no_release(self) -> RemoveRelease:
        return RemoveRelease(
            **self._base("release/undo"),
            app=self.plan.app,
            component=self.component.name,
            release=self.plan.release,
        )

    def _component(self, step: str) -> dict[str, Any]:
        return {
            **self._base(step),
            "app": self.plan.app,
            "tenant": self.run.tenant,
            "component": self.component,
        }

    def _base(self, step: str) -> dict[str, Any]:
        return {"cluster": self.run.cluster, "operation": self.run.operation, "step": self.key(step)}


def claims_of(one: PlannedInstance) -> dict[str, str]:
    return {disk.blueprint: disk.claim for disk in one.disks}
