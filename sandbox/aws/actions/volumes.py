"""Create, describe and delete EBS volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from sandbox.aws import tagging, tokens
from sandbox.aws.disks import (
    ATTACHMENTS,
    VOLUMES,
    Attachment,
    Volume,
    attachments,
    attachments_of_volume,
    check_storage,
    counted_volumes,
    get_volume,
    is_gone,
    volume_shown,
    volume_state,
    volumes,
)
from sandbox.aws.errors import AwsError, invalid_combination, invalid_value, missing, unsupported
from sandbox.aws.listing import Texts, chosen, flag, page
from sandbox.aws.protocol import timestamp
from sandbox.aws.registry import Call, Result, Taggable, action, housekeeping, taggable
from sandbox.aws.settings import Limits
from sandbox.aws.store import Transaction
from sandbox.aws.volume_rules import VolumeSpec, complete

# The vendor's own key, which encrypts where nobody names another.
_DEFAULT_KEY = "alias/aws/ebs"

taggable(Taggable("vol", "volume", VOLUMES, get_volume, volumes))


@action("CreateVolume", changes=True)
def create_volume(call: Call) -> Result:
    params = call.params
    zone = _zone(call)
    spec = complete(_spec(params))
    _check_options(call)
    tags = tagging.from_params(params.get("TagSpecifications"), "volume", {"volume"})
    # The vendor looks at the quota first: a repeated request over it is refused though its volume exists.
    _check_quota(call, spec)
    made = tokens.made_before(call)
    if made is not None:
        return _made_before(call, made[0])
    volume = make_volume(
        call, spec, zone, tags, encrypted=params.get("Encrypted", False), kms=params.get("KmsKeyId")
    )
    tokens.remember(call, [volume.id])
    return volume_shown(volume, [], call.now)


@action("DeleteVolume", changes=True)
def delete_volume(call: Call) -> Result:
    volume = get_volume(call, call.params["VolumeId"])
    held = attachments_of_volume(call.tx, volume.id, call.now)
    if held:
        raise AwsError("VolumeInUse", f"Volume {volume.id} is currently attached to {held[0].instance_id}")
    if volume.deleting_at is not None:
        # Deleting is not undone or restarted by a second request while the first goes on.
        return {}
    if call.now < volume.available_at:
        raise AwsError("IncorrectState", f"The volume '{volume.id}' is in the 'creating' state.")
    gone_at = call.now + call.limits.volume_deleting_seconds + call.slow_seconds
    call.tx.put(VOLUMES, volume.id, replace(volume, deleting_at=call.now, gone_at=gone_at))
    return {}


@action("DescribeVolumes")
def describe_volumes(call: Call) -> Result:
    held = _by_volume(attachments(call.tx, call.now))
    found = _named(call)
    found = chosen(found, call.params.get("Filters", []), _filters(call, held), lambda volume: volume.tags)
    ids_given = "volumeSet" if call.params.get("VolumeIds") else None
    shown, token = page(found, call.params, lambda volume: (volume.created_at, volume.id), ids_given)
    return {
        "Volumes": [volume_shown(item, held.get(item.id, []), call.now) for item in shown],
        "NextToken": token,
    }


@action("DescribeVolumeStatus")
def describe_volume_status(call: Call) -> Result:
    known: dict[str, Texts[Volume]] = {
        "availability-zone": lambda volume: (volume.zone,),
        "volume-status.status": lambda volume: (_health(volume, call.now),),
        "volume-status.details-name": lambda volume: ("io-enabled", "io-performance"),
        "volume-status.details-status": lambda volume: ("passed", "not-applicable"),
        "event.event-type": lambda volume: (),
    }
    found = chosen(_named(call), call.params.get("Filters", []), known, lambda volume: volume.tags)
    ids_given = "volumeSet" if call.params.get("VolumeIds") else None
    shown, token = page(found, call.params, lambda volume: (volume.created_at, volume.id), ids_given)
    return {"VolumeStatuses": [_status_shown(volume, call.now) for volume in shown], "NextToken": token}


@action("GetEbsDefaultKmsKeyId")
def get_ebs_default_kms_key_id(call: Call) -> Result:
    return {"KmsKeyId": _DEFAULT_KEY}


@action("DescribeVolumeAttribute")
def describe_volume_attribute(call: Call) -> Result:
    volume = get_volume(call, call.params["VolumeId"])
    attribute = call.params["Attribute"]
    if attribute == "autoEnableIO":
        return {"VolumeId": volume.id, "AutoEnableIO": {"Value": False}}
    if attribute == "productCodes":
        return {"VolumeId": volume.id, "ProductCodes": []}
    raise invalid_value(f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute.")


@housekeeping
def forget_volumes(tx: Transaction, now: float, limits: Limits) -> None:
    for attachment in tx.all(ATTACHMENTS):
        if attachment.state(now) == "detached":
            tx.delete(ATTACHMENTS, attachment.key)
    for volume in tx.all(VOLUMES):
        if is_gone(volume, now):
            tx.delete(VOLUMES, volume.id)


def make_volume(
    call: Call,
    spec: VolumeSpec,
    zone: str,
    tags: dict[str, str],
    *,
    encrypted: bool = False,
    kms: str | None = None,
) -> Volume:
    """A new volume of a checked specification; instances make theirs with it too."""
    if encrypted and kms is None:
        kms = _DEFAULT_KEY
    volume = Volume(
        id=call.new_id("vol"),
        region=call.region,
        zone=zone,
        type=spec.type,
        size_gib=spec.size_gib,
        created_at=call.now,
        available_at=call.now + call.limits.volume_creating_seconds + call.slow_seconds,
        visible_at=call.now + call.limits.not_found_seconds,
        iops=spec.iops,
        throughput_mib=spec.throughput_mib,
        encrypted=encrypted,
        kms_key_id=_key_arn(call, kms) if kms else None,
        multi_attach=spec.multi_attach,
        tags=tags,
    )
    call.tx.put(VOLUMES, volume.id, volume)
    return volume


def _spec(params: dict[str, Any]) -> VolumeSpec:
    if params.get("Size") is None:
        raise missing("size/snapshot")
    return VolumeSpec(
        type=params.get("VolumeType", "gp2"),
        size_gib=params["Size"],
        iops=params.get("Iops"),
        throughput_mib=params.get("Throughput"),
        multi_attach=params.get("MultiAttachEnabled", False),
    )


def _zone(call: Call) -> str:
    zone, zone_id = call.params.get("AvailabilityZone"), call.params.get("AvailabilityZoneId")
    if zone and zone_id:
        raise invalid_combination(
            "The parameters AvailabilityZone and AvailabilityZoneId cannot be used together."
        )
    if zone_id:
        names = [name for name, known in call.moto.zone_ids(call.region).items() if known == zone_id]
        zone = names[0] if names else zone_id
    if not zone:
        raise missing("AvailabilityZone")
    if zone not in call.moto.zones(call.region):
        raise AwsError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
    return str(zone)


def _check_options(call: Call) -> None:
    params = call.params
    if params.get("KmsKeyId") and not params.get("Encrypted"):
        raise AwsError(
            "InvalidParameterDependency",
            "The parameter KmsKeyId requires the parameter Encrypted to be set to true.",
        )
    if params.get("SnapshotId"):
        raise AwsError("InvalidSnapshot.NotFound", f"The snapshot '{params['SnapshotId']}' does not exist.")
    if params.get("VolumeInitializationRate") is not None:
        raise invalid_combination("The parameter VolumeInitializationRate requires the parameter SnapshotId.")
    if params.get("OutpostArn"):
        raise unsupported("The sandbox has no Outposts")


def _check_quota(call: Call, spec: VolumeSpec) -> None:
    limit = call.limits.max_volumes
    if limit is not None and len(counted_volumes(call)) >= limit:
        raise AwsError("VolumeLimitExceeded", f"Maximum number of volumes, {limit}, exceeded.")
    check_storage(call, spec.type, spec.size_gib)


def _made_before(call: Call, volume_id: str) -> Result:
    volume = call.tx.find(VOLUMES, volume_id)
    if volume is None or volume.deleting_at is not None:
        raise tokens.already_deleted()
    return volume_shown(volume, attachments_of_volume(call.tx, volume.id, call.now), call.now)


def _key_arn(call: Call, key: str) -> str:
    if key.startswith("arn:"):
        return key
    if key.startswith("alias/"):
        # The vendor shows the key behind the alias; one fixed key stands behind all of them here.
        key = "00000000-0000-0000-0000-000000000001"
    return f"arn:aws:kms:{call.region}:{call.account}:key/{key}"


def _named(call: Call) -> list[Volume]:
    ids = call.params.get("VolumeIds")
    if not ids:
        return volumes(call)
    return [get_volume(call, volume_id) for volume_id in dict.fromkeys(ids)]


def _by_volume(items: Iterable[Attachment]) -> dict[str, list[Attachment]]:
    grouped: dict[str, list[Attachment]] = {}
    for item in items:
        grouped.setdefault(item.volume_id, []).append(item)
    return grouped


def _filters(call: Call, held: dict[str, list[Attachment]]) -> dict[str, Texts[Volume]]:
    def each(of: Callable[[Attachment], str]) -> Texts[Volume]:
        return lambda volume: [of(item) for item in held.get(volume.id, [])]

    now = call.now

    def number(value: int | None) -> str | None:
        return None if value is None else str(value)

    return {
        "attachment.attach-time": each(lambda item: timestamp(item.at)),
        "attachment.delete-on-termination": each(lambda item: flag(item.delete_on_termination)),
        "attachment.device": each(lambda item: item.device),
        "attachment.instance-id": each(lambda item: item.instance_id),
        "attachment.status": each(lambda item: item.state(now)),
        "availability-zone": lambda volume: (volume.zone,),
        "availability-zone-id": lambda volume: (call.zone_id(volume.zone),),
        "create-time": lambda volume: (timestamp(volume.created_at),),
        "encrypted": lambda volume: (flag(volume.encrypted),),
        "fast-restored": lambda volume: ("false",),
        "iops": lambda volume: (number(volume.iops),),
        "kms-key-id": lambda volume: (volume.kms_key_id,),
        "multi-attach-enabled": lambda volume: (flag(volume.multi_attach),),
        "operator.managed": lambda volume: ("false",),
        "operator.principal": lambda volume: (),
        "size": lambda volume: (str(volume.size_gib),),
        "snapshot-id": lambda volume: (volume.snapshot_id,),
        "status": lambda volume: (volume_state(volume, volume.id in held, now),),
        "throughput": lambda volume: (number(volume.throughput_mib),),
        "volume-id": lambda volume: (volume.id,),
        "volume-type": lambda volume: (volume.type,),
    }


def _health(volume: Volume, now: float) -> str:
    return "ok" if now >= volume.available_at else "insufficient-data"


def _status_shown(volume: Volume, now: float) -> dict[str, Any]:
    status = _health(volume, now)
    details = [
        {"Name": "io-enabled", "Status": "passed"},
        {"Name": "io-performance", "Status": "not-applicable"},
    ]
    return {
        "VolumeId": volume.id,
        "AvailabilityZone": volume.zone,
        "VolumeStatus": {"Status": status, "Details": details if status == "ok" else []},
        "Actions": [],
        "Events": [],
    }
