"""Cloud disks: what an activity is asked to make, and what it saw."""

from datetime import datetime
from enum import StrEnum

from activities.models.common import AppRequest, Message, StepRequest


class VolumeState(StrEnum):
    CREATING = "creating"
    AVAILABLE = "available"
    IN_USE = "in-use"
    DELETING = "deleting"
    FAILED = "failed"


class VolumeSpec(Message):
    """A disk as it shall be. IOPS and throughput (MiB/s) None: what the type gives by itself."""

    zone: str
    size_gib: int
    type: str
    iops: int | None = None
    throughput: int | None = None
    tags: dict[str, str] = {}


class Volume(Message):
    """A real cloud disk as the cloud described it; `machine` is what it is attached to."""

    id: str
    zone: str
    size_gib: int
    type: str
    state: VolumeState
    iops: int | None = None
    throughput: int | None = None
    machine: str = ""
    attached: bool = False
    tags: dict[str, str] = {}
    created_at: datetime | None = None


class CreateVolume(AppRequest):
    spec: VolumeSpec


class DeleteVolume(AppRequest):
    """Undo of CreateVolume: the disk is found by its app, operation and step tags."""

    of_step: str


class KeepVolumes(StepRequest):
    """Mark disks to be kept until a time, after which the sweep may delete them; None takes the mark away."""

    volumes: list[str]
    keep_until: datetime | None


class DeleteVolumes(StepRequest):
    """Delete disks for good, by id, after checking that they carry the component's tags."""

    app: str
    component: str
    volumes: list[str]


class SweepVolumes(Message):
    """Delete the disks of a cluster whose retention ended before `now`."""

    cluster: str
    now: datetime


class SweptVolumes(Message):
    deleted: list[str]
    kept: int


class BindVolume(StepRequest):
    """Make the PersistentVolume and its pre-bound claim for one disk of one instance."""

    app: str
    component: str
    instance: int
    blueprint: str
    claim: str
    volume: Volume
    file_system: str


class UnbindVolume(StepRequest):
    app: str
    claim: str


class AwaitAttached(StepRequest):
    """Wait until every disk of an instance is attached to the machine its pod runs on."""

    app: str
    component: str
    instance: int
    claims: list[str]


class Attachment(Message):
    claim: str
    volume: str
    machine: str
    node: str
