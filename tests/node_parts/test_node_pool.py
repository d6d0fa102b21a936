"""The instances a sandbox begins with: simulated ones per zone, real ones spread over the zones."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.aws.moto_proxy import SANDBOX_IMAGE
from sandbox.kubernetes.node_objects import is_real
from sandbox.kubernetes.pool import fill_pool
from tests.clouds.simulator import SimulatedAws

ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]


@pytest.fixture
def cloud(one_aws: SimulatedAws) -> Iterator[Any]:
    """A cloud in which every instance of an earlier test has ended."""
    cloud = one_aws.client_of_somebody_else()

    def clear() -> None:
        left = [it["InstanceId"] for it in instances(cloud)]
        if left:
            cloud.terminate_instances(InstanceIds=left)
            one_aws.admin.advance(10)

    clear()
    yield cloud
    clear()


def instances(cloud: Any, *states: str) -> list[dict[str, Any]]:
    wanted = states or ("pending", "running", "stopping", "stopped")
    answer = cloud.describe_instances(Filters=[{"Name": "instance-state-name", "Values": list(wanted)}])
    return [instance for reservation in answer["Reservations"] for instance in reservation["Instances"]]


def fill(cloud: Any, per_zone: int, real: int) -> list[str]:
    return fill_pool(cloud, ZONES, per_zone, "m7i.large", SANDBOX_IMAGE.id, real)


def zones_of(cloud: Any, real: bool) -> dict[str, int]:
    found = [it for it in instances(cloud) if is_real(it) is real]
    return dict(Counter(it["Placement"]["AvailabilityZone"] for it in found))


def test_without_real_nodes_every_instance_is_simulated(cloud: Any) -> None:
    assert len(fill(cloud, 1, 0)) == 3
    assert zones_of(cloud, real=False) == dict.fromkeys(ZONES, 1)
    assert zones_of(cloud, real=True) == {}


@pytest.mark.parametrize(("count", "spread"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (5, [2, 2, 1])])
def test_real_nodes_are_spread_over_the_zones(cloud: Any, count: int, spread: list[int]) -> None:
    assert len(fill(cloud, 0, count)) == count
    assert zones_of(cloud, real=True) == dict(zip(ZONES, spread, strict=False))
    assert zones_of(cloud, real=False) == {}


def test_both_kinds_are_counted_apart_and_only_what_is_missing_is_started(
    cloud: Any, one_aws: SimulatedAws
) -> None:
    first = fill(cloud, 1, 3)
    assert len(set(first)) == 6
    one_aws.admin.advance(10)
    assert set(fill(cloud, 1, 3)) == set(first)
    more = fill(cloud, 2, 4)
    assert set(first) < set(more)
    assert sum(zones_of(cloud, real=False).values()) == 6
    assert sum(zones_of(cloud, real=True).values()) == 4


def test_a_stopped_real_node_is_neither_replaced_nor_waited_for(cloud: Any, one_aws: SimulatedAws) -> None:
    (only,) = fill(cloud, 0, 1)
    one_aws.admin.advance(10)
    cloud.stop_instances(InstanceIds=[only])
    one_aws.admin.advance(10)
    assert fill(cloud, 0, 1) == []
    assert len(instances(cloud)) == 1


def test_a_terminated_real_node_is_replaced(cloud: Any, one_aws: SimulatedAws) -> None:
    (first,) = fill(cloud, 0, 1)
    one_aws.admin.advance(10)
    cloud.terminate_instances(InstanceIds=[first])
    (second,) = fill(cloud, 0, 1)
    assert second != first
