"""Tags of everything, and who may call: keys, signatures, sessions."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError


def shown_tags(cloud, volume: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in cloud.show_volume(volume).get("Tags", [])}


def test_tags_are_added_changed_and_taken_off(cloud):
    volume = cloud.volume(
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "1"}]}]
    )
    cloud.ec2.create_tags(Resources=[volume], Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}])
    assert shown_tags(cloud, volume) == {"a": "2", "b": "3"}
    cloud.ec2.delete_tags(Resources=[volume], Tags=[{"Key": "a", "Value": "other"}, {"Key": "b"}])
    assert shown_tags(cloud, volume) == {"a": "2"}
    cloud.ec2.delete_tags(Resources=[volume])
    assert shown_tags(cloud, volume) == {}


def test_tags_of_several_resources_change_together_or_not_at_all(cloud, refused):
    volume, instance = cloud.volume(), cloud.instance()
    unknown = "vol-0ffffffffffffffff"
    tags = [{"Key": "together", "Value": "yes"}]
    refused("InvalidVolume.NotFound", cloud.ec2.create_tags, Resources=[volume, unknown], Tags=tags)
    assert shown_tags(cloud, volume) == {}
    network = cloud.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    cloud.ec2.create_tags(Resources=[volume, instance, network], Tags=tags)
    found = cloud.ec2.describe_tags(Filters=[{"Name": "key", "Values": ["together"]}])["Tags"]
    assert {tag["ResourceId"]: tag["ResourceType"] for tag in found} == {
        volume: "volume",
        instance: "instance",
        network: "vpc",
    }


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ([{"Key": "aws:mine", "Value": "x"}], "InvalidParameterValue"),
        ([{"Key": "k" * 128, "Value": "x"}], "InvalidParameterValue"),
        ([{"Key": "k", "Value": "v" * 256}], "InvalidParameterValue"),
        ([{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}], "InvalidParameterValue"),
        ([{"Key": f"k{number}", "Value": "x"} for number in range(51)], "TagLimitExceeded"),
    ],
)
def test_tags_against_the_rules_are_refused(cloud, refused, tags, code):
    refused(code, cloud.ec2.create_tags, Resources=[cloud.volume()], Tags=tags)


def test_tags_for_a_type_the_action_does_not_make_are_refused(cloud, refused):
    refused(
        "InvalidParameterValue",
        cloud.ec2.create_volume,
        AvailabilityZone="us-east-1a",
        Size=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "1"}]}],
    )


def test_the_caller_is_the_sandbox_user_of_the_account(cloud):
    identity = cloud.simulator.client("sts").get_caller_identity()
    assert identity["Account"] == "123456789012"
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/sandbox"


@pytest.mark.parametrize(
    ("wrong", "ec2_code", "sts_code"),
    [
        ({"aws_access_key_id": "AKIANOBODY0000000000"}, "AuthFailure", "InvalidClientTokenId"),
        ({"aws_secret_access_key": "guessed"}, "AuthFailure", "SignatureDoesNotMatch"),
    ],
)
def test_a_wrong_key_is_refused_in_the_words_of_the_service(cloud, refused, wrong, ec2_code, sts_code):
    error = refused(ec2_code, cloud.simulator.client(**wrong).describe_volumes)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 401
    error = refused(sts_code, cloud.simulator.client("sts", **wrong).get_caller_identity)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    # What moto serves is behind the same door.
    with pytest.raises(ClientError) as caught:
        cloud.simulator.client("iam", **wrong).list_roles()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_refused_caller_changes_nothing(cloud, refused):
    stranger = cloud.simulator.client(aws_secret_access_key="guessed")
    before = len(cloud.ec2.describe_volumes()["Volumes"])
    refused("AuthFailure", stranger.create_volume, AvailabilityZone="us-east-1a", Size=1)
    assert len(cloud.ec2.describe_volumes()["Volumes"]) == before


def test_keys_of_a_session_work_until_they_end(cloud, refused):
    sts = cloud.simulator.client("sts")
    answer = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/worker", RoleSessionName="night")
    keys = answer["Credentials"]
    session = {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }
    caller = cloud.simulator.client("sts", **session).get_caller_identity()
    assert caller["Arn"] == "arn:aws:sts::123456789012:assumed-role/worker/night"
    assert cloud.simulator.client(**session).describe_volumes()["ResponseMetadata"]["HTTPStatusCode"] == 200
    refused("AuthFailure", cloud.simulator.client(**{**session, "aws_session_token": "x"}).describe_volumes)
    cloud.admin.advance(4000)
    refused("RequestExpired", cloud.simulator.client(**session).describe_volumes)


def test_secrets_do_not_reach_the_log_of_calls(cloud):
    before = cloud.admin.health()["last_call"]
    cloud.instance(UserData="password-in-user-data")
    calls = cloud.admin.calls(before, "RunInstances")
    assert calls[0]["params"]["UserData"] == "(hidden)"
    assert "password-in-user-data" not in str(calls)
