"""Starts the instances that a new sandbox begins with: so many per zone.

Run at every `up`; what exists already is counted, so only what is missing is started. Prints the ids of
those that run or are about to, whose nodes `up` then waits for. A program of its own because the command
line must not load boto3.
"""

import argparse
import json
import sys
import uuid
from collections import Counter
from typing import TYPE_CHECKING

from sandbox.kubernetes.cloud import CloudErrors, ec2_client, message_of
from sandbox.nodes.ec2 import REAL_TAG, REAL_VALUE

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_TAG = "supergiant-sandbox-pool"
_RISING = ("pending", "running")
_STOPPED = ("stopping", "stopped")


def fill_pool(
    ec2: "EC2Client",
    zones: list[str],
    per_zone: int,
    instance_type: str,
    image: str,
    real_nodes: int = 0,
) -> list[str]:
    """Start what is missing; the ids of all instances of the pool that run or are about to."""
    rising = _fill(ec2, dict.fromkeys(zones, per_zone), instance_type, image, {_TAG: "true"})
    even = {zone: len(range(position, real_nodes, len(zones))) for position, zone in enumerate(zones)}
    return rising + _fill(ec2, even, instance_type, image, {REAL_TAG: REAL_VALUE})


def main() -> int:
    """Fill the pool; one line on standard error if that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--zone", action="append", required=True, help="a zone; may be repeated")
    parser.add_argument("--per-zone", type=int, required=True)
    parser.add_argument("--real-nodes", type=int, default=0, help="spread over the zones")
    parser.add_argument("--instance-type", required=True)
    parser.add_argument("--image", required=True)
    arguments = parser.parse_args()
    try:
        ids = fill_pool(
            ec2_client(),
            arguments.zone,
            arguments.per_zone,
            arguments.instance_type,
            arguments.image,
            arguments.real_nodes,
        )
    except CloudErrors as error:
        sys.stderr.write(f"{message_of(error)}\n")
        return 1
    sys.stdout.write(json.dumps(ids))
    return 0


def _fill(
    ec2: "EC2Client", wanted: dict[str, int], instance_type: str, image: str, tag: dict[str, str]
) -> list[str]:
    alive = [*_RISING, *_STOPPED]
    filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in tag.items()]
    filters.append({"Name": "instance-state-name", "Values": alive})
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)  # type: ignore[arg-type]
    present = [
        instance
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
    ]
    in_zone = Counter(instance["Placement"]["AvailabilityZone"] for instance in present)
    rising = [it["InstanceId"] for it in present if it["State"]["Name"] in _RISING]
    for zone, count in wanted.items():
        missing = count - in_zone[zone]
        if missing > 0:
            rising += _run(ec2, zone, missing, instance_type, image, tag)
    return rising


def _run(
    ec2: "EC2Client", zone: str, count: int, instance_type: str, image: str, tag: dict[str, str]
) -> list[str]:
    answer = ec2.run_instances(
        ImageId=image,
        InstanceType=instance_type,  # type: ignore[arg-type]
        MinCount=count,
        MaxCount=count,
        Placement={"AvailabilityZone": zone},
        # A retry inside boto3 repeats the token, so a lost reply starts nothing twice.
        ClientToken=str(uuid.uuid4()),
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": [
                    {"Key": name, "Value": value}
                    for name, value in {"Name": f"sandbox-{zone}", **tag}.items()
                ],
            }
        ],
    )
    return [instance["InstanceId"] for instance in answer["Instances"]]


if __name__ == "__main__":
    sys.exit(main())
