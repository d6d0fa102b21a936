"""A component and its instances on Kubernetes: requests of `ComponentActivities` and what it saw."""

from activities.models.apps import Component
from activities.models.common import Message, StepRequest


class ComponentRequest(StepRequest):
    """What every request about a component says."""

    app: str
    tenant: str
    component: Component


class InstanceRequest(ComponentRequest):
    """One instance: its number, its zone, and the claim of each disk by blueprint name."""

    instance: int
    zone: str
    claims: dict[str, str]


class RemoveComponent(StepRequest):
    """`all` False: of the secrets, only those that this operation made, as an undo must; a password that an
    earlier release left behind still opens the disks that were kept with it."""

    app: str
    component: str
    all: bool = False


class RemoveRelease(StepRequest):
    """Take back a release record and the pointer to it; `all` removes every record of the component."""

    app: str
    component: str
    release: int
    all: bool = False


class RemoveInstance(StepRequest):
    app: str
    component: str
    instance: int


class NamespaceRequest(StepRequest):
    app: str
    tenant: str
    component: str = ""


class InstanceStatus(Message):
    """An instance as the cluster shows it. `address` is the stable name; `restarts` of all its containers."""

    app: str
    component: str
    instance: int
    ready: bool
    node: str = ""
    zone: str = ""
    address: str = ""
    pod_ip: str = ""
    restarts: int = 0
    message: str = ""


class RecordRelease(ComponentRequest):
    """Write the immutable release record and point the component at it. Lists are by instance number;
    `claims` and `volumes` map a blueprint's name to the claim and to the cloud disk's id."""

    release: int
    requester: str
    zones: list[str]
    claims: list[dict[str, str]]
    volumes: list[dict[str, str]]


class ReleaseRecord(Message):
    """What a release record holds: everything needed to make the component again, and no secret."""

    release: int
    operation: str
    requester: str
    recorded_at: str
    tenant: str
    component: Component
    zones: list[str]
    claims: list[dict[str, str]]
    volumes: list[dict[str, str]]
