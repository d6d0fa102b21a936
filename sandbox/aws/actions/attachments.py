"""Attach volumes to instances and detach them, with the vendor's rules about zones, devices and limits."""

from __future__ import annotations

import re
from dataclasses import replace

from sandbox.aws.disks import (
    ATTACHMENTS,
    VOLUMES,
    Attachment,
    Volume,
    attachment_shown,
    attachments_of_instance,
    attachments_of_volume,
    get_volume,
    volume_state,
)
from sandbox.aws.errors import AwsError, invalid_combination, invalid_value, missing
from sandbox.aws.instance_types import max_volumes, same_device
from sandbox.aws.machines import Instance, find_instance, get_instance
from sandbox.aws.registry import Call, Result, action

_DEVICE = re.compile(r"(/dev/)?(xvd[a-z]{1,2}\d{0,2}|sd[a-z]\d{0,2}|hd[a-z])")
_MAX_INSTANCES_PER_VOLUME = 16


@action("AttachVolume", changes=True)
def attach_volume(call: Call) -> Result:
    params = call.params
    volume = get_volume(call, params["VolumeId"])
    instance = get_instance(call, params["InstanceId"])
    device = params.get("Device")
    if not device:
        raise missing("Device")
    if not _DEVICE.fullmatch(device):
        raise invalid_value(
            f"Value ({device}) for parameter device is invalid. {device} is not a valid EBS device name."
        )
    _check_volume(call, volume, instance)
    _check_instance(call, volume, instance)
    held = attachments_of_instance(call.tx, instance.id, call.now)
    if any(same_device(item.device, device) for item in held):
        raise invalid_value(
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        )
    limit = max_volumes(instance.type)
    if len(held) >= limit:
        raise AwsError(
            "AttachmentLimitExceeded",
            f"Instance '{instance.id}' of type {instance.type} has {len(held)} volumes attached; its limit is {limit}.",
        )
    attachment = Attachment(
        volume_id=volume.id,
        instance_id=instance.id,
        region=call.region,
        device=device,
        at=call.now,
        attached_at=call.now + call.limits.attaching_seconds + call.slow_seconds,
        root=same_device(device, instance.root_device),
        card_index=params.get("EbsCardIndex"),
    )
    call.tx.put(ATTACHMENTS, attachment.key, attachment)
    return {**attachment_shown(attachment, call.now), "State": "attaching"}


@action("DetachVolume", changes=True)
def detach_volume(call: Call) -> Result:
    params = call.params
    volume = get_volume(call, params["VolumeId"])
    attachment = _attachment(call, volume)
    instance = find_instance(call, attachment.instance_id)
    if attachment.root and instance is not None and instance.state(call.now) == "running":
        raise AwsError(
            "OperationNotPermitted",
            f"Unable to detach root volume '{attachment.device}' from instance '{attachment.instance_id}'",
        )
    force = params.get("Force", False)
    if attachment.detaching_at is not None and not force:
        raise AwsError("IncorrectState", f"Volume '{volume.id}' is in the 'detaching' state.")
    seconds = call.limits.detaching_seconds + call.slow_seconds
    detached_at = call.now + seconds
    if force and attachment.detached_at is not None:
        detached_at = min(detached_at, attachment.detached_at)
    changed = replace(attachment, detaching_at=attachment.detaching_at or call.now, detached_at=detached_at)
    call.tx.put(ATTACHMENTS, changed.key, changed)
    return {**attachment_shown(changed, call.now), "State": "detaching"}


def _check_volume(call: Call, volume: Volume, instance: Instance) -> None:
    if volume.zone != instance.zone:
        raise AwsError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
        )
    held = attachments_of_volume(call.tx, volume.id, call.now)
    if held and (not volume.multi_attach or any(item.instance_id == instance.id for item in held)):
        raise AwsError("VolumeInUse", f"{volume.id} is already attached to an instance")
    if len(held) >= _MAX_INSTANCES_PER_VOLUME:
        raise AwsError(
            "VolumeInUse", f"{volume.id} is already attached to {_MAX_INSTANCES_PER_VOLUME} instances"
        )
    state = volume_state(volume, bool(held), call.now)
    if state not in ("available", "in-use"):
        raise AwsError("IncorrectState", f"{volume.id} is not 'available'.")


def _check_instance(call: Call, volume: Volume, instance: Instance) -> None:
    state = instance.state(call.now)
    if state not in ("running", "stopping", "stopped"):
        raise AwsError("IncorrectState", f"Instance '{instance.id}' is not 'running'.")
    if volume.multi_attach and not instance.nitro:
        raise invalid_combination(
            f"Instance type {instance.type} does not support volumes enabled for Multi-Attach."
        )


def _attachment(call: Call, volume: Volume) -> Attachment:
    params = call.params
    held = attachments_of_volume(call.tx, volume.id, call.now)
    if params.get("InstanceId"):
        get_instance(call, params["InstanceId"])
    if not held:
        state = volume_state(call.tx.find(VOLUMES, volume.id) or volume, False, call.now)
        raise AwsError("IncorrectState", f"Volume '{volume.id}' is in the '{state}' state.")
    matching = [
        item
        for item in held
        if params.get("InstanceId") in (None, item.instance_id)
        and (not params.get("Device") or same_device(params["Device"], item.device))
    ]
    if not matching:
        where = params.get("InstanceId") or params.get("Device")
        raise AwsError(
            "InvalidAttachment.NotFound", f"The volume '{volume.id}' is not attached to '{where}'."
        )
    if len(matching) > 1:
        raise invalid_combination(
            "An instance must be specified to detach a volume that is attached to several."
        )
    return matching[0]
