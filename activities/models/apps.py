"""The app document: what a person writes to describe an app, its components, their containers and disks.

Field names are the YAML keys. Everything that can be refused without asking a cloud or a cluster is refused
here, with the place and the way out; what a disk type allows is in `disk_types`.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from activities.models.common import Document
from activities.models.disk_types import check_disk
from activities.models.quantities import cpu_millicores, memory_bytes, seconds, size_gib

#: Kubernetes object names derived from these carry suffixes (instance, disk, a hash of the operation), and a
#: Service name ends at 63 characters (RFC 1035), so the parts must be shorter.
NAME_LIMIT = 30
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSTEM_FOLDERS = ("/", "/bin", "/etc", "/lib", "/lib64", "/sbin", "/usr")
_KERNELS_FOLDERS = ("dev", "proc", "sys")
_TAG_RESERVED = ("aws:", "supergiant.io/", "kubernetes.io/")


def checked_name(value: str) -> str:
    if len(value) > NAME_LIMIT:
        raise ValueError(f"name {value!r} has {len(value)} characters; at most {NAME_LIMIT} are allowed")
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"name {value!r} is not valid; use lower-case letters, digits and '-', beginning with a letter"
        )
    return value


def _checked_path(value: str) -> str:
    if not value.startswith("/") or ":" in value or ".." in value.split("/"):
        raise ValueError(f"path {value!r} must be absolute, without '..' or ':'")
    return value


def _checked_mount_path(value: str) -> str:
    path = _checked_path(value).rstrip("/") or "/"
    if path in _SYSTEM_FOLDERS or path.split("/")[1] in _KERNELS_FOLDERS:
        raise ValueError(
            f"nothing can be mounted at {value!r}: the container needs what is there; use /data or the like"
        )
    return value


Name = Annotated[
    str,
    AfterValidator(checked_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$", "maxLength": NAME_LIMIT}),
]
MountPath = Annotated[str, AfterValidator(_checked_mount_path)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]


def _unique(what: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"duplicate {what} {name!r}; each {what} needs a name of its own")
        seen.add(name)


class Cpu(Document):
    """CPU of one container, as Kubernetes writes it ("250m", "2"). No limit by default: bursting into idle
    cores is the point of packing."""

    request: str = "100m"
    limit: str | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Cpu":
        request = cpu_millicores(self.request)
        if self.limit is not None and cpu_millicores(self.limit) < request:
            raise ValueError(f"cpu request {self.request} is above the limit {self.limit}")
        return self


class Memory(Document):
    """Memory of one container ("512Mi", "2Gi"); the limit defaults to the request."""

    request: str = "128Mi"
    limit: str | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Memory":
        request = memory_bytes(self.request)
        if self.limit is not None and memory_bytes(self.limit) < request:
            raise ValueError(f"memory request {self.request} is above the limit {self.limit}")
        return self


class SecretKey(Document):
    """A value taken from one of the component's `secrets`, never written in the document."""

    secret: Name


class Port(Document):
    name: Name
    port: PortNumber
    protocol: Literal["TCP", "UDP"] = "TCP"

    @model_validator(mode="after")
    def _short(self) -> "Port":
        if len(self.name) > 15:
            raise ValueError(f"port name {self.name!r} is longer than the 15 characters Kubernetes allows")
        return self


class Mount(Document):
    volume: Name
    path: MountPath
    read_only: bool = False


class Probe(Document):
    """How Kubernetes learns that a container is ready: exactly one of the three."""

    exec: list[str] | None = None
    tcp: PortNumber | None = None
    http: str | None = Field(None, description="':8080/healthz'", pattern=r"^:\d{1,5}/.*$")
    period: str = "5s"
    timeout: str = "3s"

    @model_validator(mode="after")
    def _one_way(self) -> "Probe":
        if sum(way is not None for way in (self.exec, self.tcp, self.http)) != 1:
            raise ValueError("a probe needs exactly one of exec, tcp, http")
        if self.exec is not None and not self.exec:
            raise ValueError("exec needs at least one word")
        if self.http is not None and not 1 <= int(self.http[1:].split("/")[0]) <= 65535:
            raise ValueError(f"http {self.http!r}: the port must be between 1 and 65535")
        for text in (self.period, self.timeout):
            if seconds(text) < 1:
                raise ValueError(f"{text!r} is below one second")
        return self


class Container(Document):
    name: Name
    image: str = Field(min_length=1, max_length=300, pattern=r"^[^\s]+$")
    command: list[str] = []
    args: list[str] = []
    env: dict[str, str | SecretKey] = {}
    ports: list[Port] = []
    mounts: list[Mount] = []
    cpu: Cpu = Cpu()
    memory: Memory = Memory()
    ready: Probe | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Container":
        for name in self.env:
            if not _ENV_NAME.fullmatch(name):
                raise ValueError(f"env name {name!r} is not valid")
        _unique("mount path", [mount.path for mount in self.mounts])
        return self


class FileSystem(StrEnum):
    EXT4 = "ext4"
    XFS = "xfs"


class VolumeBlueprint(Document):
    """One disk that every instance of the component gets: size in GiB ("200Gi"), IOPS, throughput in MiB/s."""

    name: Name
    size: str
    type: str = "gp3"
    iops: int | None = None
    throughput: int | None = None
    file_system: FileSystem = FileSystem.EXT4

    @property
    def size_gib(self) -> int:
        return size_gib(self.size)

    @model_validator(mode="after")
    def _possible(self) -> "VolumeBlueprint":
        check_disk(self.type, self.size_gib, self.iops, self.throughput)
        if self.file_system is FileSystem.XFS and self.size_gib < 1:
            raise ValueError("an xfs file system needs at least 1Gi")
        return self


class Placement(Document):
    """Where instances may run. `zones` empty: every zone of the cluster. `spread` says what must differ."""

    zones: list[str] = []
    spread: Literal["zone", "none"] = "zone"


class Health(Document):
    """When a component counts as healthy: every instance ready for `settle` without a restart."""

    settle: str = "0s"

    @model_validator(mode="after")
    def _readable(self) -> "Health":
        seconds(self.settle)
        return self


class Secret(Document):
    """A secret made by the worker inside the cluster: random, `length` characters, known to nobody else."""

    name: Name
    length: int = Field(32, ge=16, le=128)


class Component(Document):
    name: Name
    instances: int = Field(1, ge=1, le=100)
    after: list[Name] = []
    containers: list[Container] = Field(min_length=1)
    volumes: list[VolumeBlueprint] = []
    secrets: list[Secret] = []
    placement: Placement = Placement()
    health: Health = Health()
    termination_grace: str = "30s"
    run_as: int | None = Field(None, ge=1, le=2**31 - 1, description="user id; also owns the disks")
    tags: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> "Component":
        _unique("container", [c.name for c in self.containers])
        _unique("volume", [v.name for v in self.volumes])
        _unique("secret", [s.name for s in self.secrets])
        _unique("port name", [p.name for c in self.containers for p in c.ports])
        _unique("port", [f"{p.port}/{p.protocol}" for c in self.containers for p in c.ports])
        volumes, secrets = {v.name for v in self.volumes}, {s.name for s in self.secrets}
        for container in self.containers:
            for mount in container.mounts:
                if mount.volume not in volumes:
                    known = ", ".join(sorted(volumes)) or "none"
                    raise ValueError(
                        f"container {container.name!r} mounts unknown volume {mount.volume!r}; known: {known}"
                    )
            for name, value in container.env.items():
                if isinstance(value, SecretKey) and value.secret not in secrets:
                    raise ValueError(f"env {name!r} refers to unknown secret {value.secret!r}")
        seconds(self.termination_grace)
        _check_tags(self.tags)
        return self


class App(Document):
    """One app document: `app`, and its components."""

    app: Name
    tenant: Name = "default"
    components: list[Component] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> "App":
        _unique("component", [c.name for c in self.components])
        _check_derived_names([c.name for c in self.components])
        in_order(self.components)
        return self


def in_order(components: list[Component]) -> list[Component]:
    """Components so that each comes after those it depends on; raises ValueError for a cycle or an unknown."""
    known = {c.name: c for c in components}
    for component in components:
        for other in component.after:
            if other not in known:
                raise ValueError(f"component {component.name!r} comes after unknown component {other!r}")
    ordered: list[Component] = []
    waiting = list(components)
    while waiting:
        done = {c.name for c in ordered}
        ready = [c for c in waiting if set(c.after) <= done]
        if not ready:
            names = ", ".join(c.name for c in waiting)
            raise ValueError(f"components wait for each other in a circle: {names}")
        ordered += ready
        waiting = [c for c in waiting if c not in ready]
    return ordered


def _check_derived_names(names: list[str]) -> None:
    # Component `db` has Services db, db-all, db-0, db-1, …: a component of such a name would want the same.
    for name in names:
        base, _, last = name.rpartition("-")
        if base in names and (last == "all" or last.isdigit()):
            raise ValueError(
                f"component {name!r} would clash with the services of {base!r}; rename one of them"
            )


def _check_tags(tags: dict[str, str]) -> None:
    # EC2 allows 50 tags a resource, keys to 127 and values to 255 characters; some are ours.
    if len(tags) > 30:
        raise ValueError(f"{len(tags)} tags; at most 30 are allowed")
    for key, value in tags.items():
        if not key or len(key) > 127 or len(value) > 255:
            raise ValueError(f"tag {key!r}: a key has 1 to 127 characters, a value at most 255")
        if key.lower().startswith(_TAG_RESERVED) or key == "Name":
            raise ValueError(f"tag {key!r} is reserved")
