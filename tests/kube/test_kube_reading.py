"""What raw objects mean: quantities, what a node has left, since when a pod is ready."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from activities.kube.reading import machine, node_facts, pod_requests, quantity, ready_since

DRIVER = "ebs.csi.aws.com"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", "8"),
        ("7910m", "7.910"),
        ("100n", "0.0000001"),
        ("1e3", "1000"),
        ("32Gi", "34359738368"),
        ("32768Ki", "33554432"),
        ("5G", "5000000000"),
        (110, "110"),
        ("0", "0"),
    ],
)
def test_quantities_are_read_as_the_api_writes_them(text: str, value: str) -> None:
    assert quantity(text) == Decimal(value)


def pod(cpu: str, memory: str, **spec: Any) -> dict[str, Any]:
    return {
        "spec": {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}], **spec},
        "status": {"phase": "Running"},
    }


def test_a_pod_counts_as_the_scheduler_counts_it() -> None:
    first = {"resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}
    sidecar = {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    counted = pod("500m", "2Gi", initContainers=[first, sidecar], overhead={"cpu": "50m", "memory": "1Mi"})
    assert pod_requests(counted) == (2050, 2 * 2**30 + 2**20)


def node(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "us-east-1a"}},
        "spec": {"providerID": "aws:///us-east-1a/i-0abc", **spec},
        "status": {
            "allocatable": {"cpu": "7910m", "memory": "32Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def test_what_is_left_of_a_node_is_less_its_running_pods() -> None:
    over = {**pod("4", "16Gi"), "status": {"phase": "Succeeded"}}
    facts = node_facts(node(), None, [pod("910m", "2Gi"), over], 3, DRIVER)
    assert (facts.free_cpu_millicores, facts.free_memory_bytes, facts.free_pods) == (7000, 30 * 2**30, 109)
    assert (facts.machine, facts.zone, facts.attached) == ("i-0abc", "us-east-1a", 3)


@pytest.mark.parametrize(
    ("broken", "schedulable"),
    [
        ({}, True),
        ({"unschedulable": True}, False),
        ({"taints": [{"key": "dedicated", "effect": "NoSchedule"}]}, False),
        ({"taints": [{"key": "soft", "effect": "PreferNoSchedule"}]}, True),
    ],
)
def test_a_node_that_takes_no_pods_is_not_counted_on(broken: dict[str, Any], schedulable: bool) -> None:
    assert node_facts(node(**broken), None, [], 0, DRIVER).schedulable is schedulable


def test_a_node_that_is_not_ready_takes_no_pods() -> None:
    silent = node()
    silent["status"]["conditions"][0]["status"] = "Unknown"
    assert node_facts(silent, None, [], 0, DRIVER).schedulable is False


@pytest.mark.parametrize(
    ("drivers", "limit"),
    [
        ([{"name": DRIVER, "allocatable": {"count": 25}}], 25),
        ([{"name": DRIVER}], 1000),
        ([{"name": "another"}], 0),
        (None, 0),
    ],
)
def test_the_driver_says_how_many_disks_a_node_takes(drivers: Any, limit: int) -> None:
    csi_node = {"metadata": {"name": "n"}, "spec": {"drivers": drivers}}
    assert node_facts(node(), csi_node, [], 0, DRIVER).attach_limit == limit


@pytest.mark.parametrize(
    ("provider", "expected"),
    [("aws:///us-east-1a/i-0abc", "i-0abc"), ("digitalocean://4711", "4711"), ("", "")],
)
def test_the_machine_is_the_end_of_the_provider_id(provider: str, expected: str) -> None:
    assert machine({"spec": {"providerID": provider}}) == expected


def test_a_pod_is_ready_since_its_last_container_started() -> None:
    status = {
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "containerStatuses": [
            {"state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}}},
            {"state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}}},
        ],
    }
    assert ready_since({"status": status}) == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)
