"""Changes of EBS volumes as plain boto3 sees them: what may be asked, states over time, the daily limit."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from sandbox.aws.errors import AwsError
from sandbox.aws.settings import Limits
from sandbox.aws.volume_rules import VolumeChange, VolumeSpec, changed

DAY = 24 * 3600


def modification(cloud, volume: str) -> dict[str, Any]:
    found = cloud.ec2.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"]
    assert len(found) == 1
    shown: dict[str, Any] = found[0]
    return shown


def modify(cloud, volume: str, **change: Any) -> None:
    """Modifies a volume and lets the time pass until that is completed."""
    made = cloud.ec2.modify_volume(VolumeId=volume, **change)["VolumeModification"]
    limits = Limits()
    per_gib = limits.volume_optimizing_seconds_per_gib * made["TargetSize"]
    cloud.admin.advance(1 + limits.volume_modifying_seconds + limits.volume_optimizing_seconds + per_gib)


def shown_spec(cloud, volume: str) -> tuple[Any, ...]:
    shown = cloud.show_volume(volume)
    return shown["VolumeType"], shown["Size"], shown.get("Iops"), shown.get("Throughput")


def test_a_modification_is_modifying_then_optimizing_then_completed(cloud):
    cloud.admin.set_limits(volume_optimizing_seconds=20, volume_optimizing_seconds_per_gib=4)
    volume = cloud.volume(size=10)
    made = cloud.ec2.modify_volume(VolumeId=volume, Size=20)["VolumeModification"]
    assert (made["ModificationState"], made["Progress"]) == ("modifying", 0)
    assert (made["OriginalSize"], made["TargetSize"]) == (10, 20)
    cloud.admin.advance(2.9)
    assert modification(cloud, volume)["ModificationState"] == "modifying"
    cloud.admin.advance(50.1)
    shown = modification(cloud, volume)
    assert (shown["ModificationState"], shown["Progress"], shown.get("EndTime")) == ("optimizing", 50, None)
    cloud.admin.advance(51)
    shown = modification(cloud, volume)
    assert (shown["ModificationState"], shown["Progress"]) == ("completed", 100)
    assert shown["StartTime"] == made["StartTime"]
    assert (shown["EndTime"] - shown["StartTime"]).total_seconds() == pytest.approx(103, abs=0.01)


def test_a_modification_tells_everything_of_before_and_after(cloud):
    volume = cloud.volume(size=10, kind="gp3", Iops=4000, Throughput=200)
    cloud.ec2.modify_volume(VolumeId=volume, Size=16, VolumeType="io2", Iops=5000)
    shown = modification(cloud, volume)
    names = ("VolumeType", "Size", "Iops", "Throughput", "MultiAttachEnabled")
    assert [shown.get(f"Original{name}") for name in names] == ["gp3", 10, 4000, 200, False]
    assert [shown.get(f"Target{name}") for name in names] == ["io2", 16, 5000, None, False]


def test_a_described_volume_shows_its_new_size_before_it_can_be_used(cloud):
    volume = cloud.volume(size=10)
    cloud.ec2.modify_volume(VolumeId=volume, Size=20)
    assert cloud.show_volume(volume)["Size"] == 20
    assert modification(cloud, volume)["ModificationState"] == "modifying"


def test_a_smaller_size_is_refused(cloud, refused):
    volume = cloud.volume(size=10)
    error = refused("InvalidParameterValue", cloud.ec2.modify_volume, VolumeId=volume, Size=9)
    assert "New size cannot be smaller than existing size" in str(error)
    assert cloud.show_volume(volume)["Size"] == 10


def test_what_is_omitted_is_kept(cloud):
    volume = cloud.volume(size=100, Iops=4000, Throughput=300)
    modify(cloud, volume, Size=120)
    assert shown_spec(cloud, volume) == ("gp3", 120, 4000, 300)
    modify(cloud, volume, Throughput=400)
    assert shown_spec(cloud, volume) == ("gp3", 120, 4000, 400)
    modify(cloud, volume, Iops=5000)
    assert shown_spec(cloud, volume) == ("gp3", 120, 5000, 400)


@pytest.mark.parametrize(
    ("current", "change", "iops", "throughput"),
    [
        (VolumeSpec("gp3", 100, 6_000, 500), VolumeChange(type="io2"), 3_000, None),
        (VolumeSpec("gp3", 100, 6_000, 500), VolumeChange(type="gp3"), 6_000, 500),
        (VolumeSpec("gp3", 200, 6_000, 500), VolumeChange(type="st1"), None, None),
        (VolumeSpec("gp3", 100, 6_000, 500), VolumeChange(type="gp2"), 300, None),
        (VolumeSpec("io2", 100, 9_000), VolumeChange(type="gp3"), 3_000, 125),
        (VolumeSpec("io1", 100, 4_000), VolumeChange(type="io2"), 3_000, None),
        (VolumeSpec("io1", 100, 4_000), VolumeChange(size_gib=200), 4_000, None),
        (VolumeSpec("st1", 200), VolumeChange(type="gp3"), 3_000, 125),
        # The user guide's example, and one on either side of it.
        (VolumeSpec("gp2", 500, 1_500), VolumeChange(type="gp3"), 3_000, 250),
        (VolumeSpec("gp2", 10, 100), VolumeChange(type="gp3"), 3_000, 125),
        (VolumeSpec("gp2", 5_000, 15_000), VolumeChange(type="gp3"), 15_000, 250),
        (VolumeSpec("gp2", 500, 1_500), VolumeChange(type="gp3", iops=4_000, throughput_mib=125), 4_000, 125),
        (VolumeSpec("gp2", 100, 300), VolumeChange(size_gib=1_000), 3_000, None),
    ],
)
def test_a_changed_type_fills_in_what_the_vendor_fills_in(current, change, iops, throughput):
    target = changed(current, change)
    assert (target.iops, target.throughput_mib) == (iops, throughput)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"Size": 70_000}, "InvalidParameterValue", "maximum is 65536GiB"),
        ({"VolumeType": "st1"}, "InvalidParameterValue", "minimum is 125GiB"),
        ({"VolumeType": "gp9"}, "UnknownVolumeType", "gp9"),
        ({"Iops": 5_001}, "InvalidParameterValue", "ratio"),
        ({"Throughput": 800}, "InvalidParameterValue", "ratio"),
        ({"VolumeType": "gp2", "Iops": 3_000}, "InvalidParameterCombination", "not supported for gp2"),
        ({"VolumeType": "io2", "Throughput": 125}, "InvalidParameterCombination", "not supported for io2"),
        ({"VolumeType": "io1"}, "InvalidParameterValue", "ratio"),
        ({"VolumeType": "standard", "Size": 1_025}, "InvalidParameterValue", "maximum is 1024GiB"),
        ({"MultiAttachEnabled": True}, "InvalidParameterCombination", "gp3"),
        ({}, "InvalidParameterValue", "At least one"),
    ],
)
def test_a_target_beyond_the_rules_is_refused(cloud, refused, change, code, text):
    volume = cloud.volume(size=10)
    error = refused(code, cloud.ec2.modify_volume, VolumeId=volume, **change)
    assert text in str(error)
    refused(
        "InvalidVolumeModification.NotFound", cloud.ec2.describe_volumes_modifications, VolumeIds=[volume]
    )


def test_a_type_that_needs_more_space_is_reached_by_growing_in_the_same_request(cloud):
    volume = cloud.volume(size=100)
    modify(cloud, volume, VolumeType="st1", Size=125)
    assert shown_spec(cloud, volume) == ("st1", 125, None, None)


@pytest.mark.parametrize(("seconds", "state"), [(0, "MODIFYING"), (10, "OPTIMIZING")])
def test_another_modification_before_the_first_is_completed_is_refused(cloud, refused, seconds, state):
    volume = cloud.volume()
    cloud.ec2.modify_volume(VolumeId=volume, Size=20)
    cloud.admin.advance(seconds)
    error = refused("IncorrectModificationState", cloud.ec2.modify_volume, VolumeId=volume, Size=30)
    assert f"Volume {volume} cannot be modified in modification state {state}" in str(error)
    assert cloud.show_volume(volume)["Size"] == 20


def test_the_fifth_modification_within_a_day_is_refused_and_told_when_it_is_possible(cloud, refused):
    volume = cloud.volume(size=10)
    for size in (11, 12, 13, 14):
        modify(cloud, volume, Size=size)
        cloud.admin.advance(3600)
    error = refused("VolumeModificationRateExceeded", cloud.ec2.modify_volume, VolumeId=volume, Size=15)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    told = re.search(r"possible at (\S+Z)\.", str(error))
    assert told is not None
    possible_at = datetime.fromisoformat(told.group(1)).replace(tzinfo=UTC).timestamp()
    left = possible_at - cloud.admin.clock()["now"]
    assert 19 * 3600 < left < 20 * 3600
    cloud.admin.advance(left - 1)
    refused("VolumeModificationRateExceeded", cloud.ec2.modify_volume, VolumeId=volume, Size=15)
    cloud.admin.advance(2)
    modify(cloud, volume, Size=15)
    refused("VolumeModificationRateExceeded", cloud.ec2.modify_volume, VolumeId=volume, Size=16)


def test_a_modification_that_changes_nothing_counts(cloud, refused):
    cloud.admin.set_limits(max_modifications_per_day=1)
    volume = cloud.volume(size=10)
    modify(cloud, volume, Size=10)
    assert modification(cloud, volume)["ModificationState"] == "completed"
    refused("VolumeModificationRateExceeded", cloud.ec2.modify_volume, VolumeId=volume, Size=11)


def test_refused_and_dry_requests_do_not_count(cloud, refused):
    cloud.admin.set_limits(max_modifications_per_day=1)
    volume = cloud.volume(size=10)
    refused("InvalidParameterValue", cloud.ec2.modify_volume, VolumeId=volume, Size=9)
    refused("DryRunOperation", cloud.ec2.modify_volume, VolumeId=volume, Size=20, DryRun=True)
    assert cloud.show_volume(volume)["Size"] == 10
    modify(cloud, volume, Size=20)


def test_a_dry_run_checks_everything(cloud, refused):
    volume = cloud.volume(size=10)
    refused("InvalidParameterValue", cloud.ec2.modify_volume, VolumeId=volume, Size=9, DryRun=True)
    cloud.ec2.modify_volume(VolumeId=volume, Size=20)
    refused("IncorrectModificationState", cloud.ec2.modify_volume, VolumeId=volume, Size=30, DryRun=True)


def test_an_attached_volume_is_modified_without_being_detached(cloud):
    volume, instance = cloud.volume(), cloud.instance()
    cloud.attach(volume, instance)
    modify(cloud, volume, Size=20)
    shown = cloud.show_volume(volume)
    assert (shown["State"], shown["Size"]) == ("in-use", 20)
    assert shown["Attachments"][0]["State"] == "attached"


def test_a_root_volume_grows_but_does_not_become_one_that_nothing_starts_from(cloud, refused):
    mapped = cloud.show_instance(cloud.instance())["BlockDeviceMappings"]
    root = mapped[0]["Ebs"]["VolumeId"]
    refused("InvalidParameterCombination", cloud.ec2.modify_volume, VolumeId=root, VolumeType="st1", Size=500)
    modify(cloud, root, Size=40)
    assert cloud.show_volume(root)["Size"] == 40


def test_a_volume_that_is_being_made_or_deleted_is_not_modified(cloud, refused):
    made = cloud.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, VolumeType="gp3")["VolumeId"]
    error = refused("IncorrectState", cloud.ec2.modify_volume, VolumeId=made, Size=2)
    assert "'creating'" in str(error)
    cloud.admin.advance(2)
    cloud.ec2.delete_volume(VolumeId=made)
    error = refused("IncorrectState", cloud.ec2.modify_volume, VolumeId=made, Size=2)
    assert "'deleting'" in str(error)


def test_a_volume_nobody_knows_is_not_found(cloud, refused):
    unknown = "vol-0ffffffffffffffff"
    refused("InvalidVolume.NotFound", cloud.ec2.modify_volume, VolumeId=unknown, Size=2)
    refused("InvalidVolume.NotFound", cloud.ec2.describe_volumes_modifications, VolumeIds=[unknown])


def test_a_volume_that_was_never_modified_fails_the_whole_describe_by_id(cloud, refused):
    changed_one, never = cloud.volume(), cloud.volume()
    cloud.ec2.modify_volume(VolumeId=changed_one, Size=20)
    error = refused(
        "InvalidVolumeModification.NotFound",
        cloud.ec2.describe_volumes_modifications,
        VolumeIds=[changed_one, never],
    )
    assert f"Modification for volume '{never}' does not exist." in str(error)
    listed = cloud.ec2.describe_volumes_modifications()["VolumesModifications"]
    assert changed_one in [item["VolumeId"] for item in listed]
    assert never not in [item["VolumeId"] for item in listed]


def test_only_the_latest_modification_of_a_volume_is_listed(cloud):
    volume = cloud.volume(size=10)
    modify(cloud, volume, Size=20)
    modify(cloud, volume, Size=30)
    shown = modification(cloud, volume)
    assert (shown["OriginalSize"], shown["TargetSize"]) == (20, 30)


def test_the_modification_of_a_deleted_volume_is_no_longer_listed(cloud):
    volume = cloud.volume()
    modify(cloud, volume, Size=20)
    cloud.ec2.delete_volume(VolumeId=volume)
    cloud.admin.advance(10)
    listed = cloud.ec2.describe_volumes_modifications()["VolumesModifications"]
    assert volume not in [item["VolumeId"] for item in listed]


def test_multi_attach_of_an_io2_volume_is_switched_while_it_is_detached(cloud, refused):
    volume, instance = cloud.volume(kind="io2", size=10, Iops=1000), cloud.instance()
    cloud.attach(volume, instance)
    on = {"VolumeId": volume, "MultiAttachEnabled": True}
    refused("InvalidParameterCombination", cloud.ec2.modify_volume, **on)
    cloud.ec2.detach_volume(VolumeId=volume)
    cloud.admin.advance(5)
    modify(cloud, volume, MultiAttachEnabled=True)
    assert cloud.show_volume(volume)["MultiAttachEnabled"] is True
    cloud.attach(volume, instance)
    cloud.attach(volume, cloud.instance())
    off = {"VolumeId": volume, "MultiAttachEnabled": False}
    refused("InvalidParameterCombination", cloud.ec2.modify_volume, **off)
    cloud.ec2.detach_volume(VolumeId=volume, InstanceId=instance)
    cloud.admin.advance(5)
    modify(cloud, volume, MultiAttachEnabled=False)
    assert cloud.show_volume(volume)["MultiAttachEnabled"] is False


def test_a_multi_attach_io2_volume_grows_but_keeps_its_type(cloud, refused):
    volume = cloud.volume(kind="io2", size=10, Iops=1000, MultiAttachEnabled=True)
    refused("InvalidParameterCombination", cloud.ec2.modify_volume, VolumeId=volume, VolumeType="gp3")
    modify(cloud, volume, Size=20, Iops=2000)
    assert shown_spec(cloud, volume) == ("io2", 20, 2000, None)


def test_a_multi_attach_io1_volume_is_not_modified(cloud, refused):
    volume = cloud.volume(kind="io1", size=10, Iops=500, MultiAttachEnabled=True)
    for change in ({"Size": 20}, {"VolumeType": "io2"}, {"Iops": 400}, {"MultiAttachEnabled": False}):
        refused("InvalidParameterCombination", cloud.ec2.modify_volume, VolumeId=volume, **change)
    single = cloud.volume(kind="io1", size=10, Iops=500)
    refused("InvalidParameterCombination", cloud.ec2.modify_volume, VolumeId=single, MultiAttachEnabled=True)


def test_growing_beyond_the_quota_of_storage_is_refused(cloud, refused):
    west = cloud.simulator.client(region_name="ca-central-1")
    volume = west.create_volume(AvailabilityZone="ca-central-1a", Size=10, VolumeType="gp3")["VolumeId"]
    cloud.admin.advance(2)
    cloud.admin.set_limits(max_volume_gib=15)
    refused("VolumeLimitExceeded", west.modify_volume, VolumeId=volume, Size=16)
    west.modify_volume(VolumeId=volume, Size=15)


def test_storage_that_is_modified_at_once_is_limited_until_it_is_completed(cloud, refused):
    central = cloud.simulator.client(region_name="eu-central-1")
    cloud.admin.set_limits(max_modification_gib=25)
    made = [
        central.create_volume(AvailabilityZone="eu-central-1a", Size=10, VolumeType="gp3")["VolumeId"]
        for _ in range(2)
    ]
    cloud.admin.advance(2)
    central.modify_volume(VolumeId=made[0], Size=15)
    refused("VolumeModificationSizeLimitExceeded", central.modify_volume, VolumeId=made[1], Size=15)
    cloud.admin.advance(600)
    central.modify_volume(VolumeId=made[1], Size=15)


def test_a_modification_that_fails_leaves_the_volume_and_may_be_asked_for_again(cloud):
    volume = cloud.volume(size=10)
    cloud.admin.add_fault("fail", "ModifyVolume", resource=volume)
    cloud.ec2.modify_volume(VolumeId=volume, Size=20)
    assert modification(cloud, volume)["ModificationState"] == "modifying"
    cloud.admin.advance(4)
    shown = modification(cloud, volume)
    assert (shown["ModificationState"], shown["Progress"]) == ("failed", 0)
    assert shown["StatusMessage"]
    assert shown["EndTime"] > shown["StartTime"]
    assert cloud.show_volume(volume)["Size"] == 10
    modify(cloud, volume, Size=20)
    assert modification(cloud, volume)["ModificationState"] == "completed"
    assert cloud.show_volume(volume)["Size"] == 20


def test_a_slow_modification_takes_longer_until_its_size_is_usable(cloud):
    volume = cloud.volume()
    cloud.admin.add_fault("slow", "ModifyVolume", seconds=100)
    cloud.ec2.modify_volume(VolumeId=volume, Size=20)
    cloud.admin.advance(100)
    assert modification(cloud, volume)["ModificationState"] == "modifying"
    cloud.admin.advance(5)
    assert modification(cloud, volume)["ModificationState"] == "optimizing"


def test_a_reply_dropped_after_applying_leaves_the_modification_to_be_found(cloud):
    volume = cloud.volume(size=10)
    cloud.admin.add_fault("drop-after", "ModifyVolume")
    with pytest.raises(ConnectionClosedError):
        cloud.ec2.modify_volume(VolumeId=volume, Size=20)
    assert modification(cloud, volume)["TargetSize"] == 20


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("modification-state", "optimizing"),
        ("original-iops", "4000"),
        ("original-size", "71"),
        ("original-volume-type", "gp3"),
        ("originalMultiAttachEnabled", "false"),
        ("start-time", "20*Z"),
        ("target-iops", "4100"),
        ("target-size", "73"),
        ("target-volume-type", "io?"),
        ("targetMultiAttachEnabled", "true"),
    ],
)
def test_a_modification_is_found_by_every_filter(cloud, name, value):
    volume = cloud.volume(size=71, Iops=4000)
    cloud.ec2.modify_volume(VolumeId=volume, Size=73, VolumeType="io2", Iops=4100, MultiAttachEnabled=True)
    cloud.admin.advance(5)
    mine = {"Name": "volume-id", "Values": [volume]}
    describe = cloud.ec2.describe_volumes_modifications
    found = describe(Filters=[mine, {"Name": name, "Values": [value]}])["VolumesModifications"]
    assert [item["VolumeId"] for item in found] == [volume]
    assert describe(Filters=[mine, {"Name": name, "Values": ["no-such"]}])["VolumesModifications"] == []


@pytest.mark.parametrize("name", ["colour", "target-throughput", "tag:owner", "tag-key"])
def test_a_filter_that_modifications_do_not_have_is_refused(cloud, refused, name):
    refused(
        "InvalidParameterValue",
        cloud.ec2.describe_volumes_modifications,
        Filters=[{"Name": name, "Values": ["x"]}],
    )


def test_pages_hold_every_modification_once(cloud):
    made = [cloud.volume(size=1) for _ in range(12)]
    for volume in made:
        cloud.ec2.modify_volume(VolumeId=volume, Size=2)
    asked: dict[str, Any] = {"Filters": [{"Name": "volume-id", "Values": made}], "MaxResults": 5}
    seen: list[str] = []
    sizes: list[int] = []
    while True:
        page = cloud.ec2.describe_volumes_modifications(**asked)
        sizes.append(len(page["VolumesModifications"]))
        seen += [item["VolumeId"] for item in page["VolumesModifications"]]
        if "NextToken" not in page:
            break
        asked["NextToken"] = page["NextToken"]
    assert sizes == [5, 5, 2]
    assert sorted(seen) == sorted(made)


def test_a_page_may_hold_500_modifications_and_no_more(cloud, refused):
    cloud.ec2.describe_volumes_modifications(MaxResults=500)
    refused("InvalidParameterValue", cloud.ec2.describe_volumes_modifications, MaxResults=501)


def test_modifications_of_one_region_are_not_seen_in_another(cloud, refused):
    volume = cloud.volume()
    cloud.ec2.modify_volume(VolumeId=volume, Size=20)
    north = cloud.simulator.client(region_name="eu-north-1")
    assert north.describe_volumes_modifications()["VolumesModifications"] == []
    refused("InvalidVolume.NotFound", north.modify_volume, VolumeId=volume, Size=30)


def test_modifications_and_their_count_survive_sigkill(own_simulator, refused):
    ec2, admin = own_simulator.client(), own_simulator.admin
    admin.set_limits(max_modifications_per_day=2)
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, VolumeType="gp3")["VolumeId"]
    admin.advance(2)
    ec2.modify_volume(VolumeId=volume, Size=2)
    admin.advance(100)
    ec2.modify_volume(VolumeId=volume, Size=3, Throughput=130)
    before = ec2.describe_volumes_modifications()["VolumesModifications"]
    own_simulator.kill()
    own_simulator.start()
    assert ec2.describe_volumes_modifications()["VolumesModifications"] == before
    refused("IncorrectModificationState", ec2.modify_volume, VolumeId=volume, Size=4)
    admin.advance(100)
    assert ec2.describe_volumes_modifications()["VolumesModifications"][0]["ModificationState"] == "completed"
    refused("VolumeModificationRateExceeded", ec2.modify_volume, VolumeId=volume, Size=4)
    admin.advance(DAY)
    ec2.modify_volume(VolumeId=volume, Size=4)


@pytest.mark.parametrize("kind", ["gp2", "gp3", "io1", "io2", "sc1", "st1", "standard"])
def test_no_volume_gets_smaller_by_changing_its_type(kind):
    with pytest.raises(AwsError, match="New size cannot be smaller"):
        changed(VolumeSpec("gp3", 200, 3_000, 125), VolumeChange(type=kind, size_gib=199))
