"""EBS volumes as plain boto3 sees them: creation, tokens, limits, states, filters, pages, deletion."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.aws.protocol import operation


def tags(**pairs: str) -> list[dict[str, Any]]:
    return [
        {"ResourceType": "volume", "Tags": [{"Key": key, "Value": value} for key, value in pairs.items()]}
    ]


def test_a_new_volume_is_creating_and_then_available(cloud):
    made = cloud.ec2.create_volume(AvailabilityZone="us-east-1b", Size=20, VolumeType="gp3")
    assert made["State"] == "creating"
    assert (made["Iops"], made["Throughput"], made["Size"]) == (3000, 125, 20)
    assert cloud.show_volume(made["VolumeId"])["State"] == "creating"
    cloud.admin.advance(1.4)
    assert cloud.show_volume(made["VolumeId"])["State"] == "creating"
    cloud.admin.advance(0.2)
    assert cloud.show_volume(made["VolumeId"])["State"] == "available"


def test_the_same_token_and_parameters_give_the_same_volume(cloud):
    asked = {"AvailabilityZone": "us-east-1a", "Size": 5, "VolumeType": "gp3", "ClientToken": "same"}
    first = cloud.ec2.create_volume(**asked, TagSpecifications=tags(op="token-same"))
    again = cloud.ec2.create_volume(**asked, TagSpecifications=tags(op="token-same"))
    assert again["VolumeId"] == first["VolumeId"]
    found = cloud.ec2.describe_volumes(Filters=[{"Name": "tag:op", "Values": ["token-same"]}])
    assert len(found["Volumes"]) == 1


def test_without_a_token_of_ours_every_call_makes_a_volume(cloud):
    assert cloud.volume() != cloud.volume()


@pytest.mark.parametrize(
    "change", [{"Size": 6}, {"VolumeType": "gp2"}, {"TagSpecifications": tags(a="b")}, {"Iops": 3001}]
)
def test_the_same_token_with_other_parameters_is_refused(cloud, refused, change):
    token = f"mismatch-{next(iter(change))}"
    asked = {"AvailabilityZone": "us-east-1a", "Size": 20, "VolumeType": "gp3", "ClientToken": token}
    cloud.ec2.create_volume(**asked)
    refused("IdempotentParameterMismatch", cloud.ec2.create_volume, **{**asked, **change})


def test_the_token_of_a_deleted_volume_is_refused_for_good(cloud, refused):
    asked = {"AvailabilityZone": "us-east-1a", "Size": 5, "VolumeType": "gp3", "ClientToken": "gone"}
    volume = cloud.volume(size=5, ClientToken="gone")
    cloud.ec2.delete_volume(VolumeId=volume)
    cloud.admin.advance(10)
    error = refused("IdempotentParameterMismatch", cloud.ec2.create_volume, **asked)
    assert "already deleted" in str(error)


def test_one_token_used_by_many_at_once_makes_one_volume(cloud):
    def create(_: int) -> str:
        client = cloud.simulator.client()
        made = client.create_volume(
            AvailabilityZone="us-east-1a", Size=1, VolumeType="gp3", ClientToken="race"
        )
        return str(made["VolumeId"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(create, range(16)))) == 1


def test_many_volumes_made_at_once_are_all_there(cloud):
    def create(number: int) -> str:
        made = cloud.ec2.create_volume(
            AvailabilityZone="us-east-1a",
            Size=1,
            VolumeType="gp3",
            ClientToken=f"many-{number}",
            TagSpecifications=tags(batch="many"),
        )
        return str(made["VolumeId"])

    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(create, range(150)))
    pages = cloud.ec2.get_paginator("describe_volumes").paginate(
        Filters=[{"Name": "tag:batch", "Values": ["many"]}], PaginationConfig={"PageSize": 40}
    )
    shown = [volume["VolumeId"] for page in pages for volume in page["Volumes"]]
    assert len(made) == 150
    assert sorted(shown) == sorted(made)


@pytest.mark.parametrize(
    ("params", "code", "text"),
    [
        ({"Size": 0, "VolumeType": "gp3"}, "InvalidParameterValue", "too small"),
        ({"Size": 70_000, "VolumeType": "gp3"}, "InvalidParameterValue", "maximum is 65536GiB"),
        ({"Size": 10, "VolumeType": "gp3", "Iops": 5001}, "InvalidParameterValue", "ratio"),
        ({"Size": 4, "VolumeType": "gp3", "Iops": 2**31 - 1}, "InvalidParameterValue", "maximum is 80000"),
        ({"Size": 10, "VolumeType": "gp3", "Throughput": 800}, "InvalidParameterValue", "ratio"),
        ({"Size": 10, "VolumeType": "gp2", "Iops": 100}, "InvalidParameterCombination", "not supported"),
        ({"Size": 10, "VolumeType": "io1"}, "MissingParameter", "iops"),
        ({"Size": 70_000, "VolumeType": "io2", "Iops": 100}, "InvalidParameterCombination", "64 TiB"),
        ({"Size": 100, "VolumeType": "st1"}, "InvalidParameterValue", "minimum is 125GiB"),
        ({"Size": 10, "VolumeType": "gp9"}, "UnknownVolumeType", "gp9"),
        ({"VolumeType": "gp3"}, "MissingParameter", "size/snapshot"),
        ({"Size": 10, "SnapshotId": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound", "snap-"),
        ({"Size": 10, "KmsKeyId": "k"}, "InvalidParameterDependency", "Encrypted"),
        ({"Size": 10, "VolumeType": "gp3", "MultiAttachEnabled": True}, "InvalidParameterCombination", "gp3"),
    ],
)
def test_a_volume_beyond_the_rules_is_refused(cloud, refused, params, code, text):
    error = refused(code, cloud.ec2.create_volume, AvailabilityZone="us-east-1a", **params)
    assert text in str(error)


def test_an_unknown_zone_is_refused(cloud, refused):
    refused("InvalidZone.NotFound", cloud.ec2.create_volume, AvailabilityZone="us-east-1z", Size=1)


def test_over_the_quota_even_a_repeated_request_is_refused(cloud, refused):
    asked = {"AvailabilityZone": "us-west-2a", "Size": 1, "VolumeType": "gp3"}
    west = cloud.simulator.client(region_name="us-west-2")
    made = west.create_volume(**asked, ClientToken="quota")
    cloud.admin.set_limits(max_volumes=1)
    refused("VolumeLimitExceeded", west.create_volume, **asked)
    refused("VolumeLimitExceeded", west.create_volume, **asked, ClientToken="quota")
    assert west.describe_volumes()["Volumes"][0]["VolumeId"] == made["VolumeId"]
    cloud.admin.set_limits(max_volumes=None, max_volume_gib=3)
    refused("VolumeLimitExceeded", west.create_volume, **{**asked, "Size": 3})


def test_a_dry_run_checks_everything_and_changes_nothing(cloud, refused):
    asked = {"AvailabilityZone": "us-east-1a", "Size": 3, "DryRun": True, "TagSpecifications": tags(op="dry")}
    error = refused("DryRunOperation", cloud.ec2.create_volume, **asked)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert cloud.ec2.describe_volumes(Filters=[{"Name": "tag:op", "Values": ["dry"]}])["Volumes"] == []
    refused("InvalidParameterValue", cloud.ec2.create_volume, **{**asked, "Size": 0})
    volume = cloud.volume()
    refused("DryRunOperation", cloud.ec2.delete_volume, VolumeId=volume, DryRun=True)
    assert cloud.show_volume(volume)["State"] == "available"


def test_a_deleted_volume_is_deleting_and_then_unknown(cloud, refused):
    volume = cloud.volume()
    cloud.ec2.delete_volume(VolumeId=volume)
    assert cloud.show_volume(volume)["State"] == "deleting"
    cloud.admin.advance(2)
    refused("InvalidVolume.NotFound", cloud.ec2.describe_volumes, VolumeIds=[volume])
    refused("InvalidVolume.NotFound", cloud.ec2.delete_volume, VolumeId=volume)


def test_one_unknown_id_fails_the_whole_describe(cloud, refused):
    known = cloud.volume()
    unknown = "vol-0ffffffffffffffff"
    error = refused("InvalidVolume.NotFound", cloud.ec2.describe_volumes, VolumeIds=[known, unknown])
    assert f"The volume '{unknown}' does not exist." in str(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("availability-zone", "us-east-1d"),
        ("availability-zone-id", "use1-az*"),
        ("encrypted", "true"),
        ("iops", "4000"),
        ("multi-attach-enabled", "false"),
        ("operator.managed", "false"),
        ("size", "77"),
        ("status", "available"),
        ("tag-key", "find-*"),
        ("tag:find-me", "y?s"),
        ("throughput", "250"),
        ("volume-type", "gp3"),
    ],
)
def test_a_volume_is_found_by_every_filter(cloud, name, value):
    volume = cloud.volume(
        "us-east-1d",
        77,
        Iops=4000,
        Throughput=250,
        Encrypted=True,
        TagSpecifications=tags(**{"find-me": "yes"}),
    )
    found = cloud.ec2.describe_volumes(Filters=[{"Name": name, "Values": [value]}])["Volumes"]
    assert volume in [item["VolumeId"] for item in found]
    nothing = cloud.ec2.describe_volumes(
        Filters=[{"Name": name, "Values": ["no-such-value"]}, {"Name": "volume-id", "Values": [volume]}]
    )
    assert nothing["Volumes"] == []


@pytest.mark.parametrize(
    ("action", "call"),
    [
        ("DescribeInstances", "describe_instances"),
        ("DescribeSnapshots", "describe_snapshots"),
        ("DescribeVolumes", "describe_volumes"),
    ],
)
def test_every_filter_of_the_reference_is_known(cloud, action, call):
    shape = operation("ec2", action).input_shape
    assert shape is not None
    names = re.findall(r"<code>([a-z0-9.-]+)</code> -", shape.members["Filters"].documentation)
    assert "owner-id" in names or "volume-id" in names
    for name in names:
        getattr(cloud.ec2, call)(Filters=[{"Name": name, "Values": ["nothing"]}])


def test_an_unknown_filter_is_refused(cloud, refused):
    error = refused(
        "InvalidParameterValue", cloud.ec2.describe_volumes, Filters=[{"Name": "colour", "Values": ["red"]}]
    )
    assert "The filter 'colour' is invalid" in str(error)


def test_pages_hold_every_volume_once(cloud):
    made = {cloud.volume(size=1, TagSpecifications=tags(page="p")) for _ in range(12)}
    asked: dict[str, Any] = {"Filters": [{"Name": "tag:page", "Values": ["p"]}], "MaxResults": 5}
    seen: list[str] = []
    sizes: list[int] = []
    while True:
        page = cloud.ec2.describe_volumes(**asked)
        sizes.append(len(page["Volumes"]))
        seen += [item["VolumeId"] for item in page["Volumes"]]
        if "NextToken" not in page:
            break
        asked["NextToken"] = page["NextToken"]
    assert sizes == [5, 5, 2]
    assert sorted(seen) == sorted(made)


@pytest.mark.parametrize("size", [1, 4, 1001])
def test_a_page_of_a_wrong_size_is_refused(cloud, refused, size):
    refused("InvalidParameterValue", cloud.ec2.describe_volumes, MaxResults=size)


def test_a_page_token_nobody_gave_is_refused(cloud, refused):
    refused("InvalidNextToken", cloud.ec2.describe_volumes, NextToken="xyz")


def test_a_new_volume_may_not_be_known_yet(cloud, refused):
    cloud.admin.set_limits(not_found_seconds=5)
    made = cloud.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)
    refused("InvalidVolume.NotFound", cloud.ec2.describe_volumes, VolumeIds=[made["VolumeId"]])
    cloud.admin.advance(6)
    assert cloud.show_volume(made["VolumeId"])["State"] == "available"


def test_volumes_of_one_region_are_not_seen_in_another(cloud, refused):
    volume = cloud.volume()
    west = cloud.simulator.client(region_name="eu-west-1")
    refused("InvalidVolume.NotFound", west.describe_volumes, VolumeIds=[volume])


def test_what_is_not_simulated_is_refused_in_the_vendors_form(cloud, refused):
    error = refused("UnsupportedOperation", cloud.ec2.create_snapshot, VolumeId=cloud.volume())
    assert "does not simulate" in str(error)


def test_the_status_of_a_volume_is_ok_when_it_is_made(cloud):
    volume = cloud.volume()
    status = cloud.ec2.describe_volume_status(VolumeIds=[volume])["VolumeStatuses"][0]
    assert status["VolumeStatus"]["Status"] == "ok"


def test_the_sdk_waiters_work(cloud):
    volume = cloud.volume()
    cloud.ec2.get_waiter("volume_available").wait(VolumeIds=[volume])
    cloud.ec2.delete_volume(VolumeId=volume)
    cloud.admin.advance(5)
    cloud.ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume])


def test_a_region_that_does_not_exist_is_refused(cloud, refused):
    mars = cloud.simulator.client(region_name="mars-north-1")
    refused("UnsupportedOperation", mars.create_volume, AvailabilityZone="mars-north-1a", Size=1)


@pytest.mark.parametrize("whose", [{"OwnerIds": ["self"]}, {"OwnerIds": ["amazon"]}, {}])
def test_there_are_no_snapshots_as_none_can_be_made(cloud, refused, whose):
    cloud.volume()
    assert cloud.ec2.describe_snapshots(**whose)["Snapshots"] == []
    assert cloud.ec2.describe_snapshots(**whose, MaxResults=5)["Snapshots"] == []
    unknown = "snap-0123456789abcdef0"
    error = refused("InvalidSnapshot.NotFound", cloud.ec2.describe_snapshots, SnapshotIds=[unknown], **whose)
    assert f"The snapshot '{unknown}' does not exist." in str(error)
    refused("InvalidSnapshotID.Malformed", cloud.ec2.describe_snapshots, SnapshotIds=["snap-x"], **whose)


def test_what_encrypts_where_nobody_names_a_key_is_told(cloud):
    assert cloud.ec2.get_ebs_default_kms_key_id()["KmsKeyId"] == "alias/aws/ebs"
