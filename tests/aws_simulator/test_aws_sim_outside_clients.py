"""Clients we did not write: the AWS CLI as a subprocess, and services the simulator leaves to moto."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws.__main__ import DEFAULT_ACCESS_KEY_ID, DEFAULT_SECRET
from sandbox.aws.admin import Admin, AdminError


def aws(cloud, *words: str, secret: str = DEFAULT_SECRET) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": DEFAULT_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": cloud.simulator.url,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
    }
    command = [str(Path(sys.executable).with_name("aws")), *words, "--output", "json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def answer(cloud, *words: str) -> Any:
    ended = aws(cloud, *words)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_aws_cli_makes_and_finds_a_volume(cloud):
    made = answer(
        cloud,
        *("ec2", "create-volume", "--availability-zone", "us-east-1a", "--size", "8", "--volume-type", "gp3"),
        *("--tag-specifications", "ResourceType=volume,Tags=[{Key=by,Value=cli}]"),
    )
    found = answer(
        cloud, "ec2", "describe-volumes", "--filters", "Name=tag:by,Values=cli", "--page-size", "5"
    )
    assert [item["VolumeId"] for item in found["Volumes"]] == [made["VolumeId"]]


def test_the_aws_cli_tells_a_refusal(cloud):
    ended = aws(cloud, "ec2", "create-volume", "--availability-zone", "us-east-1a", "--size", "0")
    assert ended.returncode != 0
    assert "InvalidParameterValue" in ended.stderr
    stranger = aws(cloud, "sts", "get-caller-identity", secret="guessed")
    assert "SignatureDoesNotMatch" in stranger.stderr


def test_the_aws_cli_grows_a_volume_and_watches_it(cloud):
    volume = cloud.volume(size=8)
    made = answer(cloud, "ec2", "modify-volume", "--volume-id", volume, "--size", "9")
    assert made["VolumeModification"]["ModificationState"] == "modifying"
    cloud.admin.advance(4)
    found = answer(cloud, "ec2", "describe-volumes-modifications", "--volume-ids", volume)
    assert [item["ModificationState"] for item in found["VolumesModifications"]] == ["optimizing"]
    smaller = aws(cloud, "ec2", "modify-volume", "--volume-id", volume, "--size", "8")
    assert "New size cannot be smaller than existing size" in smaller.stderr


def test_other_services_come_from_moto(cloud):
    assert cloud.ec2.describe_vpcs()["Vpcs"][0]["IsDefault"] is True
    iam = cloud.simulator.client("iam")
    iam.create_role(RoleName="moto", AssumeRolePolicyDocument="{}")
    assert "moto" in [role["RoleName"] for role in iam.list_roles()["Roles"]]
    ssm = cloud.simulator.client("ssm")
    ssm.put_parameter(Name="/x", Value="1", Type="String")
    assert ssm.get_parameter(Name="/x")["Parameter"]["Value"] == "1"
    s3 = cloud.simulator.client("s3")
    s3.create_bucket(Bucket="backups")
    s3.put_object(Bucket="backups", Key="a b/c+d.txt", Body=b"data")
    assert s3.get_object(Bucket="backups", Key="a b/c+d.txt")["Body"].read() == b"data"
    assert s3.list_objects_v2(Bucket="backups", Prefix="a b/")["KeyCount"] == 1


def test_what_moto_cannot_do_is_refused_in_the_vendors_form(cloud, refused):
    refused(
        "UnsupportedOperation",
        cloud.ec2.create_capacity_reservation,
        InstanceType="m7i.large",
        InstancePlatform="Linux/UNIX",
        InstanceCount=1,
    )


def test_an_image_of_the_sandbox_is_described(cloud):
    image = cloud.ec2.describe_images(ImageIds=["ami-05a9db0c000000001"])["Images"][0]
    assert (image["RootDeviceName"], image["State"]) == ("/dev/xvda", "available")


def test_a_signed_address_is_believed_and_a_changed_one_is_not(cloud):
    url = cloud.simulator.client("sts").generate_presigned_url("get_caller_identity", HttpMethod="GET")
    assert b"user/sandbox" in get(cloud, url)[1]
    status, body = get(cloud, url.replace("X-Amz-Expires=3600", "X-Amz-Expires=9999"))
    assert status == 403
    assert b"SignatureDoesNotMatch" in body


@pytest.mark.parametrize("action", ["", "Action=DescribeVolumes&Version=2016-11-15"])
def test_a_call_without_a_signature_is_refused_as_xml(cloud, action):
    connection = http.client.HTTPConnection("127.0.0.1", cloud.simulator.port, timeout=5)
    connection.request("POST", "/", action, {"Content-Type": "application/x-www-form-urlencoded"})
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    assert reply.status == 401
    assert b"<Code>AuthFailure</Code>" in body


def test_an_unknown_action_or_parameter_is_refused(cloud, refused):
    def misspelt(params: dict[str, Any], **_: Any) -> None:
        params["body"]["Colour"] = "red"

    client = cloud.simulator.client()
    client.meta.events.register("before-call.ec2.DescribeVolumes", misspelt)
    refused("UnknownParameter", client.describe_volumes)

    def other(params: dict[str, Any], **_: Any) -> None:
        params["body"]["Action"] = "MakeCoffee"

    client = cloud.simulator.client()
    client.meta.events.register("before-call.ec2.DescribeVolumes", other)
    refused("InvalidAction", client.describe_volumes)


def test_a_web_page_cannot_reach_the_owners_interface(cloud):
    connection = http.client.HTTPConnection("127.0.0.1", cloud.simulator.port, timeout=5)
    connection.request("DELETE", "/_sandbox/faults", headers={"Origin": "http://somewhere.example"})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    assert reply.status == 403


def test_the_owners_client_tells_that_nobody_answers():
    with pytest.raises(AdminError, match="does not answer"):
        Admin("http://127.0.0.1:9", timeout_seconds=1).health()


def get(cloud, url: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", cloud.simulator.port, timeout=5)
    connection.request("GET", url.removeprefix(cloud.simulator.url))
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, body
