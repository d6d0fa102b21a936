"""Deletes a component: what holds data is kept first, then everything is stopped and removed."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow

from activities.components import ComponentActivities
from activities.facts import FactsActivities
from activities.instances import InstanceActivities
from activities.models.facts import DeleteFacts, ExistingDisk, ReadDeleteFacts
from activities.models.instances import (
    ComponentRequest,
    InstanceRequest,
    NamespaceRequest,
    RecordRelease,
    ReleaseRecord,
    RemoveComponent,
    RemoveInstance,
    RemoveRelease,
)
from activities.models.tags import FOR_EVER
from activities.models.volumes import (
    BindVolume,
    DeleteVolumes,
    KeepVolumes,
    UnbindVolume,
    Volume,
    VolumeState,
)
from activities.volumes import VolumeActivities
from workflows.calls import Call, call, undoing
from workflows.models.runs import RunComponent
from workflows.models.steps import Outcome
from workflows.patience import CHANGE, WAITING
from workflows.planning.delete import disks_at_stake
from workflows.story import FactsChanged, Story


@workflow.defn(name="delete-component")
class DeleteComponentWorkflow(Story):
    @workflow.run
    async def run(self, run: RunComponent) -> Outcome:
        return await self.told(run, self.see_that_the_facts_hold, self.delete)

    async def delete(self, run: RunComponent) -> None:
        say = Words(run)
        found, keeping = say.found, bool(run.plan.keep_seconds)
        if keeping and say.disks:
            await self.step(
                say.key("keep"),
                call(VolumeActivities.keep_volumes, say.keep("keep", FOR_EVER)),
                undo=undoing(VolumeActivities.keep_volumes, say.keep("keep/undo", None)),
            )
        await self.side_by_side([self._stop(say, number) for number in found.instances])
        if found.claims:
            await self.step(say.key("claims"), say.unbind_all, undo=say.bind_all if found.record else None)
        await self.step(
            say.key("services"),
            call(ComponentActivities.remove_services, say.removal("services"), **WAITING),
            undo=say.services_again(),
        )
        if not keeping and say.disks:
            await self.step(
                say.key("disks"),
                call(VolumeActivities.delete_volumes, say.delete_disks(), **WAITING),
            )
        await self.step(
            say.key("release"),
            call(ComponentActivities.remove_release, say.no_release(), **WAITING),
            undo=say.release_again(),
        )
        if not keeping:
            await self.step(
                say.key("secrets"),
                call(ComponentActivities.remove_secrets, say.removal("secrets"), **WAITING),
            )
        await self.step(
            say.key("namespace"),
            call(ComponentActivities.remove_namespace, say.namespace("namespace"), **WAITING),
            undo=say.namespace_again(),
        )
        if keeping and say.disks:
            await self._set_the_end(say, run.plan.keep_seconds)

    async def _stop(self, say: "Words", number: int) -> None:
        await self.step(
            say.key(number, "stop"),
            call(InstanceActivities.remove_instance, say.stop(number), **WAITING),
            undo=say.start_again(number),
            lane=str(number),
        )

    async def _set_the_end(self, say: "Words", keep_seconds: int) -> None:
        """Last, because a delete that is parked for longer than the disks are kept must still be undoable."""
        until = workflow.now() + timedelta(seconds=keep_seconds)
        gone = await self.step(
            say.key("until"),
            call(VolumeActivities.keep_volumes, say.keep("until", until)),
            undo=undoing(VolumeActivities.keep_volumes, say.keep("until/undo", FOR_EVER)),
        )
        missing = f"; gone before: {', '.join(gone)}" if gone else ""
        self.saw(say.key("until"), f"kept until {until:%Y-%m-%d %H:%M} UTC{missing}")

    async def see_that_the_facts_hold(self, run: RunComponent) -> None:
        plan = run.plan
        request = ReadDeleteFacts(cluster=run.cluster, app=plan.app, components=[plan.component])
        facts: DeleteFacts = await workflow.execute_activity_method(
            FactsActivities.read_delete_facts, request, **CHANGE
        )
        now = {found.component: found.fingerprint() for found in facts.components}
        if now.get(plan.component) != plan.facts:
            raise FactsChanged(f"{plan.component} has changed since its delete was planned")


class Words:
    """The requests of this story's activities, and of their undo from the recorded release."""

    def __init__(self, run: RunComponent) -> None:
        assert run.plan.found is not None
        self.run, self.plan, self.found = run, run.plan, run.plan.found
        self.disks = disks_at_stake(self.found, self.plan.keep_seconds)

    def key(self, *parts: Any) -> str:
        return "/".join([self.found.component, *(str(part) for part in parts)])

    def keep(self, step: str, until: datetime | None) -> KeepVolumes:
        return KeepVolumes(**self._base(step), volumes=[d.id for d in self.disks], keep_until=until)

    def stop(self, number: int) -> RemoveInstance:
        return RemoveInstance(**self._named(f"{number}/stop"), instance=number)

    def start_again(self, number: int) -> Call | None:
        record = self.found.record
        if record is None or number >= len(record.zones):
            return None
        claims = {"instance": number, "zone": record.zones[number], "claims": record.claims[number]}
        start = InstanceRequest(**self._of_record(f"{number}/stop/undo", record), **claims)
        ready = InstanceRequest(**self._of_record(f"{number}/stop/undo/ready", record), **claims)

        async def start_and_see(tries: int) -> None:
            await undoing(InstanceActivities.start_instance, start)(tries)
            await undoing(InstanceActivities.await_ready, ready)(tries)

        return start_and_see

    async def unbind_all(self, tries: int) -> None:
        requests = [
            UnbindVolume(**self._base(f"claims/{claim}"), app=self.plan.app, claim=claim)
            for claim in self.found.claims
        ]
        await asyncio.gather(
            *(call(InstanceActivities.unbind_volume, one, **WAITING)(tries) for one in requests)
        )

    async def bind_all(self, tries: int) -> None:
        requests = [self._bind(disk) for disk in self.found.disks if disk.claim]
        await asyncio.gather(*(undoing(InstanceActivities.bind_volume, one)(tries) for one in requests))

    def services_again(self) -> Call | None:
        record = self.found.record
        if record is None:
            return None
        request = ComponentRequest(**self._of_record("services/undo", record))
        return undoing(ComponentActivities.ensure_services, request)

    def delete_disks(self) -> DeleteVolumes:
        return DeleteVolumes(**self._named("disks"), volumes=[disk.id for disk in self.disks])

    def no_release(self) -> RemoveRelease:
        record = self.found.record
        return RemoveRelease(**self._named("release"), release=record.release if record else 0, all=True)

    def release_again(self) -> Call | None:
        record = self.found.record
        if record is None:
            return None
        request = RecordRelease(
            **self._of_record("release/undo", record),
            release=record.release,
            requester=record.requester,
            zones=record.zones,
            claims=record.claims,
            volumes=record.volumes,
        )
        return undoing(ComponentActivities.record_release, request)

    def removal(self, step: str) -> RemoveComponent:
        return RemoveComponent(**self._named(step), all=True)

    def namespace(self, step: str) -> NamespaceRequest:
        return NamespaceRequest(
            **self._base(step), app=self.plan.app, tenant=self.run.tenant, component=self.found.component
        )

    def namespace_again(self) -> Call | None:
        if self.found.record is None or not self.plan.keep_seconds:
            return None
        return undoing(ComponentActivities.ensure_namespace, self.namespace("namespace/undo"))

    def _bind(self, disk: ExistingDisk) -> BindVolume:
        record = self.found.record
        assert record is not None
        systems = {v.name: v.file_system.value for v in record.component.volumes}
        volume = Volume(
            id=disk.id, zone=disk.zone, size_gib=disk.size_gib, type=disk.type, state=VolumeState.AVAILABLE
        )
        return BindVolume(
            **self._named(f"claims/{disk.claim}/undo"),
            instance=disk.instance,
            blueprint=disk.blueprint,
            claim=disk.claim,
            volume=volume,
            file_system=systems.get(disk.blueprint, "ext4"),
        )

    def _of_record(self, step: str, record: ReleaseRecord) -> dict[str, Any]:
        return {
            **self._base(step),
            "app": self.plan.app,
            "tenant": record.tenant,
            "component": record.component,
        }

    def _named(self, step: str) -> dict[str, Any]:
        return {**self._base(step), "app": self.plan.app, "component": self.found.component}

    def _base(self, step: str) -> dict[str, Any]:
        return {"cluster": self.run.cluster, "operation": self.run.operation, "step": self.key(step)}
