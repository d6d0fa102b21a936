"""The first process of a real node: makes a machine of a set of namespaces, then starts and reaps.

Run by the hypervisor as `unshare ... python -m sandbox.nodes.init PLAN`. When it is killed, the kernel ends every
process of the node and drops its mounts and networks: that is a power failure, and the removal of the node too.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from sandbox.nodes import configuration
from sandbox.nodes.links import ip
from sandbox.nodes.network import MOST_NODES
from sandbox.nodes.plan import NodePlan, read_plan
from sandbox.processes import MEMBERSHIP

_PERIOD_SECONDS = 0.25
_RESTART_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
# Character devices that programs and containers expect, as major, minor and mode.
_DEVICES = {
    "null": (1, 3, 0o666),
    "zero": (1, 5, 0o666),
    "full": (1, 7, 0o666),
    "random": (1, 8, 0o666),
    "urandom": (1, 9, 0o666),
    "kmsg": (1, 11, 0o644),
    "tty": (5, 0, 0o666),
    "fuse": (10, 229, 0o600),
    "loop-control": (10, 237, 0o600),
}

# What a kubelet (1.37) wants of the kernel, below /proc/sys.
_KUBELETS_SETTINGS = {
    "kernel/keys/root_maxbytes": 25_000_000,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
}


def main() -> None:
    """Never returns: a node ends by losing power."""
    plan = read_plan(Path(sys.argv[1]))
    _mounts(plan)
    _devices()
    _network(plan)
    _files(plan)
    keeper = Keeper(plan, _environment())
    keeper.start("containerd")
    _await_containerd(keeper)
    load_images(plan)
    keeper.keep()


class Keeper:
    """Keeps the node's programs running, as its service manager would, and reaps what they orphan."""

    def __init__(self, plan: NodePlan, environment: Mapping[str, str]) -> None:
        self._plan = plan
        self._environment = environment
        python = [sys.executable, "-P", "-m"]
        self._commands = {
            "containerd": ["containerd", "--config", "/run/containerd.toml"],
            "csi": [*python, "sandbox.nodes.csi_node", str(plan.home / "node.json")],
            "kubelet": configuration.kubelet_arguments(plan),
            "kube-proxy": configuration.kube_proxy_arguments(plan),
        }
        self._pids: dict[int, str] = {}
        self._not_before: dict[str, float] = {}

    def start(self, name: str) -> None:
        """Start one program."""
        command = self._commands[name]
        log, flags = str(self._plan.log(name)), os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawnp(
            command[0],
            command,
            dict(self._environment),
            setsigdef=(signal.SIGPIPE,),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        self._pids[pid] = name

    def keep(self) -> None:
        """Start what does not run, for ever."""
        while True:
            self.reap()
            running = set(self._pids.values())
            for name in self._commands:
                late_enough = time.monotonic() >= self._not_before.get(name, 0)
                if name not in running and late_enough and self._may_run(name):
                    self.start(name)
            time.sleep(_PERIOD_SECONDS)

    def _may_run(self, name: str) -> bool:
        if name == "kubelet" and self._plan.kubelet_held.exists():
            return False
        # A new sandbox makes its nodes and its control plane at the same time.
        made = Path(self._plan.certificates, "admin.key").exists()
        return made or name not in ("kubelet", "kube-proxy")

    def reap(self) -> None:
        """Take leave of every process that has ended, the orphans of containers included."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if name := self._pids.pop(pid, None):
                self._not_before[name] = time.monotonic() + _RESTART_SECONDS


def load_images(plan: NodePlan) -> None:
    """Load every image that the sandbox keeps and this node has not loaded yet."""
    for archive in sorted(Path(plan.images).glob("*.tar")):
        mark = plan.loaded_mark(archive)
        if mark.exists():
            continue
        if problem := _attempt("ctr", "--namespace", "k8s.io", "images", "import", str(archive)):
            # Pods that need it will say so; the node serves all others.
            sys.stderr.write(f"{archive.name} cannot be loaded: {problem}\n")
        else:
            mark.touch()


def _mounts(plan: NodePlan) -> None:
    _run("mount", "--make-rprivate", "/")
    # In a container even the root may be an overlay, and everything that the node needs lies on it.
    programs = (sys.executable, sys.prefix, __file__, plan.kubelet, plan.kube_proxy)
    _drop_foreign_mounts((plan.folder, plan.volumes, plan.images, plan.logs, plan.certificates, *programs))
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    # Whole folders, so that no mount point has to be made in the machine's own.
    for inside in ("/var/lib", "/var/log"):
        own = plan.home / inside.strip("/").replace("/", "-")
        own.mkdir(exist_ok=True)
        _run("mount", "--bind", str(own), inside)
    for folder in ("/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni"):
        Path(folder).mkdir(exist_ok=True)
    _keep_the_kernel_as_it_is()


def _keep_the_kernel_as_it_is() -> None:
    """A kubelet sets what belongs to the whole machine, such as to reboot after an oops. It reads first, and here it
    reads that all is as it wants."""
    folder = Path("/run/kernel-settings")
    folder.mkdir()
    for path, value in _KUBELETS_SETTINGS.items():
        setting = Path("/proc/sys", path)
        if setting.exists():
            shown = folder / path.replace("/", ".")
            shown.write_text(f"{value}\n")
            _run("mount", "--bind", str(shown), str(setting))


def _drop_foreign_mounts(needed: Iterable[str]) -> None:
    """Copies of other programs' mounts would keep their disks, overlays and networks busy as long as we live."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    for source, target, kind, *_ in reversed(lines):
        foreign = source.startswith("/dev/loop") or kind in ("overlay", "nsfs") or kind.startswith("fuse")
        if foreign and not any(Path(path).is_relative_to(target) for path in needed):
            subprocess.run(["umount", "-l", target], capture_output=True, check=False)


def _devices() -> None:
    """A /dev of the node's own: the disks in it are those attached to this node."""
    new = Path("/run/dev")
    new.mkdir()
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "dev", str(new))
    for name, (major, minor, mode) in _DEVICES.items():
        os.mknod(new / name, 0o020000 | mode, os.makedev(major, minor))
        (new / name).chmod(mode)
    for name in ("pts", "shm", "mqueue"):
        (new / name).mkdir()
    _run("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620", "devpts", str(new / "pts"))
    _run("mount", "-t", "tmpfs", "-o", "mode=1777", "shm", str(new / "shm"))
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0")):
        (new / name).symlink_to(target)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        (new / name).symlink_to(f"/proc/self/fd/{number}")
    _run("mount", "--rbind", str(new), "/dev")


def _network(plan: NodePlan) -> None:
    """Wait for the cable, and put the node's address on it."""
    _run("hostname", plan.name.partition(".")[0])
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not Path("/proc/sys/net/ipv4/conf/eth0").exists():
        if time.monotonic() > deadline:
            sys.exit("the node got no cable")
        time.sleep(0.02)
    network = plan.network
    ip("link", "set", "lo", "up")
    ip("addr", "replace", f"{plan.address}/24", "dev", "eth0")
    ip("link", "set", "eth0", "up")
    peers = (number for number in range(1, MOST_NODES + 1) if number != plan.number)
    routes = [f"route replace {network.pods_of(number)} via {network.node(number)}" for number in peers]
    # No default route: what does not come from the sandbox's own network gets no answer.
    ip("-batch", "-", standard_input="\n".join([f"route replace {network.all} via {network.host}", *routes]))
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _files(plan: NodePlan) -> None:
    cni = Path(configuration.CNI_FOLDER)
    cni.mkdir()
    (cni / "10-pods.conflist").write_text(configuration.cni_json(plan))
    Path("/run/containerd.toml").write_text(configuration.containerd_toml())
    Path("/run/kubelet.yaml").write_text(configuration.kubelet_yaml(plan))
    # Pods ask the sandbox's own name server and nobody else.
    Path("/run/resolv.conf").touch()
    plan.node_kubeconfig.write_text(configuration.kubeconfig(plan))
    for socket in (configuration.CSI_SOCKET, configuration.CSI_REGISTRATION):
        Path(socket).parent.mkdir(parents=True, exist_ok=True)
        Path(socket).unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """The sandbox's mark stays with this process alone: with it, everything else of the node ends."""
    return {name: value for name, value in os.environ.items() if name != MEMBERSHIP}


def _await_containerd(keeper: Keeper) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while subprocess.run(["ctr", "version"], capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            sys.exit("containerd does not answer; see its log")
        time.sleep(0.05)


def _run(*command: str) -> None:
    if problem := _attempt(*command):
        sys.exit(f"{' '.join(command)}: {problem}")


def _attempt(*command: str) -> str:
    """Run a program; what it complains about, empty if it is content."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (result.stderr or result.stdout).strip() or "it failed" if result.returncode else ""


if __name__ == "__main__":
    main()
