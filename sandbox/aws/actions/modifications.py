"""Modify EBS volumes while they are used, and tell how far that is. Rules without another source are those of the
API reference of ModifyVolume and DescribeVolumesModifications."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from sandbox.aws.disks import (
    MODIFICATIONS,
    VOLUMES,
    Modification,
    Volume,
    attachments_of_volume,
    check_storage,
    get_volume,
    volume_state,
    volumes,
)
from sandbox.aws.errors import AwsError, invalid_combination, invalid_value
from sandbox.aws.listing import Texts, chosen, flag, page
from sandbox.aws.protocol import timestamp
from sandbox.aws.registry import Call, Result, action, housekeeping
from sandbox.aws.settings import Limits
from sandbox.aws.store import Transaction
from sandbox.aws.volume_rules import VolumeChange, VolumeSpec, changed

_DAY_SECONDS = 24 * 3600.0


@action("ModifyVolume", changes=True)
def modify_volume(call: Call) -> Result:
    """A request that changes nothing counts as any other (validateModifyVolume of the EBS CSI driver)."""
    volume = get_volume(call, call.params["VolumeId"])
    change = _change(call.params)
    _check_multi_attach(call, volume, change)
    target = changed(volume.spec, change)
    _check_root(call, volume, target)
    _check_state(call, volume)
    latest = call.tx.find(MODIFICATIONS, volume.id)
    recent = _check_rate(call, volume, latest)
    check_storage(call, target.type, target.size_gib - volume.size_gib)
    _check_modification_storage(call, target)
    modification = _start(call, volume, target, recent)
    if not modification.fails:
        # DescribeVolumes may show the target before it can be used (kubernetes-sigs/aws-ebs-csi-driver#552); here
        # it always does, so that a client which looks nowhere else is found out.
        call.tx.put(VOLUMES, volume.id, replace(volume, **modification.target))
    return {"VolumeModification": _shown(modification, call.now)}


@action("DescribeVolumesModifications")
def describe_volumes_modifications(call: Call) -> Result:
    """Only the most recent modification of a volume is known; a volume that was never modified has none."""
    found = chosen(_named(call), call.params.get("Filters", []), _filters(call.now))
    shown, token = page(found, call.params, lambda item: (item.at, item.volume_id), limit=500)
    return {"VolumesModifications": [_shown(item, call.now) for item in shown], "NextToken": token}


@housekeeping
def forget_modifications(tx: Transaction, now: float, limits: Limits) -> None:
    for modification in tx.all(MODIFICATIONS):
        if tx.find(VOLUMES, modification.volume_id) is None:
            tx.delete(MODIFICATIONS, modification.volume_id)


def _change(params: dict[str, Any]) -> VolumeChange:
    change = VolumeChange(
        type=params.get("VolumeType"),
        size_gib=params.get("Size"),
        iops=params.get("Iops"),
        throughput_mib=params.get("Throughput"),
        multi_attach=params.get("MultiAttachEnabled"),
    )
    if change == VolumeChange():
        raise invalid_value(
            "At least one of size, volumeType, iops, throughput, multiAttachEnabled must be given."
        )
    return change


def _check_multi_attach(call: Call, volume: Volume, change: VolumeChange) -> None:
    """The limitations of the EBS user guide, as others retell them; codes and texts are not known from the vendor."""
    toggled = change.multi_attach is not None and change.multi_attach != volume.multi_attach
    kind = change.type or volume.type
    if volume.multi_attach and volume.type == "io1":
        raise invalid_combination("A Multi-Attach enabled io1 volume cannot be modified.")
    if volume.multi_attach and kind != volume.type:
        raise invalid_combination("The volume type of a Multi-Attach enabled volume cannot be modified.")
    if toggled and kind == "io1":
        raise invalid_combination("Multi-Attach of an io1 volume is chosen when the volume is created.")
    held = len(attachments_of_volume(call.tx, volume.id, call.now))
    if toggled and held > (0 if change.multi_attach else 1):
        raise invalid_combination(
            f"Multi-Attach cannot be changed while {volume.id} is attached to {held} instances."
        )


def _check_root(call: Call, volume: Volume, target: VolumeSpec) -> None:
    """A root volume cannot become one that nothing starts from (EBS user guide, as others retell it); code and text
    are not known from the vendor."""
    held = attachments_of_volume(call.tx, volume.id, call.now)
    if target.type in ("sc1", "st1") and any(item.root for item in held):
        raise invalid_combination(f"The root volume {volume.id} cannot be of the type {target.type}.")


def _check_state(call: Call, volume: Volume) -> None:
    attached = bool(attachments_of_volume(call.tx, volume.id, call.now))
    state = volume_state(volume, attached, call.now)
    if state not in ("available", "in-use"):
        raise AwsError("IncorrectState", f"The volume '{volume.id}' is in the '{state}' state.")


def _check_rate(call: Call, volume: Volume, latest: Modification | None) -> list[float]:
    """When the modifications began that still count: the last one must have ended, and a day takes four."""
    if latest is None:
        return []
    state = latest.state(call.now)
    if state in ("modifying", "optimizing"):
        # Code and text are quoted in kubernetes/kubernetes#69434.
        raise AwsError(
            "IncorrectModificationState",
            f"Volume {volume.id} cannot be modified in modification state {state.upper()}",
        )
    recent = [at for at in latest.recent if call.now - at < _DAY_SECONDS]
    limit = call.limits.max_modifications_per_day
    if limit is not None and len(recent) >= limit:
        free_at = _DAY_SECONDS + (recent[-int(limit)] if limit >= 1 else call.now)
        # The code and the first sentence are the vendor's; it says when, but its words for that were not seen.
        raise AwsError(
            "VolumeModificationRateExceeded",
            "You've reached the maximum modification rate per volume limit. "
            f"The next modification of volume {volume.id} is possible at {timestamp(free_at)}.",
        )
    return recent


def _check_modification_storage(call: Call, target: VolumeSpec) -> None:
    """The quota of "volume modification storage in this Region", which counts those that have not ended (EC2 error
    codes)."""
    limit = call.limits.max_modification_gib
    if limit is None:
        return
    under_way = [
        item.target["size_gib"]
        for item in call.tx.all(MODIFICATIONS)
        if item.region == call.region and call.now < item.ended_at
    ]
    if sum(under_way) + target.size_gib > limit:
        raise AwsError(
            "VolumeModificationSizeLimitExceeded",
            f"You have exceeded your limit of {limit} GiB of volumes modified at once in this region.",
        )


def _start(call: Call, volume: Volume, target: VolumeSpec, recent: list[float]) -> Modification:
    limits = call.limits
    optimizing_at = call.now + limits.volume_modifying_seconds + call.slow_seconds
    optimizing_seconds = (
        limits.volume_optimizing_seconds + limits.volume_optimizing_seconds_per_gib * target.size_gib
    )
    modification = Modification(
        volume_id=volume.id,
        region=call.region,
        at=call.now,
        optimizing_at=optimizing_at,
        completed_at=optimizing_at + optimizing_seconds,
        original=asdict(volume.spec),
        target=asdict(target),
        fails=call.fails,
        # Whether the vendor counts a modification that fails is not written anywhere; counting is the careful guess.
        recent=[*recent, call.now],
    )
    call.tx.put(MODIFICATIONS, volume.id, modification)
    return modification


def _named(call: Call) -> list[Modification]:
    ids = call.params.get("VolumeIds")
    if not ids:
        visible = {volume.id for volume in volumes(call)}
        return [item for item in call.tx.all(MODIFICATIONS) if item.volume_id in visible]
    return [_latest(call, get_volume(call, volume_id)) for volume_id in dict.fromkeys(ids)]


def _latest(call: Call, volume: Volume) -> Modification:
    latest = call.tx.find(MODIFICATIONS, volume.id)
    if latest is None:
        raise AwsError(
            "InvalidVolumeModification.NotFound", f"Modification for volume '{volume.id}' does not exist."
        )
    return latest


def _filters(now: float) -> dict[str, Texts[Modification]]:
    def each(side: str, name: str) -> Texts[Modification]:
        def texts(item: Modification) -> tuple[str | None]:
            value = getattr(item, side)[name]
            if isinstance(value, bool):
                return (flag(value),)
            return (None if value is None else str(value),)

        return texts

    return {
        "modification-state": lambda item: (item.state(now),),
        "original-iops": each("original", "iops"),
        "original-size": each("original", "size_gib"),
        "original-volume-type": each("original", "type"),
        "originalMultiAttachEnabled": each("original", "multi_attach"),
        "start-time": lambda item: (timestamp(item.at),),
        "target-iops": each("target", "iops"),
        "target-size": each("target", "size_gib"),
        "target-volume-type": each("target", "type"),
        "targetMultiAttachEnabled": each("target", "multi_attach"),
        "volume-id": lambda item: (item.volume_id,),
    }


def _shown(item: Modification, now: float) -> dict[str, Any]:
    state = item.state(now)
    return {
        "VolumeId": item.volume_id,
        "ModificationState": state,
        "StatusMessage": "A fault of the sandbox let the modification fail." if state == "failed" else None,
        **_spec_shown("Target", item.target),
        **_spec_shown("Original", item.original),
        "Progress": item.progress(now),
        "StartTime": item.at,
        "EndTime": item.ended_at if now >= item.ended_at else None,
    }


def _spec_shown(side: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{side}Size": spec["size_gib"],
        f"{side}Iops": spec["iops"],
        f"{side}VolumeType": spec["type"],
        f"{side}Throughput": spec["throughput_mib"],
        f"{side}MultiAttachEnabled": spec["multi_attach"],
    }
