"""What DescribeInstances can be filtered by: all that the vendor's reference names. Used by the instance actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sandbox.aws.disks import Attachment
from sandbox.aws.listing import Texts, at, flag
from sandbox.aws.machines import STATE_CODES, Instance, instance_shown
from sandbox.aws.protocol import timestamp

#: Where the value stands in what DescribeInstances shows.
_SHOWN = {
    "capacity-reservation-specification.capacity-reservation-preference": (
        "CapacityReservationSpecification.CapacityReservationPreference"
    ),
    "current-instance-boot-mode": "CurrentInstanceBootMode",
    "ebs-optimized": "EbsOptimized",
    "ena-support": "EnaSupport",
    "enclave-options.enabled": "EnclaveOptions.Enabled",
    "hibernation-options.configured": "HibernationOptions.Configured",
    "iam-instance-profile.id": "IamInstanceProfile.Id",
    "maintenance-options.auto-recovery": "MaintenanceOptions.AutoRecovery",
    "metadata-options.http-endpoint": "MetadataOptions.HttpEndpoint",
    "metadata-options.http-protocol-ipv6": "MetadataOptions.HttpProtocolIpv6",
    "metadata-options.http-put-response-hop-limit": "MetadataOptions.HttpPutResponseHopLimit",
    "metadata-options.http-tokens": "MetadataOptions.HttpTokens",
    "metadata-options.instance-metadata-tags": "MetadataOptions.InstanceMetadataTags",
    "metadata-options.state": "MetadataOptions.State",
    "placement-group-name": "Placement.GroupName",
    "platform-details": "PlatformDetails",
    "private-dns-name-options.enable-resource-name-dns-a-record": (
        "PrivateDnsNameOptions.EnableResourceNameDnsARecord"
    ),
    "private-dns-name-options.enable-resource-name-dns-aaaa-record": (
        "PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord"
    ),
    "private-dns-name-options.hostname-type": "PrivateDnsNameOptions.HostnameType",
    "reason": "StateTransitionReason",
    "state-reason-message": "StateReason.Message",
    "usage-operation": "UsageOperation",
}

#: The same for what stands in its network interface.
_SHOWN_OF_INTERFACE = {
    "addresses.association.ip-owner-id": "PrivateIpAddresses.Association.IpOwnerId",
    "addresses.association.public-dns-name": "PrivateIpAddresses.Association.PublicDnsName",
    "addresses.association.public-ip": "PrivateIpAddresses.Association.PublicIp",
    "addresses.primary": "PrivateIpAddresses.Primary",
    "addresses.private-dns-name": "PrivateIpAddresses.PrivateDnsName",
    "addresses.private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
    "association.ip-owner-id": "Association.IpOwnerId",
    "association.public-dns-name": "Association.PublicDnsName",
    "association.public-ip": "Association.PublicIp",
    "attachment.attachment-id": "Attachment.AttachmentId",
    "attachment.delete-on-termination": "Attachment.DeleteOnTermination",
    "attachment.device-index": "Attachment.DeviceIndex",
    "attachment.network-card-index": "Attachment.NetworkCardIndex",
    "attachment.status": "Attachment.Status",
    "description": "Description",
    "group-id": "Groups.GroupId",
    "group-name": "Groups.GroupName",
    "mac-address": "MacAddress",
    "network-interface-id": "NetworkInterfaceId",
    "owner-id": "OwnerId",
    "private-dns-name": "PrivateDnsName",
    "private-ip-address": "PrivateIpAddress",
    "public-dns-name": "Association.PublicDnsName",
    "source-dest-check": "SourceDestCheck",
    "status": "Status",
    "subnet-id": "SubnetId",
    "vpc-id": "VpcId",
}

#: What no machine here has, so that the filter matches none.
_OF_NONE = (
    "affinity",
    "boot-mode",
    "capacity-reservation-id",
    "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id",
    "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn",
    "host-id",
    "ipv6-address",
    "kernel-id",
    "metadata-options.http-protocol-ipv4",
    "network-interface.addresses.association.allocation-id",
    "network-interface.addresses.association.association-id",
    "network-interface.addresses.association.carrier-ip",
    "network-interface.addresses.association.customer-owned-ip",
    "network-interface.association.allocation-id",
    "network-interface.association.association-id",
    "network-interface.association.carrier-ip",
    "network-interface.association.customer-owned-ip",
    "network-interface.deny-all-igw-traffic",
    "network-interface.ipv4-prefixes.ipv4-prefix",
    "network-interface.ipv6-address",
    "network-interface.ipv6-addresses.ipv6-address",
    "network-interface.ipv6-addresses.is-primary-ipv6",
    "network-interface.ipv6-native",
    "network-interface.ipv6-prefixes.ipv6-prefix",
    "network-interface.operator.principal",
    "network-interface.outpost-arn",
    "network-interface.requester-id",
    "network-interface.tag-key",
    "network-interface.tag-value",
    "network-performance-options.bandwidth-weighting",
    "operator.principal",
    "outpost-arn",
    "placement-partition-number",
    "product-code",
    "product-code.type",
    "ramdisk-id",
    "requester-id",
    "spot-instance-request-id",
    "tpm-support",
)


def instance_filters(
    held: Mapping[str, list[Attachment]], account: str, now: float, zone_id: Callable[[str], str | None]
) -> dict[str, Texts[Instance]]:
    """The filters by name; `held` gives the disks of each instance, `zone_id` the id of a zone."""

    def shown(path: str) -> Texts[Instance]:
        return lambda item: at(path)(instance_shown(item, [], now))

    def each(of: Callable[[Attachment], str]) -> Texts[Instance]:
        return lambda item: [of(attachment) for attachment in held.get(item.id, [])]

    def groups(item: Instance) -> Iterable[str]:
        return item.security_groups

    def group_names(item: Instance) -> Iterable[str]:
        return item.security_groups.values()

    return {
        **{name: lambda item: () for name in _OF_NONE},
        **{name: shown(path) for name, path in _SHOWN.items()},
        **{
            f"network-interface.{name}": shown(f"NetworkInterfaces.{path}")
            for name, path in _SHOWN_OF_INTERFACE.items()
        },
        "architecture": lambda item: (item.architecture,),
        "availability-zone": lambda item: (item.zone,),
        "availability-zone-id": lambda item: (zone_id(item.zone),),
        "block-device-mapping.attach-time": each(lambda attachment: timestamp(attachment.at)),
        "block-device-mapping.delete-on-termination": each(
            lambda attachment: flag(attachment.delete_on_termination)
        ),
        "block-device-mapping.device-name": each(lambda attachment: attachment.device),
        "block-device-mapping.status": each(lambda attachment: attachment.state(now)),
        "block-device-mapping.volume-id": each(lambda attachment: attachment.volume_id),
        "client-token": lambda item: (item.client_token,),
        "dns-name": lambda item: (item.public_dns_name(now),),
        "group-id": groups,
        "group-name": group_names,
        "hypervisor": lambda item: ("xen",),
        "iam-instance-profile.arn": lambda item: (item.profile_arn,),
        "image-id": lambda item: (item.image_id,),
        "instance-id": lambda item: (item.id,),
        "instance-lifecycle": lambda item: (item.lifecycle,),
        "instance-state-code": lambda item: (str(STATE_CODES[item.state(now)]),),
        "instance-state-name": lambda item: (item.state(now),),
        "instance-type": lambda item: (item.type,),
        "instance.group-id": groups,
        "instance.group-name": group_names,
        "ip-address": lambda item: (item.public_ip,),
        "key-name": lambda item: (item.key_name,),
        "launch-index": lambda item: (str(item.index),),
        "launch-time": lambda item: (timestamp(item.launched_at),),
        "monitoring-state": lambda item: ("enabled" if item.monitoring else "disabled",),
        "network-interface.attachment.attach-time": lambda item: (timestamp(item.launched_at),),
        "network-interface.attachment.instance-id": lambda item: (item.id,),
        "network-interface.attachment.instance-owner-id": lambda item: (account,),
        "network-interface.availability-zone": lambda item: (item.zone,),
        "network-interface.operator.managed": lambda item: ("false",),
        "network-interface.requester-managed": lambda item: ("false",),
        "operator.managed": lambda item: ("false",),
        "owner-id": lambda item: (account,),
        "platform": lambda item: (item.platform,),
        "private-dns-name": lambda item: (item.private_dns_name,),
        "private-ip-address": lambda item: (item.private_ip,),
        "reservation-id": lambda item: (item.reservation_id,),
        "root-device-name": lambda item: (item.root_device,),
        "root-device-type": lambda item: ("ebs",),
        "source-dest-check": lambda item: (flag(item.source_dest_check),),
        "state-reason-code": lambda item: (item.reason_code,),
        "subnet-id": lambda item: (item.subnet_id,),
        "tenancy": lambda item: (item.options.get("Placement", {}).get("Tenancy", "default"),),
        "usage-operation-update-time": lambda item: (timestamp(item.launched_at),),
        "virtualization-type": lambda item: ("hvm",),
        "vpc-id": lambda item: (item.vpc_id,),
    }
