"""Starts what of a sandbox does not run, side by side as far as one thing does not need another.

`sandbox.lifecycle` makes one `Startup` per `up` or `start`. Every step looks first and acts on the
difference, so the same steps make a new sandbox and repair a broken one.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.kubernetes import control_plane
from sandbox.kubernetes.api import Api, ApiError
from sandbox.kubernetes.node_objects import instance_of
from sandbox.layout import Layout, Memory
from sandbox.nodes import fleet
from sandbox.ports import is_free
from sandbox.processes import Command, Processes, last_line
from sandbox.progress import Progress
from sandbox.services import ZONES, cloud_environment, commands, environment, log_of, services

# The image that the simulated cloud keeps for sandboxes; it runs on any instance type.
_IMAGE = "ami-05a9db0c000000001"
_PATIENCE_SECONDS = 60.0
_PATIENCE_PER_NODE_SECONDS = 10.0
_PERIOD_SECONDS = 0.1
_PORT_PATIENCE_SECONDS = 2.0
# The side-cars end when their driver does; in a cluster the kubelet starts them again.
_END_WITH = {"csi-driver": ("csi-attacher", "csi-resizer")}


class Startup:
    """One attempt to have everything running."""

    def __init__(self, layout: Layout, memory: Memory, progress: Progress) -> None:
        self._layout = layout
        self._memory = memory
        self._progress = progress
        self._processes = Processes(layout)
        self._services = services(layout, memory)
        self._api = control_plane.api_of(layout, memory)
        self._given_up = threading.Event()
        self._expected_instances: list[str] = []
        self._more = ("prometheus",) if memory.prometheus else ()

    def everything(self) -> None:
        """Returns when every process serves and every node is Ready."""
        started = time.monotonic()
        self._processes.end_unrecorded()
        self._check_ports()
        # A node takes its time to boot: it begins while the control plane is being made.
        early = ("gateway", "hypervisor") if self._memory.real_nodes else ()
        late = ("coredns",) if self._memory.real_nodes else ()
        self._side_by_side(
            lambda: self._bring_up("temporal"),
            self._kubernetes,
            lambda: self._cloud(early),
            lambda: self._bring_up("csi-driver"),
        )
        self._side_by_side(
            *(
                partial(self._bring_up, name)
                for name in ("csi-attacher", "csi-resizer", "machines", *late, *self._more)
            )
        )
        self._await_nodes()
        self._progress.say(f"The sandbox is up ({time.monotonic() - started:.1f} s).")

    def one(self, name: str) -> None:
        """Returns when this process serves."""
        if self._processes.find(name) is None:
            self._start(name)
        self._await_service(name)
        for dependant in _END_WITH.get(name, ()):
            self._bring_up(dependant)

    def _side_by_side(self, *steps: Callable[[], None]) -> None:
        with ThreadPoolExecutor(len(steps)) as pool:
            futures = [pool.submit(step) for step in steps]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                # The others need not go on waiting for what will not be used.
                self._given_up.set()
                raise

    def _kubernetes(self) -> None:
        if control_plane.is_made(self._layout, self._processes):
            for component in control_plane.COMPONENTS:
                if component == "kwok-controller" and self._processes.find(component) is None:
                    # It must not start before the leases of the old one are deleted.
                    self._await_service("kube-apiserver")
                self._start_if_missing(component)
        else:
            self._progress.say("Making a Kubernetes control plane ...")
            control_plane.create(self._layout, self._memory, self._processes, environment())
        for component in control_plane.COMPONENTS:
            self._await_service(component)
        self._until(self._definitions_applied, "the API server takes the sandbox's definitions")
        self._progress.say("Kubernetes is up.")

    def _cloud(self, then: tuple[str, ...]) -> None:
        self._bring_up("aws")
        self._fill_pool()
        for name in then:
            self._bring_up(name)

    def _fill_pool(self) -> None:
        command = [sys.executable, "-P", "-m", "sandbox.kubernetes.pool"]
        command += [argument for zone in ZONES for argument in ("--zone", zone)]
        command += ["--per-zone", str(self._memory.nodes_per_zone)]
        command += ["--real-nodes", str(self._memory.real_nodes)]
        command += ["--instance-type", self._memory.instance_type, "--image", _IMAGE]
        try:
            result = subprocess.run(
                command,
                env=cloud_environment(self._layout, self._memory),
                cwd=self._layout.folder,
                capture_output=True,
                text=True,
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SandboxError(
                "The simulated cloud does not answer.", f"Its log: {self._processes.log('aws')}"
            ) from error
        if result.returncode:
            raise SandboxError(
                f"The simulated cloud started no instances: {result.stderr.strip()[-500:]}",
                "If that is a fault you asked for: `supergiant sandbox fault clear`. "
                f"Its log: {self._processes.log('aws')}",
            )
        self._expected_instances = json.loads(result.stdout)

    def _bring_up(self, name: str) -> None:
        self._start_if_missing(name)
        self._await_service(name)

    def _start_if_missing(self, name: str) -> None:
        if self._processes.find(name) is not None:
            if self._processes.recorded_arguments(name) == self._command(name).arguments:
                return
            self._progress.say(f"{name} has to run with other options now: it is restarted.")
            self._processes.kill(name)
        self._start(name)
        self._progress.say(f"Started {name}.")

    def _start(self, name: str) -> None:
        if name == "kwok-controller":
            control_plane.forget_node_leases(self._api)
        if name == "machines":
            self._layout.machines_health.unlink(missing_ok=True)
        if name == "hypervisor":
            self._layout.hypervisor_health.unlink(missing_ok=True)
        self._processes.start(self._command(name))

    def _command(self, name: str) -> Command:
        if name not in control_plane.COMPONENTS:
            return commands(self._layout, self._memory)[name]
        arguments = self._processes.recorded_arguments(name)
        if arguments is None:
            raise SandboxError(
                f"{name} was never made.", f"Run `supergiant sandbox up --name {self._layout.name}`."
            )
        return Command(name, arguments, environment())

    def _await_service(self, name: str) -> None:
        def serves() -> bool:
            if self._processes.find(name) is None:
                log = log_of(self._layout, name)
                raise SandboxError(f"{name} ended: {last_line(log)}", f"Its log: {log}")
            return self._services[name].healthy()

        self._until(serves, f"{name} serves", log_of(self._layout, name))

    def _await_nodes(self) -> None:
        wanted = set(self._expected_instances)

        idle = dict[str, str]()

        def enough() -> bool:
            ready = len(wanted & _instances_of_ready_nodes(self._api))
            idle.clear()
            if self._memory.real_nodes:
                with contextlib.suppress(ApiError):
                    idle.update(fleet.not_serving(self._layout, self._api))
            self._progress.update(
                f"{min(ready, len(wanted) - len(idle))} of {len(wanted)} nodes are Ready ..."
            )
            return ready == len(wanted) and not idle

        try:
            self._until(enough, f"{len(wanted)} nodes are Ready", self._processes.log("machines"))
        except SandboxError as error:
            if not idle:
                raise
            name, reason = next(iter(idle.items()))
            reason = fleet.why_silent(self._layout, name) or reason
            raise SandboxError(error.problem, f"Node {name}: {reason}") from error

    def _definitions_applied(self) -> bool:
        try:
            control_plane.apply_manifests(self._api)
        except ApiError as error:
            # The kinds of kwok are served a moment after they were defined.
            if error.status in (0, 404, 429, 503):
                return False
            raise SandboxError(f"Kubernetes refuses the sandbox's definitions: {error}") from error
        return True

    def _check_ports(self) -> None:
        for service in self._services.values():
            if self._processes.find(service.name) is not None:
                continue
            for port in service.ports:
                # The kernel closes the sockets of a killed process a moment after its end.
                deadline = time.monotonic() + _PORT_PATIENCE_SECONDS
                while not (free := is_free(port)) and time.monotonic() < deadline:
                    time.sleep(_PERIOD_SECONDS)
                if not free:
                    raise SandboxError(
                        f"Another program has port {port}, which {service.name} of this sandbox uses.",
                        "End that program, or get new ports: "
                        f"`supergiant sandbox down --name {self._layout.name}` "
                        "(removes the sandbox's state), then up.",
                    )

    def _until(self, reached: Callable[[], bool], what: str, log: Path | None = None) -> None:
        # Real nodes boot all at once, and each takes some seconds of a core.
        patience_seconds = _PATIENCE_SECONDS + _PATIENCE_PER_NODE_SECONDS * self._memory.real_nodes
        deadline = time.monotonic() + patience_seconds
        while not reached():
            if self._given_up.is_set():
                raise SandboxError("Given up, because something else failed.")
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"After {patience_seconds:.0f} s it is still not so that {what}.",
                    f"See {log or self._layout.logs}",
                )
            time.sleep(_PERIOD_SECONDS)


def _instances_of_ready_nodes(api: Api) -> set[str]:
    try:
        nodes = api.items("/api/v1/nodes")
    except ApiError:
        return set()
    return {
        instance_of(node)
        for node in nodes
        if any(
            it["type"] == "Ready" and it["status"] == "True" for it in node["status"].get("conditions", [])
        )
    }
