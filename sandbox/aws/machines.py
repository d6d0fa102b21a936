"""Instances as records, what state each is in at a moment and how they are shown. The instance, attachment and tag
actions work on these; nothing here answers a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sandbox.aws import tagging
from sandbox.aws.auth import ACCOUNT
from sandbox.aws.disks import Attachment
from sandbox.aws.errors import AwsError
from sandbox.aws.instance_types import find_type
from sandbox.aws.registry import Call
from sandbox.aws.store import Table

STATE_CODES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}


@dataclass(frozen=True, slots=True)
class Instance:
    """`phase` lasts until `phase_until`, then the instance is in state `then`; nothing has to tick."""

    id: str
    region: str
    zone: str
    type: str
    image_id: str
    reservation_id: str
    index: int
    launched_at: float
    visible_at: float
    phase: str
    phase_until: float
    then: str
    vpc_id: str
    subnet_id: str
    private_ip: str
    interface_id: str
    root_device: str
    architecture: str
    security_groups: dict[str, str]
    platform: str | None = None
    public_ip: str | None = None
    key_name: str | None = None
    user_data: str | None = None
    client_token: str = ""
    profile_arn: str | None = None
    reason: str = ""
    reason_code: str | None = None
    terminated_at: float | None = None
    disable_termination: bool = False
    disable_stop: bool = False
    shutdown_behaviour: str = "stop"
    source_dest_check: bool = True
    ebs_optimized: bool = False
    monitoring: bool = False
    lifecycle: str | None = None
    # Options that are only shown again as they were given, in boto3's words.
    options: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def nitro(self) -> bool:
        return (find_type(self.type) or {}).get("Hypervisor") == "nitro"

    @property
    def private_dns_name(self) -> str:
        suffix = "ec2.internal" if self.region == "us-east-1" else f"{self.region}.compute.internal"
        return f"ip-{self.private_ip.replace('.', '-')}.{suffix}"

    def public_dns_name(self, now: float) -> str:
        if self.public_ip is None or self.state(now) != "running":
            return ""
        domain = "compute-1" if self.region == "us-east-1" else f"{self.region}.compute"
        return f"ec2-{self.public_ip.replace('.', '-')}.{domain}.amazonaws.com"

    def state(self, now: float) -> str:
        return self.phase if now < self.phase_until else self.then


INSTANCES = Table("instance", Instance)


def find_instance(call: Call, instance_id: str) -> Instance | None:
    """The instance, if it can be seen now."""
    instance = call.tx.find(INSTANCES, instance_id)
    return instance if instance is not None and _visible(call, instance) else None


def get_instance(call: Call, instance_id: str) -> Instance:
    return get_instances(call, [instance_id])[0]


def get_instances(call: Call, ids: list[str]) -> list[Instance]:
    """All of them, or the vendor's refusal that names those which do not exist."""
    for instance_id in ids:
        if not re.fullmatch(r"i-([0-9a-f]{8}|[0-9a-f]{17})", instance_id):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')
    found = {instance_id: find_instance(call, instance_id) for instance_id in ids}
    absent = [instance_id for instance_id, instance in found.items() if instance is None]
    if absent:
        raise instance_not_found(", ".join(absent))
    return [instance for instance in found.values() if instance is not None]


def instance_not_found(ids: str) -> AwsError:
    one = "," not in ids
    text = f"The instance ID '{ids}' does not exist" if one else f"The instance IDs '{ids}' do not exist"
    return AwsError("InvalidInstanceID.NotFound", text)


def instances(call: Call) -> list[Instance]:
    return [item for item in call.tx.all(INSTANCES) if _visible(call, item)]


def has_vanished(instance: Instance, now: float, visible_seconds: float) -> bool:
    return instance.terminated_at is not None and now >= instance.terminated_at + visible_seconds


def state_shown(state: str) -> dict[str, Any]:
    return {"Code": STATE_CODES[state], "Name": state}


def instance_shown(instance: Instance, held: list[Attachment], now: float) -> dict[str, Any]:
    state = instance.state(now)
    live = state != "terminated"
    details = find_type(instance.type) or {}
    groups = [{"GroupId": key, "GroupName": name} for key, name in instance.security_groups.items()]
    return {
        "InstanceId": instance.id,
        "ImageId": instance.image_id,
        "InstanceType": instance.type,
        "State": state_shown(state),
        "AmiLaunchIndex": instance.index,
        "Architecture": instance.architecture,
        "BlockDeviceMappings": [_mapping_shown(item, now) for item in held],
        "ClientToken": instance.client_token,
        "EbsOptimized": instance.ebs_optimized,
        "EnaSupport": True,
        "Hypervisor": "xen",
        "IamInstanceProfile": _profile_shown(instance),
        "InstanceLifecycle": instance.lifecycle,
        "KeyName": instance.key_name,
        "LaunchTime": instance.launched_at,
        "Monitoring": {"State": "enabled" if instance.monitoring else "disabled"},
        "NetworkInterfaces": [_interface_shown(instance, groups, now)] if live else [],
        "Placement": {
            "AvailabilityZone": instance.zone,
            "GroupName": "",
            "Tenancy": "default",
            **instance.options.get("Placement", {}),
        },
        "Platform": instance.platform,
        "PlatformDetails": "Windows" if instance.platform else "Linux/UNIX",
        "PrivateDnsName": instance.private_dns_name if live else "",
        "PrivateIpAddress": instance.private_ip if live else None,
        "ProductCodes": [],
        "PublicDnsName": instance.public_dns_name(now),
        "PublicIpAddress": instance.public_ip if state == "running" else None,
        "RootDeviceName": instance.root_device,
        "RootDeviceType": "ebs",
        "SecurityGroups": groups if live else [],
        "SourceDestCheck": instance.source_dest_check if live else None,
        "StateReason": {"Code": instance.reason_code, "Message": instance.reason}
        if instance.reason_code
        else None,
        "StateTransitionReason": instance.reason,
        "SubnetId": instance.subnet_id if live else None,
        "Tags": tagging.shown(instance.tags) if instance.tags else None,
        "UsageOperation": "RunInstances:0002" if instance.platform else "RunInstances",
        "UsageOperationUpdateTime": instance.launched_at,
        "VirtualizationType": "hvm",
        "VpcId": instance.vpc_id if live else None,
        "CpuOptions": instance.options.get("CpuOptions")
        or {
            "CoreCount": details.get("VCpuInfo", {}).get("DefaultCores", 1),
            "ThreadsPerCore": details.get("VCpuInfo", {}).get("DefaultThreadsPerCore", 1),
        },
        "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
        "EnclaveOptions": {"Enabled": False},
        "HibernationOptions": {"Configured": False},
        "MaintenanceOptions": {"AutoRecovery": "default", **instance.options.get("MaintenanceOptions", {})},
        "MetadataOptions": metadata_options(instance),
        "PrivateDnsNameOptions": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
            **instance.options.get("PrivateDnsNameOptions", {}),
        },
        "CurrentInstanceBootMode": "legacy-bios",
    }


def metadata_options(instance: Instance) -> dict[str, Any]:
    return {
        "State": "applied",
        "HttpTokens": "optional",
        "HttpPutResponseHopLimit": 1,
        "HttpEndpoint": "enabled",
        "HttpProtocolIpv6": "disabled",
        "InstanceMetadataTags": "disabled",
        **instance.options.get("MetadataOptions", {}),
    }


def _visible(call: Call, instance: Instance) -> bool:
    if instance.region != call.region or instance.visible_at > call.now:
        return False
    return not has_vanished(instance, call.now, call.limits.terminated_visible_seconds)


def _mapping_shown(item: Attachment, now: float) -> dict[str, Any]:
    return {
        "DeviceName": item.device,
        "Ebs": {
            "AttachTime": item.at,
            "DeleteOnTermination": item.delete_on_termination,
            "Status": item.state(now),
            "VolumeId": item.volume_id,
        },
    }


def _profile_shown(instance: Instance) -> dict[str, str] | None:
    if instance.profile_arn is None:
        return None
    return {"Arn": instance.profile_arn, "Id": f"AIPA{instance.id[3:].upper()[:17]}"}


def _interface_shown(instance: Instance, groups: list[dict[str, str]], now: float) -> dict[str, Any]:
    association = None
    if instance.public_ip is not None and instance.state(now) == "running":
        association = {
            "IpOwnerId": "amazon",
            "PublicDnsName": instance.public_dns_name(now),
            "PublicIp": instance.public_ip,
        }
    digits = [f"{int(part):02x}" for part in instance.private_ip.split(".")]
    return {
        "NetworkInterfaceId": instance.interface_id,
        "SubnetId": instance.subnet_id,
        "VpcId": instance.vpc_id,
        "Description": "",
        "OwnerId": ACCOUNT,
        "Status": "in-use",
        "MacAddress": "02:00:" + ":".join(digits),
        "PrivateIpAddress": instance.private_ip,
        "PrivateDnsName": instance.private_dns_name,
        "SourceDestCheck": instance.source_dest_check,
        "InterfaceType": "interface",
        "Association": association,
        "Groups": groups,
        "Ipv6Addresses": [],
        "Attachment": {
            "AttachTime": instance.launched_at,
            "AttachmentId": "eni-attach-" + instance.interface_id.removeprefix("eni-"),
            "DeleteOnTermination": True,
            "DeviceIndex": 0,
            "NetworkCardIndex": 0,
            "Status": "attached",
        },
        "PrivateIpAddresses": [
            {
                "Primary": True,
                "PrivateIpAddress": instance.private_ip,
                "PrivateDnsName": instance.private_dns_name,
                "Association": association,
            }
        ],
    }
