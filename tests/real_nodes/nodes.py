"""Real nodes and what runs on them, as tests see them: through kubectl, through their own files, and over the net."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from sandbox.layout import read_memory
from sandbox.nodes import faults, fleet
from sandbox.nodes.faults import NodeState
from sandbox.nodes.machine import Machine, machines
from tests.sandboxes import Sandbox


class Nodes:
    """The real nodes of one sandbox, in the order of their numbers."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        memory = read_memory(sandbox.layout)
        assert memory is not None
        self._kubectl = memory.programs["kubectl"]

    def all(self) -> list[NodeState]:
        return faults.states(self.sandbox.layout)

    def machines(self) -> list[Machine]:
        return machines(self.sandbox.layout)

    def names(self) -> list[str]:
        return [state.name for state in self.all()]

    def fault(self, effect: str, node: str) -> NodeState:
        return faults.EFFECTS[effect](self.sandbox.layout, node)

    def is_ready(self, node: str) -> bool:
        [found] = [one for one in self.sandbox.api.items("/api/v1/nodes") if one["metadata"]["name"] == node]
        conditions = {one["type"]: one["status"] for one in found["status"].get("conditions", [])}
        return conditions.get("Ready") == "True"

    def serves(self, node: str) -> bool:
        """Whether it does its work now; Kubernetes alone goes on believing in a dead node for a while."""
        return self.is_ready(node) and node not in fleet.not_serving(self.sandbox.layout, self.sandbox.api)

    def container(self, namespace: str, pod: str) -> str:
        """The id of a pod's ready container, empty while it is not ready; another one after every start."""
        [status] = self.pod(namespace, pod)["status"].get("containerStatuses", [])
        return str(status["containerID"]) if status["ready"] else ""

    def kubectl(self, *arguments: str, must: bool = True, stdin: str | None = None) -> str:
        """What it says; kubectl is not ours, so this is how an outsider sees the cluster."""
        result = subprocess.run(
            [self._kubectl, "--kubeconfig", str(self.sandbox.kubeconfig), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not must or result.returncode == 0, f"kubectl {' '.join(arguments)}: {result.stderr}"
        return result.stdout if must else result.stdout + result.stderr

    def execute(self, namespace: str, pod: str, *command: str) -> str:
        """Run a command in a pod's first container, through the API server and the node's kubelet."""
        return self.kubectl("exec", "-n", namespace, pod, "--", *command)

    def pod(self, namespace: str, name: str) -> Any:
        return json.loads(self.kubectl("get", "pod", "-n", namespace, name, "-o", "json"))

    def measured(self, query: str) -> list[Any]:
        """What the sandbox's Prometheus answers: one entry per series."""
        memory = read_memory(self.sandbox.layout)
        assert memory is not None
        words = urllib.parse.quote(query)
        answer = page(f"http://127.0.0.1:{memory.ports['prometheus']}/api/v1/query?query={words}")
        return list(json.loads(answer)["data"]["result"])

    def on(self, machine: Machine, *command: str) -> str:
        """Run a command inside a node, as its own programs see the world."""
        pid = machine.first_pid()
        assert pid is not None, f"{machine.plan.name} is off"
        inside = ["nsenter", "--target", str(pid), "--mount", "--net", "--uts", "--ipc", "--pid"]
        result = subprocess.run([*inside, *command], capture_output=True, text=True, timeout=30, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout


def page(address: str) -> str:
    """What a web server answers, asked without anybody in between."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=5) as answer:
        return str(answer.read().decode())


def eventually(reached: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `reached` says once it is true; what it raises meanwhile counts as not yet."""
    deadline, last = time.monotonic() + seconds, ""
    while True:
        try:
            if found := reached():
                return found
            last = "it says no"
        except (AssertionError, OSError, LookupError) as error:
            last = str(error)
        assert time.monotonic() < deadline, f"not reached in {seconds:.0f} s: {last}"
        time.sleep(0.1)
