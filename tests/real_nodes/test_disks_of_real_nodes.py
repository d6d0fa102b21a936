"""Simulated EBS volumes as disks of real nodes: seen where they are attached and nowhere else, grown, moved, gone."""

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.nodes import loops
from sandbox.nodes.machine import Machine
from tests.e2e.pictures import disks, leftovers
from tests.e2e.stage import Stage, small_app
from tests.real_nodes.nodes import Nodes, eventually
from tests.sandboxes import Sandbox

pytestmark = pytest.mark.real

_numbers = itertools.count(1)
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
#: Kubernetes calls a node lost after 40 s, and looks for pods of lost nodes every 20 s.
MOVE_SECONDS = 120.0


@pytest.fixture
async def app(stage: Stage) -> AsyncIterator[str]:
    """One instance with an ext4 disk."""
    name = f"bytes-{next(_numbers)}"
    await stage.bench.ended(await stage.bench.deploy(small_app(name, instances=1), f"deploy-{name}"))
    yield name
    await stage.cleared(name)
    assert leftovers(stage.sandbox, name) == []


async def test_a_disk_is_seen_on_its_node_alone_and_holds_what_its_pod_wrote(app: str, nodes: Nodes) -> None:
    [disk] = disks(nodes.sandbox, app)
    [attachment] = disk["Attachments"]
    device = attachment["Device"]
    having = [machine for machine in nodes.machines() if _has(nodes, machine, device)]
    assert [machine.plan.instance_id for machine in having] == [attachment["InstanceId"]]
    assert not Path(device).exists(), "the machine itself has the node's disk in its /dev"
    [machine] = having
    assert _size(nodes, machine, device) == disk["Size"] * 1024**3
    starts = nodes.execute(app, "db-0-0", "cat", "/data/starts").splitlines()
    assert len(starts) == 1
    nodes.kubectl("delete", "pod", "-n", app, "db-0-0")
    eventually(lambda: len(nodes.execute(app, "db-0-0", "cat", "/data/starts").splitlines()) == 2)


async def test_a_power_failure_takes_what_was_not_written_to_the_disk_and_nothing_else(
    app: str, nodes: Nodes
) -> None:
    node, before = str(nodes.pod(app, "db-0-0")["spec"]["nodeName"]), nodes.container(app, "db-0-0")
    nodes.execute(app, "db-0-0", "sh", "-c", "echo kept > /data/kept; sync; echo lost > /data/lost")
    nodes.fault("crash", node)
    nodes.fault("reboot", node)
    eventually(lambda: nodes.container(app, "db-0-0") not in ("", before), 90.0)
    assert nodes.execute(app, "db-0-0", "cat", "/data/kept") == "kept\n"
    assert "lost" not in nodes.execute(app, "db-0-0", "ls", "/data").split()


async def test_prometheus_knows_how_full_a_disk_is(app: str, nodes: Nodes) -> None:
    series = f'kubelet_volume_stats_capacity_bytes{{namespace="{app}"}}'
    [capacity] = eventually(lambda: nodes.measured(series), 90.0)
    assert 1.8 * 1024**3 < float(capacity["value"][1]) <= 2 * 1024**3
    [claim] = json.loads(nodes.kubectl("get", "pvc", "-n", app, "-o", "json"))["items"]
    assert capacity["metric"]["persistentvolumeclaim"] == claim["metadata"]["name"]


async def test_a_deleted_disk_leaves_no_bytes(stage: Stage, nodes: Nodes) -> None:
    name = "short"
    await stage.bench.ended(await stage.bench.deploy(small_app(name, instances=1), f"deploy-{name}"))
    [disk] = disks(nodes.sandbox, name)
    image = nodes.sandbox.layout.volumes / f"{disk['VolumeId']}.img"
    assert loops.of(image)
    await stage.cleared(name)
    eventually(lambda: not loops.of(image))
    eventually(lambda: not image.exists())


@pytest.mark.parametrize("file_system", ["xfs", "ext4"])
async def test_a_disk_grows_under_its_file_system(file_system: str, stage: Stage, nodes: Nodes) -> None:
    name = f"grows-{file_system}"
    app = small_app(name, instances=1, volumes=[{"name": "data", "size": "2Gi", "file_system": file_system}])
    await stage.bench.ended(await stage.bench.deploy(app, f"deploy-{name}"))
    before = nodes.pod(name, "db-0-0")
    [claim] = json.loads(nodes.kubectl("get", "pvc", "-n", name, "-o", "json"))["items"]
    patch = json.dumps({"spec": {"resources": {"requests": {"storage": "3Gi"}}}})
    nodes.kubectl("patch", "pvc", "-n", name, claim["metadata"]["name"], "-p", patch)
    eventually(lambda: disks(nodes.sandbox, name)[0]["Size"] == 3)
    if file_system == "ext4" and not _may_grow_mounted_ext4():
        # Without CAP_SYS_RESOURCE the kernel grows an ext4 only while it is not mounted.
        eventually(lambda: "FileSystemResizePending" in nodes.kubectl("get", "pvc", "-n", name, "-o", "json"))
        nodes.kubectl("delete", "pod", "-n", name, "db-0-0")
    eventually(lambda: _kibibytes(nodes, name) > 2.7 * 1024**2, 90.0)
    after = nodes.pod(name, "db-0-0")
    if file_system == "xfs":
        assert after["metadata"]["uid"] == before["metadata"]["uid"], "it grew by a restart"
    await stage.cleared(name)


async def test_a_disk_moves_to_another_node_only_when_the_old_one_has_let_go(
    app: str, stage: Stage, nodes: Nodes
) -> None:
    """A node that is cut off still writes. Kubernetes is told that it is out of service, though it is not: the
    disk stays where it is, until the node has really lost its power."""
    sandbox = nodes.sandbox
    old = str(nodes.pod(app, "db-0-0")["spec"]["nodeName"])
    [zone] = {state.zone for state in nodes.all() if state.name == old}
    spare = _launch(sandbox, zone)
    try:
        new = eventually(lambda: _node_of_instance(nodes, spare))
        eventually(lambda: nodes.is_ready(new))
        nodes.fault("cut", old)
        eventually(lambda: not nodes.is_ready(old), MOVE_SECONDS)
        nodes.kubectl("taint", "node", old, OUT_OF_SERVICE)
        eventually(lambda: nodes.pod(app, "db-0-0")["spec"].get("nodeName") == new, MOVE_SECONDS)
        eventually(lambda: "still in use" in _complaints(nodes), MOVE_SECONDS)
        [disk] = disks(sandbox, app)
        image = sandbox.layout.volumes / f"{disk['VolumeId']}.img"
        assert len(loops.of(image)) == 1, "two nodes have the disk"
        nodes.fault("crash", old)
        eventually(
            lambda: len(nodes.execute(app, "db-0-0", "cat", "/data/starts").splitlines()) == 2, MOVE_SECONDS
        )
        assert disks(sandbox, app)[0]["Attachments"][0]["InstanceId"] == spare
    finally:
        nodes.fault("join", old)
        nodes.fault("reboot", old)
        nodes.kubectl("taint", "node", old, f"{OUT_OF_SERVICE.partition('=')[0]}-", must=False)
        eventually(lambda: nodes.is_ready(old))
    # An instance that is terminated takes its attachments along, and tests that follow expect three nodes.
    await stage.cleared(app)
    sandbox.ec2.terminate_instances(InstanceIds=[spare])
    eventually(lambda: spare not in [machine.plan.instance_id for machine in nodes.machines()])
    eventually(lambda: new not in _node_names(nodes))


def _has(nodes: Nodes, machine: Machine, device: str) -> bool:
    return device in nodes.on(machine, "find", "/dev", "-maxdepth", "1", "-type", "b").split()


def _size(nodes: Nodes, machine: Machine, device: str) -> int:
    return int(nodes.on(machine, "blockdev", "--getsize64", device))


def _kibibytes(nodes: Nodes, app: str) -> int:
    return int(nodes.execute(app, "db-0-0", "df", "-kP", "/data").splitlines()[1].split()[1])


def _may_grow_mounted_ext4() -> bool:
    [line] = [it for it in Path("/proc/self/status").read_text().splitlines() if it.startswith("CapBnd")]
    return bool(int(line.split()[1], 16) >> 24 & 1)


def _launch(sandbox: Sandbox, zone: str) -> str:
    """One more real node, as anybody who may run instances gets it."""
    answer: Any = sandbox.ec2.run_instances(
        ImageId="ami-05a9db0c000000001",
        InstanceType="m7i.2xlarge",
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": zone},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "sandbox:node", "Value": "real"}]}],
    )
    return str(answer["Instances"][0]["InstanceId"])


def _node_of_instance(nodes: Nodes, instance: str) -> str:
    for node in nodes.sandbox.api.items("/api/v1/nodes"):
        if node["spec"].get("providerID", "").endswith(f"/{instance}"):
            return str(node["metadata"]["name"])
    return ""


def _node_names(nodes: Nodes) -> list[str]:
    return [node["metadata"]["name"] for node in nodes.sandbox.api.items("/api/v1/nodes")]


def _complaints(nodes: Nodes) -> str:
    attachments = nodes.sandbox.api.items("/apis/storage.k8s.io/v1/volumeattachments")
    return json.dumps([one.get("status", {}).get("detachError") for one in attachments])
