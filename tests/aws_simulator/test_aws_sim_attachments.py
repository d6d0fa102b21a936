"""Volumes at instances: zones, devices, limits, states and what termination does to disks."""

from __future__ import annotations

import pytest


def test_an_attachment_is_attaching_and_then_attached(cloud):
    volume, instance = cloud.volume(), cloud.instance()
    answer = cloud.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/xvdba")
    assert answer["State"] == "attaching"
    shown = cloud.show_volume(volume)
    assert (shown["State"], shown["Attachments"][0]["State"]) == ("in-use", "attaching")
    cloud.admin.advance(2.1)
    attachment = cloud.show_volume(volume)["Attachments"][0]
    assert attachment["State"] == "attached"
    assert (attachment["Device"], attachment["DeleteOnTermination"]) == ("/dev/xvdba", False)
    devices = [item["DeviceName"] for item in cloud.show_instance(instance)["BlockDeviceMappings"]]
    assert devices == ["/dev/xvda", "/dev/xvdba"]


def test_a_detachment_is_detaching_and_then_gone(cloud, refused):
    volume, instance = cloud.volume(), cloud.instance()
    cloud.attach(volume, instance)
    assert cloud.ec2.detach_volume(VolumeId=volume)["State"] == "detaching"
    assert cloud.show_volume(volume)["Attachments"][0]["State"] == "detaching"
    refused("IncorrectState", cloud.ec2.detach_volume, VolumeId=volume)
    cloud.admin.advance(2.1)
    shown = cloud.show_volume(volume)
    assert (shown["State"], shown["Attachments"]) == ("available", [])
    refused("IncorrectState", cloud.ec2.detach_volume, VolumeId=volume, InstanceId=instance)


def test_a_second_attach_is_refused(cloud, refused):
    volume, first, second = cloud.volume(), cloud.instance(), cloud.instance()
    cloud.attach(volume, first)
    refused("VolumeInUse", cloud.ec2.attach_volume, VolumeId=volume, InstanceId=second, Device="/dev/xvdba")
    refused("VolumeInUse", cloud.ec2.attach_volume, VolumeId=volume, InstanceId=first, Device="/dev/xvdbb")
    assert [item["InstanceId"] for item in cloud.show_volume(volume)["Attachments"]] == [first]


def test_a_volume_of_another_zone_is_refused(cloud, refused):
    volume, instance = cloud.volume("us-east-1b"), cloud.instance("us-east-1a")
    refused(
        "InvalidVolume.ZoneMismatch",
        cloud.ec2.attach_volume,
        VolumeId=volume,
        InstanceId=instance,
        Device="/dev/xvdba",
    )


@pytest.mark.parametrize("device", ["/dev/xvdf", "xvdf", "/dev/sdf", "/dev/sda"])
def test_a_device_name_in_use_is_refused(cloud, refused, device):
    first, second, instance = cloud.volume(), cloud.volume(), cloud.instance()
    cloud.attach(first, instance, "/dev/xvdf")
    error = refused(
        "InvalidParameterValue", cloud.ec2.attach_volume, VolumeId=second, InstanceId=instance, Device=device
    )
    assert "already in use" in str(error)


def test_a_device_name_is_free_again_after_detaching(cloud):
    first, second, instance = cloud.volume(), cloud.volume(), cloud.instance()
    cloud.attach(first, instance)
    cloud.ec2.detach_volume(VolumeId=first)
    cloud.admin.advance(3)
    cloud.attach(second, instance)
    assert cloud.show_volume(second)["Attachments"][0]["State"] == "attached"


def test_an_ill_formed_device_name_is_refused(cloud, refused):
    volume, instance = cloud.volume(), cloud.instance()
    refused(
        "InvalidParameterValue",
        cloud.ec2.attach_volume,
        VolumeId=volume,
        InstanceId=instance,
        Device="disk one",
    )


def test_an_instance_takes_as_many_volumes_as_its_type_allows(cloud, refused):
    instance = cloud.instance(kind="m7i.2xlarge")
    info = cloud.ec2.describe_instance_types(InstanceTypes=["m7i.2xlarge"])["InstanceTypes"][0]["EbsInfo"]
    free = info["MaximumEbsAttachments"] - 1  # the root volume takes one
    for number in range(free):
        device = f"/dev/xvd{chr(98 + number // 26)}{chr(97 + number % 26)}"
        cloud.ec2.attach_volume(VolumeId=cloud.volume(size=1), InstanceId=instance, Device=device)
    refused(
        "AttachmentLimitExceeded",
        cloud.ec2.attach_volume,
        VolumeId=cloud.volume(size=1),
        InstanceId=instance,
        Device="/dev/xvdzz",
    )


def test_a_volume_still_creating_is_refused(cloud, refused):
    instance = cloud.instance()
    volume = cloud.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    refused(
        "IncorrectState", cloud.ec2.attach_volume, VolumeId=volume, InstanceId=instance, Device="/dev/sdf"
    )


def test_an_attached_volume_is_not_deleted(cloud, refused):
    volume, instance = cloud.volume(), cloud.instance()
    cloud.attach(volume, instance)
    refused("VolumeInUse", cloud.ec2.delete_volume, VolumeId=volume)
    assert cloud.show_volume(volume)["State"] == "in-use"


def test_a_stopped_instance_takes_a_volume_and_a_terminated_one_does_not(cloud, refused):
    first, second, instance = cloud.volume(), cloud.volume(), cloud.instance()
    cloud.ec2.stop_instances(InstanceIds=[instance])
    cloud.admin.advance(5)
    cloud.attach(first, instance)
    assert cloud.show_volume(first)["Attachments"][0]["State"] == "attached"
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    cloud.admin.advance(5)
    refused(
        "IncorrectState", cloud.ec2.attach_volume, VolumeId=second, InstanceId=instance, Device="/dev/sdg"
    )


def test_detaching_from_the_wrong_instance_is_refused(cloud, refused):
    volume, right, wrong = cloud.volume(), cloud.instance(), cloud.instance()
    cloud.attach(volume, right)
    refused("InvalidAttachment.NotFound", cloud.ec2.detach_volume, VolumeId=volume, InstanceId=wrong)
    refused("InvalidAttachment.NotFound", cloud.ec2.detach_volume, VolumeId=volume, Device="/dev/sdx")
    assert cloud.show_volume(volume)["State"] == "in-use"


def test_the_root_volume_of_a_running_instance_stays(cloud, refused):
    instance = cloud.instance()
    root = cloud.show_instance(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    refused("OperationNotPermitted", cloud.ec2.detach_volume, VolumeId=root)
    cloud.ec2.stop_instances(InstanceIds=[instance])
    cloud.admin.advance(5)
    cloud.ec2.detach_volume(VolumeId=root)
    cloud.admin.advance(5)
    refused("InvalidInstanceState", cloud.ec2.start_instances, InstanceIds=[instance])
    cloud.attach(root, instance, "/dev/xvda")
    cloud.ec2.start_instances(InstanceIds=[instance])


def test_termination_frees_attached_volumes_and_ends_the_root_volume(cloud, refused):
    volume, instance = cloud.volume(), cloud.instance()
    cloud.attach(volume, instance)
    root = cloud.show_instance(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    assert cloud.show_volume(volume)["Attachments"][0]["State"] == "detaching"
    cloud.admin.advance(10)
    assert cloud.show_volume(volume)["State"] == "available"
    refused("InvalidVolume.NotFound", cloud.ec2.describe_volumes, VolumeIds=[root])


def test_a_volume_may_be_told_to_end_with_its_instance(cloud, refused):
    volume, instance = cloud.volume(), cloud.instance()
    cloud.attach(volume, instance)
    cloud.ec2.modify_instance_attribute(
        InstanceId=instance,
        BlockDeviceMappings=[{"DeviceName": "/dev/xvdba", "Ebs": {"DeleteOnTermination": True}}],
    )
    assert cloud.show_volume(volume)["Attachments"][0]["DeleteOnTermination"] is True
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    cloud.admin.advance(10)
    refused("InvalidVolume.NotFound", cloud.ec2.describe_volumes, VolumeIds=[volume])


def test_force_ends_a_detachment_that_hangs(cloud):
    volume, instance = cloud.volume(), cloud.instance()
    cloud.attach(volume, instance)
    cloud.admin.add_fault("slow", "DetachVolume", seconds=900)
    cloud.ec2.detach_volume(VolumeId=volume)
    cloud.admin.advance(600)
    assert cloud.show_volume(volume)["Attachments"][0]["State"] == "detaching"
    cloud.ec2.detach_volume(VolumeId=volume, Force=True)
    cloud.admin.advance(3)
    assert cloud.show_volume(volume)["State"] == "available"


def test_a_multi_attach_volume_serves_several_instances(cloud, refused):
    volume = cloud.volume(kind="io2", Iops=100, MultiAttachEnabled=True)
    first, second = cloud.instance(), cloud.instance()
    cloud.attach(volume, first)
    cloud.attach(volume, second)
    assert {item["InstanceId"] for item in cloud.show_volume(volume)["Attachments"]} == {first, second}
    refused("InvalidParameterCombination", cloud.ec2.detach_volume, VolumeId=volume)


@pytest.mark.parametrize(
    ("name", "value"),
    [("attachment.status", "attached"), ("attachment.device", "/dev/xvdb?"), ("status", "in-use")],
)
def test_attached_volumes_are_found_by_their_attachment(cloud, name, value):
    volume, instance = cloud.volume(), cloud.instance()
    cloud.attach(volume, instance)
    by_instance = {"Name": "attachment.instance-id", "Values": [instance]}
    found = cloud.ec2.describe_volumes(Filters=[by_instance, {"Name": name, "Values": [value]}])["Volumes"]
    assert volume in [item["VolumeId"] for item in found]
    other = cloud.ec2.describe_volumes(Filters=[by_instance, {"Name": name, "Values": ["other"]}])["Volumes"]
    assert other == []
