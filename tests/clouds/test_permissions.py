"""The IAM policy allows what the adapter calls, and nothing else; the guide shows this very policy."""

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from activities.clouds.aws import AwsCloud
from activities.clouds.aws_actions import ACTIONS
from activities.clouds.permissions import policy, policy_text
from activities.clouds.registry import connect
from activities.errors import InvalidSpec, NotReadyYet
from activities.models.tags import CLUSTER
from tests.clouds.simulator import KEY, SECRET, SimulatedAws
from tests.clouds.test_aws_failures import CALLS, call, spec

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "your-own-aws.md"


def statements(action: str) -> list[dict[str, Any]]:
    return [s for s in policy("production")["Statement"] if s["Action"] == action]


def test_every_call_of_the_adapter_is_in_the_table_and_nothing_else_is(
    aws: SimulatedAws, cloud: AwsCloud
) -> None:
    before = len(aws.admin.calls())
    volume = cloud.create_volume("a-token-of-this-test", spec()).id
    cloud.account()
    for action in CALLS:
        # A disk cannot be deleted while it is being made; that it was asked for is enough here.
        with contextlib.suppress(NotReadyYet):
            call(cloud, action, volume)
    made = {call["action"] for call in aws.admin.calls()[before:]}
    assert made == {name.split(":")[1] for name in ACTIONS}


def test_the_policy_allows_the_actions_of_the_table() -> None:
    allowed = {statement["Action"] for statement in policy("production")["Statement"]}
    # AWS needs no permission for GetCallerIdentity.
    assert allowed == set(ACTIONS) - {"sts:GetCallerIdentity"}
    assert all(action.split(":")[1].isalpha() for action in allowed)


@pytest.mark.parametrize(
    "action", ["ec2:CreateVolume", "ec2:DeleteVolume", "ec2:CreateTags", "ec2:DeleteTags"]
)
def test_what_changes_disks_is_bound_by_a_condition(action: str) -> None:
    for statement in statements(action):
        assert statement["Resource"] == "arn:aws:ec2:*:*:volume/*"
        assert statement["Condition"]["StringEquals"]


def test_only_the_clusters_own_disks_may_be_deleted() -> None:
    [statement] = statements("ec2:DeleteVolume")
    assert statement["Condition"] == {"StringEquals": {f"aws:ResourceTag/{CLUSTER}": "production"}}


def test_tags_that_name_the_owner_can_be_written_at_creation_only() -> None:
    at_creation, later = statements("ec2:CreateTags")
    assert at_creation["Condition"] == {"StringEquals": {"ec2:CreateAction": "CreateVolume"}}
    assert later["Condition"]["ForAllValues:StringEquals"] == {"aws:TagKeys": ["supergiant.io/keep-until"]}


def test_a_call_that_is_not_in_the_table_is_refused(aws: SimulatedAws, cloud: AwsCloud) -> None:
    cloud.account()
    assert cloud._clients is not None
    with pytest.raises(RuntimeError, match="ec2:DescribeInstances is not in"):
        cloud._clients.ec2.describe_instances()
    with pytest.raises(RuntimeError, match="ec2:DescribeSnapshots is not in"):
        list(cloud._clients.ec2.get_paginator("describe_snapshots").paginate())


def test_the_policy_is_one_that_iam_takes(aws: SimulatedAws) -> None:
    iam = boto3.client(
        "iam",
        region_name="us-east-1",
        endpoint_url=aws.url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    iam.create_policy(PolicyName="supergiant", PolicyDocument=policy_text("production"))
    sids = [statement["Sid"] for statement in policy("production")["Statement"]]
    assert len(set(sids)) == len(sids)
    assert all(re.fullmatch("[A-Za-z0-9]+", sid) for sid in sids)


def test_the_guide_shows_the_policy_of_the_code() -> None:
    shown = re.search(r"```json\n(.*?)\n```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown, "the guide has no policy"
    assert shown[1] == policy_text("production"), (
        "print it with: python -m activities.clouds.permissions production"
    )


def test_the_command_prints_the_policy_without_an_sdk() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "activities.clouds.permissions", "staging"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == policy("staging")
    assert "boto" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b"]])
def test_the_command_says_how_it_is_used(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "activities.clouds.permissions", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.startswith("usage:")) == (2, True)


def test_activities_and_the_registry_are_imported_without_an_sdk() -> None:
    code = (
        "import sys; import activities.volumes, activities.boundary, activities.clouds.registry; "
        "print([m for m in sys.modules if m.split('.')[0] in ('boto3', 'botocore')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["digitalocean", "gce", ""])
def test_a_cloud_that_is_not_there_yet_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidSpec, match=f"cloud '{name}' is not supported yet; supported: aws"):
        connect(name, "anywhere", {})
