"""Faults on request: each effect, how calls are matched and counted, and what the log says."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from sandbox.aws.admin import AdminError

VOLUME = {"AvailabilityZone": "us-east-1a", "Size": 1, "VolumeType": "gp3"}


def tagged(value: str) -> list[dict[str, object]]:
    return [{"ResourceType": "volume", "Tags": [{"Key": "fault", "Value": value}]}]


def found(cloud, value: str) -> list[str]:
    shown = cloud.ec2.describe_volumes(Filters=[{"Name": "tag:fault", "Values": [value]}])["Volumes"]
    return [item["VolumeId"] for item in shown]


def test_a_throttled_call_is_told_to_slow_down_and_the_next_one_passes(cloud, refused):
    cloud.admin.add_fault("throttle", "CreateVolume")
    error = refused("RequestLimitExceeded", cloud.ec2.create_volume, **VOLUME)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    cloud.ec2.create_volume(**VOLUME)


def test_an_error_has_the_code_status_and_text_asked_for(cloud, refused):
    cloud.admin.add_fault(
        "error", "RunInstances", code="InsufficientInstanceCapacity", status=500, message="no room", count=1
    )
    run = {"ImageId": "ami-05a9db0c000000001", "MinCount": 1, "MaxCount": 1}
    error = refused("InsufficientInstanceCapacity", cloud.ec2.run_instances, **run)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "no room" in str(error)


def test_a_reply_dropped_after_applying_leaves_its_volume_and_a_retry_finds_it(cloud):
    asked = {**VOLUME, "ClientToken": "dropped-after", "TagSpecifications": tagged("after")}
    cloud.admin.add_fault("drop-after", "CreateVolume")
    with pytest.raises(ConnectionClosedError):
        cloud.ec2.create_volume(**asked)
    made = found(cloud, "after")
    assert len(made) == 1
    assert cloud.ec2.create_volume(**asked)["VolumeId"] == made[0]
    assert found(cloud, "after") == made


def test_a_call_dropped_before_applying_changes_nothing(cloud):
    cloud.admin.add_fault("drop-before", "CreateVolume")
    with pytest.raises(ConnectionClosedError):
        cloud.ec2.create_volume(**VOLUME, TagSpecifications=tagged("before"))
    assert found(cloud, "before") == []


def test_an_error_after_applying_hides_a_success(cloud, refused):
    cloud.admin.add_fault("error", "CreateVolume", when="after")
    refused("InternalError", cloud.ec2.create_volume, **VOLUME, TagSpecifications=tagged("hidden"))
    assert len(found(cloud, "hidden")) == 1


def test_a_delay_takes_real_time_and_holds_up_nobody_else(cloud):
    cloud.admin.add_fault("delay", "DescribeTags", seconds=0.5)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        delayed = pool.submit(cloud.ec2.describe_tags)
        while not cloud.admin.faults()[0]["hits"]:
            cloud.simulator.client().describe_volumes(MaxResults=5)
        cloud.ec2.describe_volumes(MaxResults=5)
        assert not delayed.done()
        delayed.result()
    assert time.monotonic() - started >= 0.5


def test_a_slow_volume_stays_longer_in_its_state(cloud):
    cloud.admin.add_fault("slow", "CreateVolume", seconds=100)
    volume = cloud.ec2.create_volume(**VOLUME)["VolumeId"]
    cloud.admin.advance(90)
    assert cloud.show_volume(volume)["State"] == "creating"
    cloud.admin.advance(20)
    assert cloud.show_volume(volume)["State"] == "available"


def test_a_fault_meets_the_nth_call_and_as_many_as_counted(cloud):
    cloud.admin.add_fault("error", "DescribeVolumes", code="Boom", nth=3, count=2)
    outcomes = []
    for _ in range(6):
        try:
            cloud.ec2.describe_volumes(MaxResults=5)
            outcomes.append("ok")
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])
    assert outcomes == ["ok", "ok", "Boom", "Boom", "ok", "ok"]
    fault = cloud.admin.faults()[0]
    assert (fault["seen"], fault["hits"], fault["spent"]) == (4, 2, True)


def test_a_fault_without_a_count_lasts_until_it_is_cleared(cloud, refused):
    fault = cloud.admin.add_fault("error", "DescribeVolumes", code="Boom", count=None)
    for _ in range(3):
        refused("Boom", cloud.ec2.describe_volumes)
    assert cloud.admin.clear_faults(fault["id"]) == 1
    cloud.ec2.describe_volumes(MaxResults=5)


def test_a_fault_meets_only_the_resource_it_names(cloud, refused):
    first, second = cloud.volume(), cloud.volume(TagSpecifications=tagged("mine"))
    cloud.admin.add_fault("error", "DeleteVolume", resource=first, code="ById")
    cloud.admin.add_fault("error", "DeleteVolume", resource="fault=mine", code="ByTag")
    cloud.admin.add_fault("error", "CreateVolume", resource="^born-cursed$", code="ByParameter")
    cloud.ec2.delete_volume(VolumeId=cloud.volume())
    refused("ById", cloud.ec2.delete_volume, VolumeId=first)
    refused("ByTag", cloud.ec2.delete_volume, VolumeId=second)
    refused("ByParameter", cloud.ec2.create_volume, **VOLUME, TagSpecifications=tagged("born-cursed"))


def test_a_fault_meets_what_moto_serves_as_well(cloud, refused):
    cloud.admin.add_fault("error", "ListRoles", code="Boom")
    refused("Boom", cloud.simulator.client("iam").list_roles)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"effect": "explode"}, "effect must be one of"),
        ({"effect": "error", "colour": "red"}, "unknown field 'colour'"),
        ({"effect": "error", "resource": "("}, "not a regular expression"),
        ({"effect": "error", "count": 0}, "count must be"),
        ({"effect": "error", "probability": 2}, "probability must be"),
        ({"effect": "error", "when": "later"}, "when must be"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_its_reason(cloud, fields, text):
    effect = fields.pop("effect")
    with pytest.raises(AdminError, match=text.replace("(", r"\(")):
        cloud.admin.add_fault(effect, **fields)
    assert cloud.admin.faults() == []


def test_a_rate_beyond_the_bucket_is_throttled_until_time_passes(cloud, refused):
    cloud.admin.set_limits(throttle={"DescribeTags": {"burst": 2, "per_second": 1}})
    cloud.ec2.describe_tags()
    cloud.ec2.describe_tags()
    refused("RequestLimitExceeded", cloud.ec2.describe_tags)
    cloud.admin.advance(1)
    cloud.ec2.describe_tags()
    refused("RequestLimitExceeded", cloud.ec2.describe_tags)


def test_a_limit_that_makes_no_sense_is_refused(cloud):
    with pytest.raises(AdminError, match="unknown limit 'max_clouds'"):
        cloud.admin.set_limits(max_clouds=1)
    with pytest.raises(AdminError, match="attaching_seconds must be a number"):
        cloud.admin.set_limits(attaching_seconds=None)


def test_the_log_tells_action_token_outcome_and_what_was_made(cloud, refused):
    before = cloud.admin.health()["last_call"]
    volume = cloud.ec2.create_volume(**VOLUME, ClientToken="logged")["VolumeId"]
    refused("InvalidParameterValue", cloud.ec2.create_volume, **{**VOLUME, "Size": 0})
    calls = cloud.admin.calls(before)
    assert [(call["action"], call["outcome"]) for call in calls] == [
        ("CreateVolume", "ok"),
        ("CreateVolume", "InvalidParameterValue"),
    ]
    assert (calls[0]["token"], calls[0]["made"]) == ("logged", [volume])
    assert cloud.admin.calls(calls[-1]["seq"]) == []


def test_a_client_that_gives_up_early_is_no_trouble_for_others(cloud):
    cloud.admin.add_fault("delay", "DescribeVolumes", seconds=0.6)
    hasty = cloud.simulator.client(config=Config(retries={"total_max_attempts": 1}, read_timeout=0.2))
    with pytest.raises(ReadTimeoutError):
        hasty.describe_volumes()
    assert cloud.admin.health()["status"] == "ok"
