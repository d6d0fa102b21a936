"""What pods on real nodes are given, and what a sandbox with real nodes does when it is broken itself."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import lifecycle
from sandbox.layout import layout_of, read_memory
from sandbox.nodes import cgroups, faults, images, loading, loops
from sandbox.nodes.network import Network
from sandbox.processes import Processes
from sandbox.progress import Silence
from tests.real_nodes.nodes import Nodes, eventually, page

pytestmark = pytest.mark.real

TOOLS = "docker.io/library/busybox:1"
SERVE = "echo it is me > /tmp/index.html; trap 'exit 0' TERM; httpd -f -p 8000 -h /tmp & wait $!"


def pod(name: str, image: str = TOOLS, script: str = SERVE, **more: Any) -> str:
    container = {"name": "main", "image": image, "command": ["sh", "-c", script]} | more
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 2},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [document, service]})


@pytest.fixture
def web(nodes: Nodes) -> Iterator[str]:
    """A pod that serves a page and is ready once it does, and its Service."""
    probe = {"httpGet": {"port": 8000, "path": "/index.html"}, "periodSeconds": 1}
    nodes.kubectl("apply", "-f", "-", stdin=pod("web", readinessProbe=probe))
    eventually(lambda: _is_ready(nodes, "web"))
    yield "web"
    nodes.kubectl("delete", "pod,service", "web")


def test_every_node_is_one_machine_of_its_zone(nodes: Nodes) -> None:
    found = nodes.sandbox.api.items("/api/v1/nodes")
    assert len({node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in found}) == 3
    instances = {machine.plan.instance_id for machine in nodes.machines()}
    assert {node["spec"]["providerID"].rpartition("/")[2] for node in found} == instances
    for csi_node in nodes.sandbox.api.items("/apis/storage.k8s.io/v1/csinodes"):
        [driver] = csi_node["spec"]["drivers"]
        assert (driver["name"], driver["nodeID"] in instances) == ("ebs.csi.aws.com", True)
        assert driver["allocatable"]["count"] > 20


def test_names_and_cluster_addresses_work_from_pods_and_from_the_machine(web: str, nodes: Nodes) -> None:
    [service] = [one for one in nodes.sandbox.api.items("/api/v1/services") if one["metadata"]["name"] == web]
    address = service["spec"]["clusterIP"]
    assert eventually(lambda: page(f"http://{address}/")) == "it is me\n"
    assert page(f"http://{nodes.pod('default', web)['status']['podIP']}:8000/") == "it is me\n"
    nodes.kubectl("apply", "-f", "-", stdin=pod("asker"))
    eventually(lambda: _is_ready(nodes, "asker"))
    for name in (address, "web", "web.default", "web.default.svc.cluster.local"):
        assert nodes.execute("default", "asker", "wget", "-qO-", f"http://{name}/") == "it is me\n"
    nodes.kubectl("delete", "pod,service", "asker", "--wait=false")


def test_logs_are_read_from_the_node(nodes: Nodes) -> None:
    nodes.kubectl("apply", "-f", "-", stdin=pod("speaker", script="echo spoken; exit 3"))
    eventually(lambda: "spoken" in nodes.kubectl("logs", "speaker", must=False))
    nodes.kubectl("delete", "pod,service", "speaker", "--wait=false")


def test_a_program_that_asks_for_too_much_memory_is_ended_by_its_limit(nodes: Nodes) -> None:
    greedy = pod("greedy", script="tail /dev/zero", resources={"limits": {"memory": "32Mi"}})
    nodes.kubectl("apply", "-f", "-", stdin=greedy)

    def reason() -> str:
        [state] = nodes.pod("default", "greedy")["status"]["containerStatuses"]
        ended = state["state"].get("terminated") or state["lastState"].get("terminated") or {}
        return str(ended.get("reason", ""))

    eventually(lambda: reason() == "OOMKilled")
    nodes.kubectl("delete", "pod,service", "greedy", "--wait=false")


def test_an_image_of_the_users_own_is_loaded_on_every_node(nodes: Nodes, tmp_path: Path) -> None:
    reference = "registry.example/ours/tool:7"
    archive = tmp_path / "Our Tool.tar"
    _renamed(images.image("tools", Silence()), archive, reference)
    assert loading.load(nodes.sandbox.layout, str(archive), Silence()) == [reference]
    for number, node in enumerate(nodes.names()):
        document = json.loads(pod(f"ours-{number}", reference))
        document["items"][0]["spec"]["nodeName"] = node
        nodes.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    for number in range(len(nodes.names())):
        eventually(lambda number=number: _is_ready(nodes, f"ours-{number}"))
        nodes.kubectl("delete", "pod,service", f"ours-{number}", "--wait=false")


def test_prometheus_sees_nodes_containers_disks_and_the_control_plane(web: str, nodes: Nodes) -> None:
    names = set(nodes.names())
    for query in (
        'up{job="kubelet",metrics_path="/metrics"} == 1',
        'up{job="kubelet",metrics_path="/metrics/cadvisor"} == 1',
    ):
        eventually(
            lambda query=query: {one["metric"].get("node") for one in nodes.measured(query)} == names, 90.0
        )
    used = 'container_memory_working_set_bytes{namespace="default",pod="web",container="main"}'
    eventually(lambda: float(nodes.measured(used)[0]["value"][1]) > 0, 90.0)
    eventually(lambda: len(nodes.measured('up{job="apiserver"} == 1')) == 1, 90.0)


def test_a_machine_that_is_stopped_and_started_is_the_same_node_again(nodes: Nodes) -> None:
    machine = nodes.machines()[0]
    ec2, instance = nodes.sandbox.ec2, machine.plan.instance_id
    ec2.stop_instances(InstanceIds=[instance])
    eventually(lambda: not machine.is_on())
    eventually(lambda: _instance_state(nodes, instance) == "stopped")
    ec2.start_instances(InstanceIds=[instance])
    eventually(machine.is_on)
    eventually(machine.kubelet_answers)
    eventually(lambda: nodes.is_ready(machine.plan.name), 90.0)


def test_a_sandbox_that_was_killed_whole_comes_up_again(web: str, nodes: Nodes) -> None:
    layout = nodes.sandbox.layout
    processes = Processes(layout)
    for running in processes.members():
        os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: not processes.members())
    assert not any(machine.is_on() for machine in nodes.machines())
    nodes.sandbox.up()
    assert all(process.healthy for process in nodes.sandbox.processes())
    eventually(lambda: all(nodes.is_ready(name) for name in nodes.names()))
    eventually(lambda: _is_ready(nodes, web), 90.0)


def test_a_hypervisor_that_dies_takes_no_node_with_it(nodes: Nodes) -> None:
    before = [machine.first_pid() for machine in nodes.machines()]
    nodes.sandbox.kill("hypervisor")
    assert [machine.first_pid() for machine in nodes.machines()] == before
    nodes.sandbox.start("hypervisor")
    assert [machine.first_pid() for machine in nodes.machines()] == before


def test_two_sandboxes_with_real_nodes_do_not_disturb_each_other(web: str, nodes: Nodes) -> None:
    other = f"other-{os.getpid()}"
    try:
        assert lifecycle.up(other, real_nodes=1, prometheus=False).healthy
        theirs = dataclasses.replace(nodes.sandbox, name=other)
        [neighbour] = Nodes(theirs).machines()
        assert neighbour.plan.address not in [machine.plan.address for machine in nodes.machines()]
        assert Nodes(theirs).is_ready(neighbour.plan.name)
        Nodes(theirs).kubectl("apply", "-f", "-", stdin=pod("web"))
        eventually(lambda: _is_ready(Nodes(theirs), "web"))
        faults.crash(theirs.layout, "1")
        assert page(f"http://{nodes.pod('default', web)['status']['podIP']}:8000/") == "it is me\n"
        assert all(nodes.is_ready(name) for name in nodes.names())
    finally:
        memory = read_memory(layout_of(other))
        lifecycle.down(other)
    assert memory is not None
    network = Network(memory.network)
    assert (
        network.switch
        not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    )
    assert list(cgroups.found(network.cgroup_prefix)) == []
    assert loops.below(layout_of(other).volumes) == []
    assert page(f"http://{nodes.pod('default', web)['status']['podIP']}:8000/") == "it is me\n"


def _is_ready(nodes: Nodes, name: str) -> bool:
    conditions = nodes.pod("default", name)["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _instance_state(nodes: Nodes, instance: str) -> str:
    answer = nodes.sandbox.ec2.describe_instances(InstanceIds=[instance])
    return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])


def _renamed(source: Path, target: Path, reference: str) -> None:
    """The same image under another name, as `docker tag` and `docker save` would write it."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old.getmembers():
            data = old.extractfile(member)
            assert data is not None
            content = data.read()
            if member.name == "manifest.json":
                content = json.dumps([json.loads(content)[0] | {"RepoTags": [reference]}]).encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
