"""A hand-made world for the stories: every activity by its registered name, acting before it may fail.

`hold` stops a call until it is released, `fail` makes it fail for good, `flaky` makes it fail that often; keys
are "name" or "name step". What nobody told it about, it refuses.
"""

import asyncio
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.models.facts import (
    ComponentFacts,
    DeleteFacts,
    DeployFacts,
    DiskPrice,
    ExistingComponent,
    ExistingDisk,
    NodeFacts,
    ReadDeleteFacts,
    ReadDeployFacts,
)
from activities.models.instances import (
    ComponentRequest,
    InstanceRequest,
    InstanceStatus,
    NamespaceRequest,
    RecordRelease,
    ReleaseRecord,
    RemoveComponent,
    RemoveInstance,
    RemoveRelease,
)
from activities.models.policies import Policy, ReadPolicy
from activities.models.volumes import (
    Attachment,
    AwaitAttached,
    BindVolume,
    CreateVolume,
    DeleteVolume,
    DeleteVolumes,
    KeepVolumes,
    UnbindVolume,
    Volume,
    VolumeState,
)

ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]


def node(zone: str, name: str = "") -> NodeFacts:
    return NodeFacts(
        name=name or f"n-{zone}",
        machine=f"i-{name or zone}",
        zone=zone,
        type="m7i.large",
        schedulable=True,
        free_cpu_millicores=100_000,
        free_memory_bytes=2**38,
        free_pods=200,
        attach_limit=128,
        attached=0,
    )


class FakeWorld:
    def __init__(self) -> None:
        self.nodes = [node(zone) for zone in ZONES]
        self.policy = Policy()
        self.tenant = "default"
        self.disks: dict[str, str] = {}  # "operation/step" -> volume id
        self.kept: set[str] = set()
        self.claims: set[str] = set()
        self.things: set[str] = set()  # "namespace", "services/db", "instance/db/0", …
        self.records: dict[str, ReleaseRecord] = {}
        self.fail: dict[str, str] = {}
        self.untouched: set[str] = set()
        self.recorded = True  # whether a delete finds a release record
        self.flaky: dict[str, int] = {}
        self.hold: dict[str, asyncio.Event] = {}
        self.reached: dict[str, asyncio.Event] = {}
        self.calls: list[str] = []

    @property
    def empty(self) -> bool:
        return not (self.disks or self.claims or self.things or self.records)

    def pause(self, key: str) -> asyncio.Event:
        """Hold the call, and return the event that tells that it was reached."""
        self.hold[key] = asyncio.Event()
        return self.reached.setdefault(key, asyncio.Event())

    async def _touch(self, name: str, step: str = "") -> None:
        self.calls.append(f"{name} {step}".strip())
        for key in (name, f"{name} {step}"):
            self.reached.setdefault(key, asyncio.Event()).set()
            if key in self.hold:
                await self._until_released(self.hold[key])
            if self.flaky.get(key, 0) > 0:
                self.flaky[key] -= 1
                raise ApplicationError("try again")
            if key in self.fail:
                detail = {"help": "ask the administrator", "untouched": key in self.untouched}
                raise ApplicationError(self.fail[key], detail, type="QuotaExceeded", non_retryable=True)

    async def _until_released(self, event: asyncio.Event) -> None:
        # Like a thread in an SDK call, it takes no notice of a cancel, but beats.
        while not event.is_set():
            activity.heartbeat()
            try:
                await asyncio.wait_for(event.wait(), 0.2)
            except (TimeoutError, asyncio.CancelledError):
                continue

    @property
    def activities(self) -> list[Any]:
        return [
            getattr(self, name)
            for name in dir(type(self))
            if hasattr(getattr(type(self), name), "__temporal_activity_definition")
        ]

    # Looking.

    @activity.defn(name="read-deploy-facts")
    async def read_deploy_facts(self, ask: ReadDeployFacts) -> DeployFacts:
        await self._touch("read-deploy-facts")
        existing = [
            ExistingComponent(
                component=name, release=r.release, instances=list(range(len(r.zones))), spec=r.component
            )
            for name, r in self.records.items()
            if name in ask.components
        ]
        # As in a real cluster: what is half made is there, and nobody has recorded a release of it.
        existing += [
            ExistingComponent(component=name, release=0, instances=[], operation="somebody's")
            for name in ask.components
            if name not in self.records and f"services/{name}" in self.things
        ]
        return DeployFacts(
            cluster=ask.cluster,
            cloud="aws",
            zones=ZONES,
            nodes=self.nodes,
            namespace_owner="default" if "namespace" in self.things else None,
            components=existing,
            prices={"gp3": DiskPrice(gib=0.08, iops=0.005, included_iops=3000)},
            priced_on="2026-07-20",
        )

    @activity.defn(name="read-delete-facts")
    async def read_delete_facts(self, ask: ReadDeleteFacts) -> DeleteFacts:
        await self._touch("read-delete-facts")
        return DeleteFacts(
            app=ask.app,
            tenant=self.tenant,
            components=[
                self._facts_of(name, record)
                for name, record in self.records.items()
                if not ask.components or name in ask.components
            ],
            retention_seconds=7 * 86400,
            prices={"gp3": DiskPrice(gib=0.08)},
            priced_on="2026-07-20",
        )

    def _facts_of(self, name: str, record: ReleaseRecord) -> ComponentFacts:
        disks = [
            ExistingDisk(
                id=volumes[blueprint],
                instance=number,
                blueprint=blueprint,
                claim=record.claims[number][blueprint],
                zone=record.zones[number],
                size_gib=10,
                type="gp3",
            )
            for number, volumes in enumerate(record.volumes)
            for blueprint in volumes
        ]
        return ComponentFacts(
            component=name,
            instances=list(range(len(record.zones))),
            claims=[disk.claim for disk in disks],
            disks=disks,
            record=record if self.recorded else None,
        )

    @activity.defn(name="read-policy")
    async def read_policy(self, ask: ReadPolicy) -> Policy:
        return self.policy

    # Making.

    @activity.defn(name="ensure-namespace")
    async def ensure_namespace(self, request: NamespaceRequest) -> None:
        self.things.add("namespace")
        await self._touch("ensure-namespace", request.step)

    @activity.defn(name="ensure-secrets")
    async def ensure_secrets(self, request: ComponentRequest) -> None:
        self.things.add(f"secrets/{request.component.name}")
        await self._touch("ensure-secrets", request.step)

    @activity.defn(name="ensure-services")
    async def ensure_services(self, request: ComponentRequest) -> None:
        self.things.add(f"services/{request.component.name}")
        await self._touch("ensure-services", request.step)

    @activity.defn(name="create-volume")
    async def create_volume(self, request: CreateVolume) -> Volume:
        key = f"{request.operation}/{request.step}"
        identity = self.disks.setdefault(key, f"vol-{len(self.disks)}")
        await self._touch("create-volume", request.step)
        return Volume(
            id=identity,
            zone=request.spec.zone,
            size_gib=request.spec.size_gib,
            type=request.spec.type,
            state=VolumeState.AVAILABLE,
        )

    @activity.defn(name="bind-volume")
    async def bind_volume(self, request: BindVolume) -> None:
        self.claims.add(request.claim)
        await self._touch("bind-volume", request.step)

    @activity.defn(name="start-instance")
    async def start_instance(self, request: InstanceRequest) -> None:
        self.things.add(f"instance/{request.component.name}/{request.instance}")
        await self._touch("start-instance", request.step)

    @activity.defn(name="await-attached")
    async def await_attached(self, request: AwaitAttached) -> list[Attachment]:
        await self._touch("await-attached", request.step)
        return [Attachment(claim=c, volume="vol", machine="i-1", node="n-1") for c in request.claims]

    @activity.defn(name="await-ready")
    async def await_ready(self, request: InstanceRequest) -> InstanceStatus:
        await self._touch("await-ready", request.step)
        return InstanceStatus(
            app=request.app,
            component=request.component.name,
            instance=request.instance,
            ready=True,
            address=f"{request.component.name}-{request.instance}.{request.app}",
        )

    @activity.defn(name="check-health")
    async def check_health(self, request: ComponentRequest) -> list[InstanceStatus]:
        await self._touch("check-health", request.step)
        return []

    @activity.defn(name="record-release")
    async def record_release(self, request: RecordRelease) -> None:
        self.records[request.component.name] = ReleaseRecord(
            release=request.release,
            operation=request.operation,
            requester=request.requester,
            recorded_at="",
            tenant=request.tenant,
            component=request.component,
            zones=request.zones,
            claims=request.claims,
            volumes=request.volumes,
        )
        await self._touch("record-release", request.step)

    # Taking away.

    @activity.defn(name="remove-namespace")
    async def remove_namespace(self, request: NamespaceRequest) -> None:
        await self._touch("remove-namespace", request.step)
        if self.things <= {"namespace"}:
            self.things.discard("namespace")

    @activity.defn(name="remove-secrets")
    async def remove_secrets(self, request: RemoveComponent) -> None:
        await self._touch("remove-secrets", request.step)
        self.things.discard(f"secrets/{request.component}")

    @activity.defn(name="remove-services")
    async def remove_services(self, request: RemoveComponent) -> None:
        await self._touch("remove-services", request.step)
        self.things.discard(f"services/{request.component}")

    @activity.defn(name="delete-volume")
    async def delete_volume(self, request: DeleteVolume) -> None:
        await self._touch("delete-volume", request.step)
        self.disks.pop(f"{request.operation}/{request.of_step}", None)

    @activity.defn(name="delete-volumes")
    async def delete_volumes(self, request: DeleteVolumes) -> None:
        await self._touch("delete-volumes", request.step)
        self.disks = {key: v for key, v in self.disks.items() if v not in request.volumes}

    @activity.defn(name="keep-volumes")
    async def keep_volumes(self, request: KeepVolumes) -> None:
        await self._touch("keep-volumes", request.step)
        if request.keep_until:
            self.kept |= set(request.volumes)
        else:
            self.kept -= set(request.volumes)

    @activity.defn(name="unbind-volume")
    async def unbind_volume(self, request: UnbindVolume) -> None:
        await self._touch("unbind-volume", request.step)
        self.claims.discard(request.claim)

    @activity.defn(name="remove-instance")
    async def remove_instance(self, request: RemoveInstance) -> None:
        await self._touch("remove-instance", request.step)
        self.things.discard(f"instance/{request.component}/{request.instance}")

    @activity.defn(name="remove-release")
    async def remove_release(self, request: RemoveRelease) -> None:
        await self._touch("remove-release", request.step)
        self.records.pop(request.component, None)
