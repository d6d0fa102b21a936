"""Makes a simulated Kubernetes node of every running instance, as kubelets and the cloud's controller do.

Run by the supervisor as `python -m sandbox.kubernetes.machines`. It looks at everything each time it
looks, and remembers nothing that matters: whatever is killed or restarted, the next look repairs.
"""

import contextlib
import json
import logging
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandbox.kubernetes.api import Api, ApiError, Json
from sandbox.kubernetes.attach_marker import mark_attached_pods
from sandbox.kubernetes.cloud import CloudErrors, ec2_client, message_of, program, start_logging
from sandbox.kubernetes.node_objects import (
    POWER,
    csi_node,
    instance_of,
    is_real,
    is_running,
    kubelets,
    node_object,
    node_status,
    pod_network,
)
from sandbox.layout import write_private

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_PERIOD_SECONDS = 0.5
_MARKER_PERIOD_SECONDS = 0.25
# A stopped instance keeps its node, which turns NotReady; one of these never comes back.
_DEAD = ("shutting-down", "terminated")

log = logging.getLogger("machines")


class Machines:
    """Keeps the nodes of one cluster like the instances of one region."""

    def __init__(self, api: Api, ec2: "EC2Client", told_kubelets: Path) -> None:
        self._api = api
        self._ec2 = ec2
        self._told_kubelets = told_kubelets
        self._kubelets = ""
        self._types: dict[str, Json] = {}

    def look(self) -> int:
        """Compare instances with nodes and make them alike; the number of running instances."""
        instances = {instance["InstanceId"]: instance for instance in self._instances()}
        nodes = {instance_of(node): node for node in self._api.items("/api/v1/nodes", resourceVersion="0")}
        networks = {node["spec"].get("podCIDR", "") for node in nodes.values()}
        for instance_id, instance in instances.items():
            state, node = instance["State"]["Name"], nodes.get(instance_id)
            if is_real(instance):
                # Its own kubelet makes its node and tells how it is.
                continue
            if node is None and is_running(instance):
                network = pod_network(networks)
                networks.add(network)
                self._make_node(instance, network)
            elif node is not None and state not in _DEAD:
                self._set_power(node, is_running(instance))
        alive = {name for name, instance in instances.items() if instance["State"]["Name"] not in _DEAD}
        for instance_id, node in nodes.items():
            # A node without an instance's name was made by somebody else.
            if instance_id and instance_id not in alive:
                self._remove_node(node)
        self._tell_kubelets(nodes)
        return sum(is_running(instance) for instance in instances.values())

    def _tell_kubelets(self, nodes: dict[str, Json]) -> None:
        text = json.dumps(kubelets(nodes.values()), indent=2) + "\n"
        if text != self._kubelets:
            self._told_kubelets.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(self._told_kubelets, text)
            self._kubelets = text

    def _instances(self) -> list[Json]:
        pages = self._ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 1000})
        return [
            dict(instance)
            for page in pages
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        ]

    def _make_node(self, instance: Json, network: str) -> None:
        kind = self._type(instance["InstanceType"])
        node = node_object(instance, network)
        name = node["metadata"]["name"]
        # The attach limits come first: a pod scheduled to a node without them would ignore the limit.
        with _already_there():
            self._api.create("/apis/storage.k8s.io/v1/csinodes", csi_node(instance, kind))
        with _already_there():
            self._api.create("/api/v1/nodes", node)
        self._api.patch(f"/api/v1/nodes/{name}/status", {"status": node_status(instance, kind)})
        # Only now kwok takes it: with its size known, it is Ready with its true capacity.
        self._api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {POWER: "on"}}})
        log.info("node %s made of %s", name, instance["InstanceId"])

    def _set_power(self, node: Json, running: bool) -> None:
        wanted, name = "on" if running else "off", node["metadata"]["name"]
        if node["metadata"]["labels"].get(POWER) == wanted:
            return
        # kwok lets go of a node without power: its lease runs out, and its pods hang as on a dead machine.
        self._api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {POWER: wanted}}})
        log.info("node %s is switched %s", name, wanted)

    def _remove_node(self, node: Json) -> None:
        name = node["metadata"]["name"]
        self._api.delete(f"/api/v1/nodes/{name}")
        self._api.delete(f"/apis/storage.k8s.io/v1/csinodes/{name}")
        log.info("node %s removed, its instance is gone", name)

    def _type(self, name: str) -> Json:
        if name not in self._types:
            answer = self._ec2.describe_instance_types(InstanceTypes=[name])  # type: ignore[list-item]
            self._types[name] = dict(answer["InstanceTypes"][0])
        return self._types[name]


def main() -> None:
    """Look again and again until asked to end, and write down how the last look went."""
    parser = program("Makes nodes of instances.")
    parser.add_argument("--health", type=Path, required=True, help="file that tells how the last look went")
    parser.add_argument("--kubelets", type=Path, required=True, help="file that tells where kubelets listen")
    arguments = parser.parse_args()
    start_logging()
    api = Api(arguments.kube_port, Path(arguments.certificates), keep_connections=True)
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    threading.Thread(target=_mark, args=(api, asked), daemon=True, name="attach-marker").start()
    machines, complaint = Machines(api, ec2_client(), arguments.kubelets), ""
    while not asked.wait(_PERIOD_SECONDS):
        running, problem = 0, ""
        try:
            running = machines.look()
        except CloudErrors as error:
            problem = f"EC2: {message_of(error)}"
        except ApiError as error:
            problem = f"Kubernetes: {error}"
        if problem != complaint:
            log.warning(problem or "all is well again")
            complaint = problem
        health = {"at": time.time(), "problem": problem, "running_instances": running}
        write_private(arguments.health, json.dumps(health))


def _mark(api: Api, asked: threading.Event) -> None:
    while not asked.wait(_MARKER_PERIOD_SECONDS):
        # The main loop tells about an API server that is away; this one just tries again.
        with contextlib.suppress(ApiError):
            mark_attached_pods(api)


@contextlib.contextmanager
def _already_there() -> Any:
    try:
        yield
    except ApiError as error:
        if error.status != 409:
            raise


if __name__ == "__main__":
    main()
