"""Redis on three real nodes in three zones, written to without pause while everything under it is broken: every
write that was acknowledged is read back, from the disk that followed its instance.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox.nodes.faults import NodeState
from tests.e2e.pictures import disks, disks_made
from tests.e2e.stage import Stage
from tests.real_nodes.nodes import Nodes, eventually
from tests.real_nodes.writer import Writer

pytestmark = pytest.mark.real

APP = "kept"
INSTANCES = range(3)
#: Kubernetes calls a node lost 40 s after it was last heard of.
NODE_LOST_SECONDS = 75.0


@pytest.fixture(scope="module")
async def redis(whole_stage: Stage, nodes: Nodes) -> AsyncIterator[str]:
    await whole_stage.reset()
    said = await whole_stage.cli("app", "deploy", "--recipe", "redis", "--app", APP, "-y", "-w")
    assert said.code == 0, said.out + said.err
    for number in INSTANCES:
        # A replica gets its keys from the primary again: only this shows that it came back to its own disk.
        nodes.execute(APP, _pod(number), "sh", "-c", f"echo disk of {number} > /data/sentinel && sync")
    yield APP
    gone = await whole_stage.cli("app", "delete", APP, "--delete-disks", "-y", "-w")
    assert gone.code == 0, gone.out + gone.err


@pytest.fixture
def writer(redis: str, nodes: Nodes) -> Iterator[Writer]:
    """Writes while the test runs; afterwards all that was ever acknowledged is there, on every instance."""
    with Writer(nodes.sandbox, redis) as writer:
        writer.until_more()
        yield writer
        writer.until_more()
    _all_ready(nodes)
    assert writer.lost() == [], f"the primary lost writes; errors meanwhile: {writer.errors[-3:]}"
    for replica in (1, 2):
        eventually(lambda replica=replica: writer.lost(replica) == [])
    for number in INSTANCES:
        # A kubelet that has just started does not know its pods yet.
        found = eventually(lambda number=number: nodes.execute(APP, _pod(number), "cat", "/data/sentinel"))
        assert found == f"disk of {number}\n"


async def test_each_instance_has_a_disk_of_its_own_in_a_zone_of_its_own(
    redis: str, nodes: Nodes, whole_stage: Stage
) -> None:
    found = disks(nodes.sandbox, redis)
    assert len({disk["AvailabilityZone"] for disk in found}) == 3
    assert sorted(disk["VolumeId"] for disk in found) == sorted(disks_made(nodes.sandbox, redis))
    for number in INSTANCES:
        kibibytes = nodes.execute(redis, _pod(number), "df", "-kP", "/data").splitlines()[1].split()[1]
        # What a file system keeps for itself is a few percent.
        assert 9.5 * 1024**2 < int(kibibytes) <= 10 * 1024**2, (
            "the disk is not the 10 GiB that were asked for"
        )
    shown = (await whole_stage.cli("app", "show", redis, "--json")).json
    [component] = shown["components"]
    where = {one["instance"]: one["node"] for one in component["instances"]}
    assert sorted(where.values()) == sorted(nodes.names())


@pytest.mark.parametrize("instance", INSTANCES)
def test_a_deleted_pod_comes_back_with_its_data(instance: int, writer: Writer, nodes: Nodes) -> None:
    before = nodes.container(APP, _pod(instance))
    nodes.kubectl("delete", "pod", "-n", APP, _pod(instance), "--wait=false")
    _until_started_anew(nodes, instance, before)


@pytest.mark.parametrize("instance", INSTANCES)
def test_a_node_that_loses_power_loses_no_acknowledged_write(
    instance: int, writer: Writer, nodes: Nodes
) -> None:
    node, before = _node_of(nodes, instance), nodes.container(APP, _pod(instance))
    nodes.fault("crash", node)
    assert not _state(nodes, node).has_power
    nodes.fault("reboot", node)
    _until_started_anew(nodes, instance, before)
    assert nodes.serves(node)


@pytest.mark.parametrize("instance", INSTANCES)
def test_a_node_that_is_cut_off_keeps_its_data_until_it_is_back(
    instance: int, writer: Writer, nodes: Nodes
) -> None:
    node = _node_of(nodes, instance)
    nodes.fault("cut", node)
    assert not _state(nodes, node).kubelet_answers
    if instance == 0:
        refused = len(writer.errors)
        eventually(lambda: len(writer.errors) > refused)
        eventually(lambda: not nodes.is_ready(node), NODE_LOST_SECONDS)
    else:
        # The primary goes on without its replica.
        writer.until_more(200)
    nodes.fault("join", node)
    eventually(lambda: nodes.serves(node))


def test_a_dead_kubelet_does_not_stop_what_runs(writer: Writer, nodes: Nodes) -> None:
    node = _node_of(nodes, 0)
    nodes.fault("kill-kubelet", node)
    assert not _state(nodes, node).kubelet_answers
    writer.until_more()
    nodes.fault("start-kubelet", node)
    assert _state(nodes, node).kubelet_answers
    eventually(lambda: nodes.serves(node))


def test_a_node_that_is_rebooted_starts_its_instances_again(writer: Writer, nodes: Nodes) -> None:
    node, before = _node_of(nodes, 0), nodes.container(APP, _pod(0))
    nodes.fault("reboot", node)
    _until_started_anew(nodes, 0, before)
    writer.until_more()


def _pod(instance: int) -> str:
    return f"redis-{instance}-0"


def _node_of(nodes: Nodes, instance: int) -> str:
    return str(nodes.pod(APP, _pod(instance))["spec"]["nodeName"])


def _state(nodes: Nodes, node: str) -> NodeState:
    [state] = [one for one in nodes.all() if one.name == node]
    return state


def _until_started_anew(nodes: Nodes, instance: int, before: str) -> None:
    eventually(lambda: nodes.container(APP, _pod(instance)) not in ("", before), 90.0)


def _all_ready(nodes: Nodes) -> None:
    def ready() -> bool:
        for number in INSTANCES:
            conditions = nodes.pod(APP, _pod(number))["status"].get("conditions", [])
            if {"Ready": "True"} not in [{one["type"]: one["status"]} for one in conditions]:
                return False
        return True

    eventually(ready, 90.0)
