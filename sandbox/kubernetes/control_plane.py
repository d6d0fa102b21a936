"""A real Kubernetes control plane (etcd and the four kube programs, with kwok), made by kwokctl.

kwokctl makes it once: certificates, kubeconfig, command lines. From then on the commands are ours:
`sandbox.lifecycle` restarts any one of the five alone, as it does with every other process.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from sandbox.errors import SandboxError
from sandbox.kubernetes.api import Api, ApiError
from sandbox.kubernetes.node_objects import POWER
from sandbox.layout import Layout, Memory, write_private
from sandbox.nodes.network import Network
from sandbox.processes import MEMBERSHIP, Processes

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller")
# The name inside kwokctl's own folder, which every sandbox has to itself.
_CLUSTER = "sandbox"
_MANIFESTS = Path(__file__).parent / "manifests"


def certificates(layout: Layout) -> Path:
    """The folder of the certificates that kwokctl made."""
    return layout.kwok / "clusters" / _CLUSTER / "pki"


def api_of(layout: Layout, memory: Memory) -> Api:
    """The API server of a sandbox."""
    return Api(memory.ports["kube-apiserver"], certificates(layout))


def create(layout: Layout, memory: Memory, processes: Processes, environment: Mapping[str, str]) -> None:
    """Make a new control plane; what a broken attempt left is removed first."""
    _remove_remains(layout, processes)
    configuration = layout.folder / "kwokctl.yaml"
    write_private(configuration, yaml.safe_dump(_configuration(layout, memory), sort_keys=False))
    command = [memory.programs["kwokctl"], "create", "cluster", "--name", _CLUSTER]
    command += ["--config", str(configuration), "--kubeconfig", str(layout.kubeconfig), "--wait", "60s"]
    surroundings = {**environment, "KWOK_WORKDIR": str(layout.kwok), MEMBERSHIP: str(layout.folder)}
    log = processes.log("kwokctl")
    with log.open("ab") as file:
        try:
            result = subprocess.run(
                command,
                env=surroundings,
                cwd=layout.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _no_control_plane(log) from error
    if result.returncode:
        raise _no_control_plane(log)
    layout.kubeconfig.chmod(0o600)
    for component in COMPONENTS:
        _adopt(layout, component, processes)


def is_made(layout: Layout, processes: Processes) -> bool:
    """Whether kwokctl once came to its end: every component recorded, and its files still there."""
    files = (layout.kubeconfig, certificates(layout) / "admin.key")
    known = (processes.recorded_arguments(component) for component in COMPONENTS)
    return all(path.exists() for path in files) and all(known)


def first_log(layout: Layout, component: str) -> Path:
    """Where a component wrote when kwokctl started it; after a restart it writes beside the others."""
    return layout.kwok / "clusters" / _CLUSTER / "logs" / f"{component}.log"


def forget_node_leases(api: Api) -> None:
    """Before kwok starts: a new kwok would wait 200 s for the leases of the old one to run out."""
    try:
        api.delete("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
    except ApiError as error:
        if error.status != 0:
            raise


def apply_manifests(api: Api) -> None:
    """The lifecycle of simulated nodes and pods, and the storage classes."""
    for path in sorted(_MANIFESTS.glob("*.yaml")):
        for manifest in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader):
            api.apply(manifest)


def _adopt(layout: Layout, component: str, processes: Processes) -> None:
    try:
        pid = int((layout.kwok / "clusters" / _CLUSTER / "pids" / f"{component}.pid").read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (OSError, ValueError) as error:
        raise SandboxError(
            f"{component} ended right after its start.",
            f"Its log: {first_log(layout, component)}",
        ) from error
    processes.adopt(component, tuple(os.fsdecode(argument) for argument in arguments), pid)


def _remove_remains(layout: Layout, processes: Processes) -> None:
    for component in COMPONENTS:
        processes.kill(component)
    shutil.rmtree(layout.kwok, ignore_errors=True)
    layout.kubeconfig.unlink(missing_ok=True)


def _for_nodes(layout: Layout, memory: Memory) -> list[dict[str, str]]:
    if not memory.network:
        # Its default holds 254 services; a hundred components need more.
        return [{"key": "service-cluster-ip-range", "value": "10.96.0.0/16"}]
    network, admin = Network(memory.network), certificates(layout)
    return [
        {"key": "service-cluster-ip-range", "value": network.services},
        # What real nodes need; without them it does no harm, and they may be asked for later.
        {"key": "advertise-address", "value": network.host},
        {"key": "kubelet-client-certificate", "value": str(admin / "admin.crt")},
        {"key": "kubelet-client-key", "value": str(admin / "admin.key")},
        {"key": "kubelet-preferred-address-types", "value": "InternalIP"},
    ]


def _no_control_plane(log: Path) -> SandboxError:
    lines = log.read_text(errors="replace").splitlines()
    return SandboxError("kwokctl could not make the control plane: " + " | ".join(lines[-3:]), f"Log: {log}")


def _configuration(layout: Layout, memory: Memory) -> dict[str, object]:
    ports, programs = memory.ports, memory.programs
    # Without leader election a component that was killed works again at once, not after 17 s.
    alone = {"key": "leader-elect", "value": "false"}
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "metadata": {"name": "kwokctl"},
        "options": {
            "runtime": "binary",
            # Its default is 0.0.0.0 for every component, etcd without a password included.
            "bindAddress": "127.0.0.1",
            "kubeApiserverPort": ports["kube-apiserver"],
            "etcdPort": ports["etcd"],
            "etcdPeerPort": ports["etcd-peer"],
            "kubeControllerManagerPort": ports["kube-controller-manager"],
            "kubeSchedulerPort": ports["kube-scheduler"],
            "kwokControllerPort": ports["kwok-controller"],
            "enableCRDs": ["Stage"],
            "disableQPSLimits": True,
            # Every program is named, or kwokctl would try to download it.
            "etcdBinary": programs["etcd"],
            "kubeApiserverBinary": programs["kube-apiserver"],
            "kubeControllerManagerBinary": programs["kube-controller-manager"],
            "kubeSchedulerBinary": programs["kube-scheduler"],
            "kwokControllerBinary": programs["kwok"],
            "kubectlBinary": programs["kubectl"],
        },
        "componentsPatches": [
            {
                "name": "kube-apiserver",
                "extraArgs": _for_nodes(layout, memory),
            },
            {"name": "kube-scheduler", "extraArgs": [alone]},
            {
                "name": "kube-controller-manager",
                # Kubernetes' own defaults; kwokctl's would tell of a dead node after minutes only.
                "extraArgs": [
                    alone,
                    {"key": "node-monitor-period", "value": "5s"},
                    {"key": "node-monitor-grace-period", "value": "40s"},
                ],
            },
            {
                "name": "kwok-controller",
                # kwok plays the kubelet of a node as long as its machine has power.
                "extraArgs": [
                    # Renewed each quarter of it, as a kubelet does.
                    {"key": "node-lease-duration-seconds", "value": "40"},
                    {"key": "manage-all-nodes", "value": "false"},
                    {"key": "manage-nodes-with-label-selector", "value": f"{POWER}=on"},
                ],
            },
        ],
    }
