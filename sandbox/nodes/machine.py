"""One real node from the outside, as the rack sees a machine: power, cable, disks.

The hypervisor switches it on and off as EC2 says; `sandbox.nodes.faults` breaks it. State that must outlive a
crash of either is a file in the node's folder.
"""

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox.errors import NotThere, SandboxError
from sandbox.layout import Layout
from sandbox.nodes import cgroups, links, loops
from sandbox.nodes.network import Network
from sandbox.nodes.plan import NodePlan, read_plan
from sandbox.processes import Command, Processes, Running

KUBELET_PORT = 10250
_NAMESPACES = ("--fork", "--kill-child=KILL", "--pid", "--mount", "--net", "--uts", "--ipc", "--mount-proc")
# From linux/fs.h; flag 2 keeps even the journal from being written, as a power failure does.
_FS_SHUTDOWN, _WITHOUT_JOURNAL = 0x8004587D, 2
_PATIENCE_SECONDS = 10.0
_PERIOD_SECONDS = 0.02


class Machine:
    """One node; it may be on or off."""

    def __init__(self, layout: Layout, plan: NodePlan) -> None:
        self.plan = plan
        self._layout = layout
        self._processes = Processes(layout)

    @property
    def process_name(self) -> str:
        """Under which the supervisor records it."""
        return f"node-{self.plan.number}"

    @property
    def crashed(self) -> Path:
        """While this file exists, the node stays without power although EC2 says that it runs."""
        return self.plan.home / "crashed"

    @property
    def cut_off(self) -> Path:
        """While this file exists, the node's cable is cut."""
        return self.plan.home / "cut-off"

    @property
    def log(self) -> Path:
        """What its first process writes."""
        return self._processes.log(self.process_name)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, nobody else changes this node; NotThere if it has gone, or its number is another's by now."""
        path = self.plan.home / "lock"
        while True:
            try:
                with path.open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    # The folder goes with the node, and whoever waited holds a lock that nobody else will ask for.
                    if not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                        continue
                    if read_plan(self.plan.home / "node.json").instance_id != self.plan.instance_id:
                        raise NotThere(f"Node {self.plan.name} is gone.")
                    yield
                    return
            except FileNotFoundError as error:
                if self.plan.home.exists():
                    raise
                raise NotThere(f"Node {self.plan.name} is gone.") from error

    def is_on(self) -> bool:
        """Whether it has power."""
        return self._processes.find(self.process_name) is not None

    def on_since(self) -> float | None:
        """When it was switched on, in seconds since the epoch; None without power."""
        running = self._processes.find(self.process_name)
        return running.started_at if running else None

    def why_silent(self) -> str:
        """What keeps it from reaching the API server, in a sentence; empty if nothing does."""
        pid, address = self.first_pid(), (self.plan.network.host, self.plan.kube_port)
        if pid is None:
            return ""
        reach = f"import socket; socket.create_connection({address!r}, 2)"
        inside = ("nsenter", "--target", str(pid), "--net", sys.executable, "-c", reach)
        if subprocess.run(inside, capture_output=True, check=False).returncode == 0:
            return ""
        return (
            f"it cannot reach this machine at {address[0]}:{address[1]}; if a firewall runs here (firewalld, ufw), it "
            f"must let in what comes from the interface {self.plan.network.switch}"
        )

    def is_half_made(self) -> bool:
        """Whether it has power and no cable, because whoever switched it on did not come to lay it."""
        return self.is_on() and not links.is_plugged_in(self.plan.network, self.plan.number)

    def first_pid(self) -> int | None:
        """The machine's pid of the node's first process."""
        running = self._processes.find(self.process_name)
        if running is None:
            return None
        children = _children(running.pid)
        return children[0] if children else None

    def switch_on(self, environment: Mapping[str, str]) -> None:
        """Give it power and its cable; it boots on its own from here."""
        plan = self.plan
        self.clear_up()
        cgroups.make(plan.network.cgroup(plan.number))
        program = (sys.executable, "-P", "-m", "sandbox.nodes.init", str(plan.write()))
        command = Command(self.process_name, ("unshare", *_NAMESPACES, *program), environment)
        self._processes.start(command)
        try:
            pid = self._until_first_process()
            links.plug_in(plan.network, plan.number, pid, connected=not self.cut_off.exists())
        except BaseException:
            # Without its cable it would wait for a minute and then begin again.
            self.switch_off()
            raise

    def switch_off(self, losing_data: bool = False) -> None:
        """Take its power away. What was written but not yet on the disks is lost if that is asked for."""
        pid = self.first_pid()
        if pid is not None and losing_data:
            _shut_file_systems_down(pid)
        self.kill()
        self.clear_up()

    def kill(self) -> None:
        """End every process of it, and wait until they are gone."""
        pid = self.first_pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            # The outer process ends when the kernel has taken the last one of the node down.
            while self.is_on() and time.monotonic() < deadline:
                time.sleep(_PERIOD_SECONDS)
        self._processes.kill(self.process_name)

    def mend(self) -> None:
        """Undo whatever was broken on purpose; the hypervisor gives power back."""
        self.crashed.unlink(missing_ok=True)
        self.plan.kubelet_held.unlink(missing_ok=True)
        if self.cut_off.exists():
            self.connect(True)

    def clear_up(self) -> None:
        """Remove what a node leaves outside of its namespaces."""
        links.unplug(self.plan.network, self.plan.number)
        cgroups.remove(self.plan.network.cgroup(self.plan.number))

    def forget(self) -> None:
        """Remove its own disk; it never comes back."""
        shutil.rmtree(self.plan.home, ignore_errors=True)

    def connect(self, connected: bool) -> None:
        """Mend its cable or cut it."""
        if connected:
            self.cut_off.unlink(missing_ok=True)
        else:
            self.cut_off.touch()
        if self.is_on():
            links.connect(self.plan.network, self.plan.number, connected)

    def kubelet_answers(self) -> bool:
        """Whether something takes connections where its kubelet should."""
        try:
            socket.create_connection((self.plan.address, KUBELET_PORT), timeout=1).close()
        except OSError:
            return False
        return True

    def memory_mib(self) -> int:
        """Resident memory of everything that runs on it, the pods' programs included."""
        pid = self.first_pid()
        if pid is None:
            return 0
        family = _family(pid)
        return sum(Running(one, 0).memory_mib for one in family)

    def kill_kubelet(self) -> None:
        """End the kubelet alone, and keep it from being started; its containers go on."""
        pid = self.first_pid()
        if pid is None:
            raise SandboxError(f"Node {self.plan.name} is off.", "`supergiant sandbox fault node reboot` it.")
        self.plan.kubelet_held.touch()
        for child in _children(pid):
            with suppress(OSError):
                program = Path(os.readlink(f"/proc/{child}/exe"))
                if program == Path(self.plan.kubelet).resolve():
                    os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        # Its sockets are closed a moment after the signal.
        while self.kubelet_answers() and time.monotonic() < deadline:
            time.sleep(_PERIOD_SECONDS)

    def _until_first_process(self) -> int:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (pid := self.first_pid()) is None:
            if time.monotonic() > deadline or not self.is_on():
                raise SandboxError(f"Node {self.plan.name} did not start.", f"Its log: {self.log}")
            time.sleep(_PERIOD_SECONDS)
        return pid


def machines(layout: Layout) -> list[Machine]:
    """Every node that the sandbox has or had, by number; one whose file is damaged counts as gone."""
    found = list[Machine]()
    for path in layout.nodes.glob("*/node.json"):
        with suppress(SandboxError, OSError):
            found.append(Machine(layout, read_plan(path)))
    return sorted(found, key=lambda machine: machine.plan.number)


def some_machines(layout: Layout) -> list[Machine]:
    """The same, for whoever needs one; NotThere if there is none."""
    if found := machines(layout):
        return found
    raise NotThere(
        f"Sandbox {layout.name} has no real nodes.",
        f"Bring it up with some: `supergiant sandbox up --name {layout.name} --real-nodes 3`.",
    )


def make_room(layout: Layout, network: Network, number: int) -> Path:
    """An empty folder for a new node of this number. What another one left there, perhaps running and with a file
    that this version cannot read, is ended first."""
    Processes(layout).kill(f"node-{number}")
    links.unplug(network, number)
    cgroups.remove(network.cgroup(number))
    folder = layout.nodes / str(number)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _shut_file_systems_down(pid: int) -> None:
    """Stop all writing to the disks of a node, at once and for good."""
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        # It lost its power a moment ago by other means.
        return
    for line in lines:
        fields = line.split()
        major, kind = fields[2].partition(":")[0], fields[fields.index("-") + 1]
        if int(major) != loops.MAJOR or kind not in ("ext4", "xfs"):
            continue
        # Through its first process the node's mounts are seen from here.
        with suppress(OSError):
            descriptor = os.open(f"/proc/{pid}/root{fields[4]}", os.O_RDONLY)
            try:
                fcntl.ioctl(descriptor, _FS_SHUTDOWN, struct.pack("I", _WITHOUT_JOURNAL))
            finally:
                os.close(descriptor)


def _family(pid: int) -> list[int]:
    """The process and all that came from it."""
    return [pid, *(one for child in _children(pid) for one in _family(child))]


def _children(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in children]
