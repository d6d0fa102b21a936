"""What planning looks at: the cluster's machines, what exists of the component, limits and prices."""

import hashlib
import json

from activities.models.apps import Component
from activities.models.common import Message
from activities.models.instances import ReleaseRecord


class NodeFacts(Message):
    """A node as the scheduler sees it. CPU in millicores, memory in bytes; `attached` counts cloud disks."""

    name: str
    machine: str
    zone: str
    type: str
    schedulable: bool
    free_cpu_millicores: int
    free_memory_bytes: int
    free_pods: int
    attach_limit: int
    attached: int


class ExistingComponent(Message):
    """What the cluster already has of a component: release 0 means objects without a recorded release.
    `spec` is that of the current release, None when there is none."""

    component: str
    release: int
    instances: list[int]
    operation: str = ""
    spec: Component | None = None


class VolumeQuota(Message):
    """What the account may still create; None: the cloud does not tell."""

    volumes_left: int | None = None
    gib_left: int | None = None


class DiskPrice(Message):
    """USD a month: per GiB, per IOPS above what is included, per MiB/s above what is included."""

    gib: float
    iops: float = 0.0
    included_iops: int = 0
    throughput: float = 0.0
    included_throughput: int = 0


class DeployFacts(Message):
    """Everything a deploy plan rests on. `zones` are the configured ones; `priced_on` dates the price list."""

    cluster: str
    cloud: str
    zones: list[str]
    nodes: list[NodeFacts]
    namespace_owner: str | None
    components: list[ExistingComponent]
    foreign_objects: list[str] = []
    quota: VolumeQuota = VolumeQuota()
    prices: dict[str, DiskPrice]
    priced_on: str

    def fingerprint(self, component: str) -> str:
        """Hash of what, if it changed, makes a plan for `component` void.

        What exists of the component counts, the prices, and in which zones anything can run at all, since that is
        what instances are spread over. Single machines do not: they come and go with an autoscaler. Nor does free
        capacity: it changes with every deploy of anybody, and whether a pod fits is seen again by the scheduler.
        """
        facts = {
            "zones": self.zones,
            "usable": sorted({node.zone for node in self.nodes if node.schedulable} & set(self.zones)),
            "component": [c.model_dump() for c in self.components if c.component == component],
            "foreign": sorted(self.foreign_objects),
            "prices": {k: v.model_dump() for k, v in sorted(self.prices.items())},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


class ReadDeployFacts(Message):
    cluster: str
    app: str
    components: list[str]


class ExistingDisk(Message):
    """A disk of a component and the claim it is bound by ("" when there is none); `kept` when it is one that
    an earlier delete left to be kept for a time, and that nothing is bound to."""

    id: str
    instance: int
    blueprint: str
    claim: str
    zone: str
    size_gib: int
    type: str
    iops: int | None = None
    throughput: int | None = None
    kept: bool = False


class ComponentFacts(Message):
    """What there is to delete of one component, found by label and tag; `record` None: no release was recorded
    (a deploy was ended by force), so a delete cannot be undone. `objects` are all others but the secrets, as
    "Service/db"."""

    component: str
    instances: list[int]
    claims: list[str]
    disks: list[ExistingDisk]
    record: ReleaseRecord | None = None
    secrets: list[str] = []
    objects: list[str] = []

    @property
    def only_kept(self) -> bool:
        """Whether all that is left is what a delete keeps on purpose, so that only one which deletes the disks
        too has anything to do."""
        gone = not (self.instances or self.claims or self.objects or self.record)
        return gone and bool(self.disks or self.secrets) and all(disk.kept for disk in self.disks)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class DeleteFacts(Message):
    app: str
    tenant: str
    components: list[ComponentFacts]
    retention_seconds: int
    prices: dict[str, DiskPrice]
    priced_on: str


class ReadDeleteFacts(Message):
    """`components` empty: every component of the app."""

    cluster: str
    app: str
    components: list[str] = []
