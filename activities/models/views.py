"""What `app list|show` and `disk list` show: read from the cluster and the cloud at the moment of asking."""

from datetime import datetime

from activities.models.common import Message
from activities.models.instances import InstanceStatus
from activities.models.tags import has_end


class AskApps(Message):
    """`app` None: every app of the cluster."""

    cluster: str
    app: str | None = None


class DiskView(Message):
    """A disk, the instance it belongs to, and where it is attached; `keep_until` for one kept after delete.
    `keep_until` in the year 9999: kept without an end, while the delete of its component is under way or after
    it was ended by force."""

    id: str
    app: str
    component: str
    instance: int | None
    blueprint: str
    size_gib: int
    type: str
    zone: str
    state: str
    machine: str = ""
    node: str = ""
    claim: str = ""
    keep_until: datetime | None = None

    @property
    def kept_without_end(self) -> bool:
        return self.keep_until is not None and not has_end(self.keep_until)


class ComponentView(Message):
    component: str
    release: int
    operation: str
    instances: list[InstanceStatus]
    addresses: dict[str, str]


class AppView(Message):
    app: str
    tenant: str
    components: list[ComponentView]
    disks: list[DiskView]


class AppList(Message):
    apps: list[AppView]


class AskCluster(Message):
    cluster: str


class AskClusters(Message):
    """Asks for every cluster of the worker's settings; nothing to choose yet."""


class ClusterList(Message):
    """Every cluster of the worker's settings, as names only: no address, no credential."""

    clusters: list[str]
