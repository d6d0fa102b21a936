"""What DescribeInstances can be filtered by. Used by the instance actions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sandbox.aws.disks import Attachment
from sandbox.aws.listing import Texts, flag
from sandbox.aws.machines import STATE_CODES, Instance
from sandbox.aws.protocol import timestamp


def instance_filters(
    held: Mapping[str, list[Attachment]], account: str, now: float
) -> dict[str, Texts[Instance]]:
    """The filters by name; `held` gives the disks of each instance."""

    def each(of: Callable[[Attachment], str]) -> Texts[Instance]:
        return lambda item: [of(attachment) for attachment in held.get(item.id, [])]

    def groups(item: Instance) -> Iterable[str]:
        return item.security_groups

    def group_names(item: Instance) -> Iterable[str]:
        return item.security_groups.values()

    return {
        "affinity": lambda item: (),
        "architecture": lambda item: (item.architecture,),
        "availability-zone": lambda item: (item.zone,),
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
        "network-interface.network-interface-id": lambda item: (item.interface_id,),
        "network-interface.subnet-id": lambda item: (item.subnet_id,),
        "network-interface.vpc-id": lambda item: (item.vpc_id,),
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
        "virtualization-type": lambda item: ("hvm",),
        "vpc-id": lambda item: (item.vpc_id,),
    }
