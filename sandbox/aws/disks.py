"""Volumes, attachments and modifications as records, and what state each is in at a moment. The volume, attachment
and instance actions all work on these; nothing here answers a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.aws import tagging
from sandbox.aws.errors import AwsError, invalid_value
from sandbox.aws.registry import Call
from sandbox.aws.store import Table, Transaction
from sandbox.aws.volume_rules import VolumeSpec


@dataclass(frozen=True, slots=True)
class Volume:
    id: str
    region: str
    zone: str
    type: str
    size_gib: int
    created_at: float
    available_at: float
    visible_at: float
    iops: int | None = None
    throughput_mib: int | None = None
    encrypted: bool = False
    kms_key_id: str | None = None
    multi_attach: bool = False
    snapshot_id: str = ""
    deleting_at: float | None = None
    gone_at: float | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> VolumeSpec:
        return VolumeSpec(self.type, self.size_gib, self.iops, self.throughput_mib, self.multi_attach)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A volume at an instance; times say when each state begins, so that nothing has to tick."""

    volume_id: str
    instance_id: str
    region: str
    device: str
    at: float
    attached_at: float
    detaching_at: float | None = None
    detached_at: float | None = None
    delete_on_termination: bool = False
    root: bool = False
    card_index: int | None = None

    @property
    def key(self) -> str:
        return f"{self.volume_id}/{self.instance_id}"

    def state(self, now: float) -> str:
        if self.detached_at is not None and now >= self.detached_at:
            return "detached"
        if self.detaching_at is not None and now >= self.detaching_at:
            return "detaching"
        return "attached" if now >= self.attached_at else "attaching"


@dataclass(frozen=True, slots=True)
class Modification:
    """The latest change of a volume, as specifications and as times at which its states begin."""

    volume_id: str
    region: str
    at: float
    optimizing_at: float
    completed_at: float
    # The fields of a VolumeSpec, which the store can write.
    original: dict[str, Any]
    target: dict[str, Any]
    fails: bool = False
    # When this one and those before it began, oldest first, as far as the vendor still counts them.
    recent: list[float] = field(default_factory=list)

    @property
    def ended_at(self) -> float:
        return self.optimizing_at if self.fails else self.completed_at

    def state(self, now: float) -> str:
        if now >= self.ended_at:
            return "failed" if self.fails else "completed"
        return "optimizing" if now >= self.optimizing_at else "modifying"

    def progress(self, now: float) -> int:
        """In percent: the new size is there at once, what takes time is the move to the new performance."""
        state = self.state(now)
        if state == "optimizing":
            return int(100 * (now - self.optimizing_at) / (self.completed_at - self.optimizing_at))
        return 100 if state == "completed" else 0


VOLUMES = Table("volume", Volume)
ATTACHMENTS = Table("attachment", Attachment)
MODIFICATIONS = Table("modification", Modification)


def attachments(tx: Transaction, now: float) -> list[Attachment]:
    """Those that still hold: attaching, attached or detaching."""
    return [item for item in tx.all(ATTACHMENTS) if item.detached_at is None or now < item.detached_at]


def attachments_of_volume(tx: Transaction, volume_id: str, now: float) -> list[Attachment]:
    return [item for item in attachments(tx, now) if item.volume_id == volume_id]


def attachments_of_instance(tx: Transaction, instance_id: str, now: float) -> list[Attachment]:
    return [item for item in attachments(tx, now) if item.instance_id == instance_id]


def volume_state(volume: Volume, attached: bool, now: float) -> str:
    if volume.deleting_at is not None and now >= volume.deleting_at:
        return "deleting"
    if attached:
        return "in-use"
    return "available" if now >= volume.available_at else "creating"


def is_gone(volume: Volume, now: float) -> bool:
    return volume.gone_at is not None and now >= volume.gone_at


def volumes(call: Call) -> list[Volume]:
    """The volumes of the region that can be seen now."""
    return [
        volume
        for volume in call.tx.all(VOLUMES)
        if volume.region == call.region and not is_gone(volume, call.now) and volume.visible_at <= call.now
    ]


def get_volume(call: Call, volume_id: str) -> Volume:
    if not re.fullmatch(r"vol-([0-9a-f]{8}|[0-9a-f]{17})", volume_id):
        raise invalid_value(f"Value ({volume_id}) for parameter volumeId is invalid. Expected: 'vol-...'.")
    volume = call.tx.find(VOLUMES, volume_id)
    hidden = volume is None or volume.region != call.region or volume.visible_at > call.now
    if hidden or volume is None or is_gone(volume, call.now):
        raise volume_not_found(volume_id)
    return volume


def counted_volumes(call: Call) -> list[Volume]:
    """Those that count against the quotas of the region, whether they can be seen yet or not."""
    return [v for v in call.tx.all(VOLUMES) if v.region == call.region and not is_gone(v, call.now)]


def check_storage(call: Call, volume_type: str, more_gib: int) -> None:
    """Refuses what would take the region over its quota of storage."""
    limit = call.limits.max_volume_gib
    if limit is None or more_gib <= 0:
        return
    if sum(volume.size_gib for volume in counted_volumes(call)) + more_gib > limit:
        raise AwsError(
            "VolumeLimitExceeded",
            f"You have exceeded your maximum {volume_type} storage limit of {limit} GiB in this region.",
        )


def volume_not_found(volume_id: str) -> AwsError:
    return AwsError("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")


def release(tx: Transaction, instance_id: str, now: float, released_at: float, deleted_at: float) -> None:
    """Takes all disks off an instance that is being terminated; those that belong to it end with it."""
    for item in attachments_of_instance(tx, instance_id, now):
        detaching_at = item.detaching_at if item.detaching_at is not None else now
        detached_at = min(released_at, item.detached_at) if item.detached_at is not None else released_at
        tx.put(ATTACHMENTS, item.key, replace(item, detaching_at=detaching_at, detached_at=detached_at))
        volume = tx.find(VOLUMES, item.volume_id)
        if item.delete_on_termination and volume is not None and item.detaching_at is None:
            tx.put(VOLUMES, volume.id, replace(volume, deleting_at=released_at, gone_at=deleted_at))


def volume_shown(volume: Volume, held: list[Attachment], now: float) -> dict[str, Any]:
    return {
        "VolumeId": volume.id,
        "Size": volume.size_gib,
        "SnapshotId": volume.snapshot_id,
        "AvailabilityZone": volume.zone,
        "State": volume_state(volume, bool(held), now),
        "CreateTime": volume.created_at,
        "Attachments": [attachment_shown(item, now) for item in held],
        "Tags": tagging.shown(volume.tags) if volume.tags else None,
        "VolumeType": volume.type,
        "Iops": volume.iops,
        "Throughput": volume.throughput_mib,
        "Encrypted": volume.encrypted,
        "KmsKeyId": volume.kms_key_id,
        "MultiAttachEnabled": volume.multi_attach,
    }


def attachment_shown(item: Attachment, now: float) -> dict[str, Any]:
    return {
        "VolumeId": item.volume_id,
        "InstanceId": item.instance_id,
        "Device": item.device,
        "State": item.state(now),
        "AttachTime": item.at,
        "DeleteOnTermination": item.delete_on_termination,
        "EbsCardIndex": item.card_index,
    }
