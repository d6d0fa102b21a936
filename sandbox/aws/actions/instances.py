"""Run, describe, stop, start, reboot and terminate EC2 instances."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from sandbox.aws import launching, tokens
from sandbox.aws.actions.volumes import make_volume
from sandbox.aws.disks import ATTACHMENTS, VOLUMES, Attachment, attachments, attachments_of_instance, release
from sandbox.aws.errors import AwsError
from sandbox.aws.instance_filters import instance_filters
from sandbox.aws.launching import Launch
from sandbox.aws.listing import chosen, page
from sandbox.aws.machines import (
    INSTANCES,
    Instance,
    get_instance,
    get_instances,
    has_vanished,
    instance_shown,
    instances,
    state_shown,
)
from sandbox.aws.protocol import timestamp
from sandbox.aws.registry import Call, Params, Result, Taggable, action, housekeeping, taggable
from sandbox.aws.settings import Limits
from sandbox.aws.store import Transaction

taggable(Taggable("i", "instance", INSTANCES, get_instance, instances))

_SHOWN_AS_GIVEN = (
    "CpuOptions",
    "CreditSpecification",
    "MaintenanceOptions",
    "MetadataOptions",
    "PrivateDnsNameOptions",
)


@action("RunInstances", changes=True)
def run_instances(call: Call) -> Result:
    origin = _apply_launch_template(call)
    launch = launching.understand(call)
    made = tokens.made_before(call)
    if made is not None:
        return _reservation(call, [item for item in (call.tx.find(INSTANCES, key) for key in made) if item])
    reservation = call.new_id("r")
    ips = launching.addresses(call, launch.subnet, launch.count)
    new = [_make(call, launch, origin, reservation, index, ip) for index, ip in enumerate(ips)]
    tokens.remember(call, [instance.id for instance in new])
    return _reservation(call, new)


@action("DescribeInstances")
def describe_instances(call: Call) -> Result:
    found = _chosen(call)
    ids_given = "instancesSet" if call.params.get("InstanceIds") else None
    shown, token = page(found, call.params, lambda item: (item.launched_at, item.id), ids_given)
    held = _held(call)
    reservations: dict[str, Result] = {}
    for item in shown:
        reservation = reservations.setdefault(
            item.reservation_id, _empty_reservation(call, item.reservation_id)
        )
        reservation["Instances"].append(instance_shown(item, held.get(item.id, []), call.now))
    return {"Reservations": list(reservations.values()), "NextToken": token}


@action("DescribeInstanceStatus")
def describe_instance_status(call: Call) -> Result:
    everything = call.params.get("IncludeAllInstances", False)
    found = [item for item in _chosen(call) if everything or item.state(call.now) == "running"]
    ids_given = "instancesSet" if call.params.get("InstanceIds") else None
    shown, token = page(found, call.params, lambda item: (item.launched_at, item.id), ids_given)
    return {"InstanceStatuses": [_status_shown(item, call.now) for item in shown], "NextToken": token}


@action("StopInstances", changes=True)
def stop_instances(call: Call) -> Result:
    seconds = call.limits.instance_stopping_seconds + call.slow_seconds

    def stop(item: Instance, state: str) -> Instance:
        if state in ("stopping", "stopped"):
            return item
        if state not in ("pending", "running"):
            raise _wrong_state(item, "stopped")
        if item.disable_stop:
            raise _protected(item, "stopped", "disableApiStop")
        reason = f"User initiated ({_minute(call.now)})"
        stopping = _in_phase(item, "stopping", call.now + seconds, "stopped")
        return replace(stopping, reason=reason, reason_code="Client.UserInitiatedShutdown")

    return {"StoppingInstances": _each(call, stop)}


@action("StartInstances", changes=True)
def start_instances(call: Call) -> Result:
    seconds = call.limits.instance_pending_seconds + call.slow_seconds

    def start(item: Instance, state: str) -> Instance:
        if state in ("pending", "running"):
            return item
        if state != "stopped":
            raise _wrong_state(item, "started")
        if not any(held.root for held in attachments_of_instance(call.tx, item.id, call.now)):
            raise AwsError(
                "InvalidInstanceState", f"Instance '{item.id}' does not have a volume attached at root"
            )
        started = _in_phase(item, "pending", call.now + seconds, "running")
        return replace(started, launched_at=call.now, reason="", reason_code=None)

    return {"StartingInstances": _each(call, start)}


@action("RebootInstances", changes=True)
def reboot_instances(call: Call) -> Result:
    for item in get_instances(call, call.params["InstanceIds"]):
        if item.state(call.now) not in ("pending", "running"):
            raise _wrong_state(item, "rebooted")
    return {}


@action("TerminateInstances", changes=True)
def terminate_instances(call: Call) -> Result:
    ends_at = call.now + call.limits.instance_shutting_down_seconds + call.slow_seconds

    def terminate(item: Instance, state: str) -> Instance:
        if state in ("shutting-down", "terminated"):
            return item
        if item.disable_termination:
            raise _protected(item, "terminated", "disableApiTermination")
        release(call.tx, item.id, call.now, ends_at, ends_at + call.limits.volume_deleting_seconds)
        return replace(
            _in_phase(item, "shutting-down", ends_at, "terminated"),
            terminated_at=ends_at,
            reason=f"User initiated ({_minute(call.now)})",
            reason_code="Client.UserInitiatedShutdown",
        )

    return {"TerminatingInstances": _each(call, terminate)}


@housekeeping
def forget_instances(tx: Transaction, now: float, limits: Limits) -> None:
    for item in tx.all(INSTANCES):
        if has_vanished(item, now, limits.terminated_visible_seconds):
            tx.delete(INSTANCES, item.id)


def _apply_launch_template(call: Call) -> dict[str, str]:
    """Fills the request from its template, and returns the tags that say where an instance came from."""
    wanted = call.params.pop("LaunchTemplate", None)
    if wanted is None:
        return {}
    found = call.moto.launch_template(call.region, wanted)
    if found is None:
        name = wanted.get("LaunchTemplateId") or wanted.get("LaunchTemplateName")
        code = "InvalidLaunchTemplateName.NotFoundException"
        if "LaunchTemplateId" in wanted:
            code = "InvalidLaunchTemplateId.NotFound"
        raise AwsError(code, f"The specified launch template, '{name}', does not exist.")
    given = dict(found.data)
    tags = (given.pop("TagSpecifications", None) or []) + (call.params.pop("TagSpecifications", None) or [])
    call.params = {**given, **call.params, **({"TagSpecifications": tags} if tags else {})}
    return {"aws:ec2launchtemplate:id": found.id, "aws:ec2launchtemplate:version": str(found.version)}


def _make(
    call: Call, launch: Launch, origin: dict[str, str], reservation: str, index: int, ip: str
) -> Instance:
    params = call.params
    subnet = launch.subnet
    runs_at = call.now + call.limits.instance_pending_seconds + call.slow_seconds
    profile = params.get("IamInstanceProfile") or {}
    instance = Instance(
        id=call.new_id("i"),
        region=call.region,
        zone=subnet.zone,
        type=launch.type,
        image_id=launch.image.id,
        reservation_id=reservation,
        index=index,
        launched_at=call.now,
        visible_at=call.now + call.limits.not_found_seconds,
        phase="pending",
        phase_until=runs_at,
        then="running",
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        private_ip=ip,
        interface_id=call.new_id("eni"),
        root_device=launch.image.root_device,
        architecture=launch.image.architecture,
        security_groups=launch.security_groups,
        platform=launch.image.platform,
        public_ip=_public_ip(ip) if launch.public_ip else None,
        key_name=params.get("KeyName"),
        user_data=params.get("UserData"),
        client_token=params.get("ClientToken", ""),
        profile_arn=profile.get("Arn") or _profile_arn(call, profile.get("Name")),
        disable_termination=params.get("DisableApiTermination", False),
        disable_stop=params.get("DisableApiStop", False),
        shutdown_behaviour=params.get("InstanceInitiatedShutdownBehavior", "stop"),
        ebs_optimized=params.get("EbsOptimized", False),
        monitoring=params.get("Monitoring", {}).get("Enabled", False),
        lifecycle=params.get("InstanceMarketOptions", {}).get("MarketType"),
        options={
            **{name: params[name] for name in _SHOWN_AS_GIVEN if name in params},
            "Placement": {
                k: v for k, v in params.get("Placement", {}).items() if k in ("GroupName", "Tenancy")
            },
        },
        tags={**launch.instance_tags, **origin},
    )
    call.tx.put(INSTANCES, instance.id, instance)
    for disk in launch.disks:
        volume = make_volume(
            call, disk.spec, subnet.zone, launch.volume_tags, encrypted=disk.encrypted, kms=disk.kms_key_id
        )
        # Disks made with an instance come attached; nothing has to wait for them.
        call.tx.put(VOLUMES, volume.id, replace(volume, available_at=call.now))
        attachment = Attachment(
            volume_id=volume.id,
            instance_id=instance.id,
            region=call.region,
            device=disk.device,
            at=call.now,
            attached_at=min(runs_at, call.now + call.limits.attaching_seconds),
            delete_on_termination=disk.delete_on_termination,
            root=disk.device == instance.root_device,
        )
        call.tx.put(ATTACHMENTS, attachment.key, attachment)
    return instance


def _reservation(call: Call, members: list[Instance]) -> Result:
    if not members:
        raise tokens.already_deleted()
    held = _held(call)
    result = _empty_reservation(call, members[0].reservation_id)
    result["Instances"] = [instance_shown(item, held.get(item.id, []), call.now) for item in members]
    return result


def _empty_reservation(call: Call, reservation: str) -> Result:
    return {"ReservationId": reservation, "OwnerId": call.account, "Groups": [], "Instances": []}


def _chosen(call: Call) -> list[Instance]:
    ids = call.params.get("InstanceIds")
    found = get_instances(call, list(dict.fromkeys(ids))) if ids else instances(call)
    held = _held(call)
    return chosen(
        found,
        call.params.get("Filters", []),
        instance_filters(held, call.account, call.now, call.zone_id),
        lambda item: item.tags,
    )


def _held(call: Call) -> dict[str, list[Attachment]]:
    grouped: dict[str, list[Attachment]] = {}
    for item in sorted(
        attachments(call.tx, call.now), key=lambda item: (not item.root, item.at, item.volume_id)
    ):
        grouped.setdefault(item.instance_id, []).append(item)
    return grouped


def _each(call: Call, change: Callable[[Instance, str], Instance]) -> list[Result]:
    """Changes every named instance or none of them, and tells each one's state before and after."""
    told: list[Result] = []
    for item in get_instances(call, list(dict.fromkeys(call.params["InstanceIds"]))):
        before = item.state(call.now)
        changed = change(item, before)
        call.tx.put(INSTANCES, item.id, changed)
        told.append(
            {
                "InstanceId": item.id,
                "PreviousState": state_shown(before),
                "CurrentState": state_shown(changed.state(call.now)),
            }
        )
    return told


def _in_phase(item: Instance, phase: str, until: float, then: str) -> Instance:
    return replace(item, phase=phase, phase_until=until, then=then)


def _wrong_state(item: Instance, verb: str) -> AwsError:
    return AwsError(
        "IncorrectInstanceState", f"The instance '{item.id}' is not in a state from which it can be {verb}."
    )


def _protected(item: Instance, verb: str, attribute: str) -> AwsError:
    return AwsError(
        "OperationNotPermitted",
        f"The instance '{item.id}' may not be {verb}. Modify its '{attribute}' instance attribute and try again.",
    )


def _minute(now: float) -> str:
    return timestamp(now)[:19].replace("T", " ") + " GMT"


def _public_ip(private_ip: str) -> str:
    """An address of a documentation network, the same whenever the private one is: it leads nowhere."""
    return f"203.0.113.{int(hashlib.sha256(private_ip.encode()).hexdigest(), 16) % 254 + 1}"


def _profile_arn(call: Call, name: str | None) -> str | None:
    return f"arn:aws:iam::{call.account}:instance-profile/{name}" if name else None


def _status_shown(item: Instance, now: float) -> Params:
    state = item.state(now)
    checks = {"running": ("ok", "passed"), "pending": ("initializing", "initializing")}
    summary, detail = checks.get(state, ("not-applicable", "not-applicable"))
    check = {"Status": summary, "Details": [{"Name": "reachability", "Status": detail}]}
    return {
        "InstanceId": item.id,
        "AvailabilityZone": item.zone,
        "InstanceState": state_shown(state),
        "InstanceStatus": check,
        "SystemStatus": check,
        "Events": [],
    }
