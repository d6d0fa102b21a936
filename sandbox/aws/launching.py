"""What a RunInstances request means: its defaults, the network it lands in, the image and the disks, all checked.
Used by the instance actions."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from sandbox.aws import tagging
from sandbox.aws.errors import AwsError, invalid_combination, invalid_value, missing
from sandbox.aws.instance_types import find_type
from sandbox.aws.machines import INSTANCES, STATE_CODES
from sandbox.aws.moto_proxy import SANDBOX_IMAGE, Image, Subnet
from sandbox.aws.registry import Call
from sandbox.aws.volume_rules import VolumeSpec, complete

_ROOT_GIB = 8
TAGGABLE = {"instance", "volume", "network-interface", "spot-instances-request"}


@dataclass(frozen=True, slots=True)
class Disk:
    device: str
    spec: VolumeSpec
    delete_on_termination: bool
    encrypted: bool = False
    kms_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """A checked request for one or more equal instances."""

    type: str
    count: int
    image: Image
    subnet: Subnet
    security_groups: dict[str, str]
    disks: list[Disk]
    public_ip: bool
    instance_tags: dict[str, str]
    volume_tags: dict[str, str]


def understand(call: Call) -> Launch:
    params = call.params
    lowest, highest = params.get("MinCount", 1), params.get("MaxCount", 1)
    if lowest < 1 or highest < lowest:
        raise invalid_value(
            "The minimum instance count must be 1 or more and at most the maximum instance count"
        )
    type_name = params.get("InstanceType") or "m1.small"
    details = find_type(type_name)
    if details is None:
        raise invalid_value(f"Invalid value '{type_name}' for InstanceType.")
    image = _image(call)
    supported = details.get("ProcessorInfo", {}).get("SupportedArchitectures", [image.architecture])
    if image.architecture not in supported:
        # The sandbox's own image runs on any processor.
        if image.id != SANDBOX_IMAGE.id:
            raise invalid_value(
                f"The architecture '{image.architecture}' of the specified AMI is not supported by {type_name}."
            )
        image = Image(image.id, image.root_device, supported[0], image.platform)
    subnet = _subnet(call)
    _check_key_pair(call)
    specifications = params.get("TagSpecifications")
    return Launch(
        type=type_name,
        count=_allowed_count(call, lowest, highest),
        image=image,
        subnet=subnet,
        security_groups=_groups(call, subnet),
        disks=_disks(call, image),
        public_ip=_public_ip(params, subnet),
        instance_tags=tagging.from_params(specifications, "instance", TAGGABLE),
        volume_tags=tagging.from_params(specifications, "volume", TAGGABLE),
    )


def addresses(call: Call, subnet: Subnet, count: int) -> list[str]:
    """Free private addresses of the subnet; the vendor keeps the first four and the last."""
    taken = {
        item.private_ip
        for item in call.tx.all(INSTANCES)
        if item.subnet_id == subnet.id and item.state(call.now) != "terminated"
    }
    wanted = call.params.get("PrivateIpAddress")
    network = ipaddress.ip_network(subnet.cidr)
    if wanted:
        if count > 1:
            raise invalid_combination("A private address can be given to one instance only")
        try:
            inside = ipaddress.ip_address(wanted) in network
        except ValueError:
            inside = False
        if not inside:
            raise invalid_value(f"Address {wanted} does not fall within the subnet's address range")
        if wanted in taken:
            raise AwsError("InvalidIPAddress.InUse", f"Address {wanted} is in use.")
        return [wanted]
    found: list[str] = []
    for position in range(4, network.num_addresses - 1):
        if len(found) == count:
            break
        address = str(network[position])
        if address not in taken:
            found.append(address)
    if len(found) < count:
        raise AwsError(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in subnet '{subnet.id}' for the requested number of instances.",
        )
    return found


def _image(call: Call) -> Image:
    image_id = call.params.get("ImageId")
    if not image_id:
        raise missing("ImageId")
    if image_id == SANDBOX_IMAGE.id:
        return SANDBOX_IMAGE
    if not image_id.startswith("ami-"):
        raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    image = call.moto.image(call.region, image_id)
    if image is None:
        raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    return image


def _subnet(call: Call) -> Subnet:
    params = call.params
    interfaces = params.get("NetworkInterfaces") or []
    named = params.get("SubnetId")
    if interfaces and named:
        raise invalid_combination(
            "Network interfaces and an instance-level subnet ID may not be specified on the same request"
        )
    if any(item.get("NetworkInterfaceId") for item in interfaces):
        raise AwsError(
            "UnsupportedOperation", "The sandbox makes network interfaces with their instances only"
        )
    named = named or next((item["SubnetId"] for item in interfaces if item.get("SubnetId")), None)
    zone = params.get("Placement", {}).get("AvailabilityZone")
    if zone and zone not in call.moto.zones(call.region):
        raise invalid_value(
            f"Invalid availability zone: [{zone}]; valid zones are {', '.join(call.moto.zones(call.region))}"
        )
    if named:
        subnet = call.moto.subnet(call.region, named)
        if subnet is None:
            raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{named}' does not exist")
        if zone and subnet.zone != zone:
            raise invalid_value(
                f"The subnet '{named}' is in {subnet.zone}, not in the availability zone {zone}"
            )
        return subnet
    zone = zone or call.moto.zones(call.region)[0]
    subnet = call.moto.default_subnet(call.region, zone)
    if subnet is None:
        raise AwsError(
            "MissingInput", f"No subnets found for the default VPC in {zone}. Please specify a subnet."
        )
    return subnet


def _groups(call: Call, subnet: Subnet) -> dict[str, str]:
    known = call.moto.security_groups(call.region, subnet.vpc_id)
    params = call.params
    ids: list[str] = list(params.get("SecurityGroupIds") or [])
    for item in params.get("NetworkInterfaces") or []:
        ids += item.get("Groups") or []
    chosen: dict[str, str] = {}
    for group_id in ids:
        if group_id not in known:
            raise AwsError("InvalidGroup.NotFound", f"The security group '{group_id}' does not exist")
        chosen[group_id] = known[group_id]
    for name in params.get("SecurityGroups") or []:
        matching = [key for key, value in known.items() if value == name]
        if not matching:
            raise AwsError(
                "InvalidGroup.NotFound", f"The security group '{name}' does not exist in default VPC"
            )
        chosen[matching[0]] = name
    if chosen:
        return chosen
    return {key: name for key, name in known.items() if name == "default"}


def _disks(call: Call, image: Image) -> list[Disk]:
    """The root disk and those the request maps, each with a checked specification."""
    mapped = {item.get("DeviceName"): item for item in call.params.get("BlockDeviceMappings") or []}
    root = mapped.pop(image.root_device, {})
    disks = [_disk(image.root_device, root.get("Ebs") or {}, _ROOT_GIB)]
    for device, item in mapped.items():
        if not device:
            raise missing("DeviceName")
        if "Ebs" in item and "NoDevice" not in item:
            disks.append(_disk(device, item["Ebs"], None))
    return disks


def _disk(device: str, ebs: dict[str, Any], default_gib: int | None) -> Disk:
    size = ebs.get("VolumeSize", default_gib)
    if ebs.get("SnapshotId") and size is None:
        raise AwsError("InvalidSnapshot.NotFound", f"The snapshot '{ebs['SnapshotId']}' does not exist.")
    if size is None:
        raise missing("size/snapshot")
    spec = complete(VolumeSpec(ebs.get("VolumeType", "gp2"), size, ebs.get("Iops"), ebs.get("Throughput")))
    return Disk(
        device=device,
        spec=spec,
        delete_on_termination=ebs.get("DeleteOnTermination", True),
        encrypted=ebs.get("Encrypted", False),
        kms_key_id=ebs.get("KmsKeyId"),
    )


def _public_ip(params: dict[str, Any], subnet: Subnet) -> bool:
    for item in params.get("NetworkInterfaces") or []:
        if "AssociatePublicIpAddress" in item:
            return bool(item["AssociatePublicIpAddress"])
    return subnet.public_ip


def _check_key_pair(call: Call) -> None:
    name = call.params.get("KeyName")
    if name and name not in call.moto.key_pairs(call.region):
        raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


def _allowed_count(call: Call, lowest: int, highest: int) -> int:
    quota = call.limits.max_instances
    if quota is None:
        return int(highest)
    counted = [state for state in STATE_CODES if state not in ("terminated", "shutting-down")]
    running = sum(
        1 for item in call.tx.all(INSTANCES) if item.region == call.region and item.state(call.now) in counted
    )
    free = max(0, quota - running)
    if free < lowest:
        raise AwsError(
            "InstanceLimitExceeded",
            f"You have requested more instances ({running + lowest}) than your current instance limit of {quota} "
            "allows for the specified instance type.",
        )
    return min(highest, free)
