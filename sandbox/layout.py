"""Where a sandbox keeps its files, and what it remembers between two runs.

Every module of the sandbox takes a `Layout`; nothing else in it knows a path.
"""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from sandbox.errors import NotThere, SandboxError

DEFAULT_NAME = "default"
# The longest path that the kernel accepts for a socket is 107 bytes.
_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True)
class Layout:
    """The paths of one sandbox."""

    name: str
    folder: Path

    @property
    def lock(self) -> Path:
        """Beside the folder, so that it outlives the folder's removal."""
        return self.folder.parent / f".{self.name}.lock"

    @property
    def memory(self) -> Path:
        """What was chosen when the sandbox was made: its ports and sizes."""
        return self.folder / "sandbox.json"

    @property
    def processes(self) -> Path:
        """One record per process that was started."""
        return self.folder / "processes"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.folder / "logs"

    @property
    def kwok(self) -> Path:
        """kwokctl's own folder: certificates, etcd's data."""
        return self.folder / "kwok"

    @property
    def kubeconfig(self) -> Path:
        """For the product and for kubectl."""
        return self.folder / "kubeconfig"

    @property
    def aws_credentials(self) -> Path:
        """An AWS credentials file with the profile of the simulator."""
        return self.folder / "aws-credentials"

    @property
    def aws_state(self) -> Path:
        """The simulated cloud's database."""
        return self.folder / "aws.sqlite"

    @property
    def temporal_state(self) -> Path:
        """Temporal's database."""
        return self.folder / "temporal.sqlite"

    @property
    def settings(self) -> Path:
        """The product's settings file for this sandbox."""
        return self.folder / "settings.toml"

    @property
    def machines_health(self) -> Path:
        """What the machines stand-in last saw."""
        return self.folder / "machines.json"

    @property
    def nodes(self) -> Path:
        """One folder per real node: its disk."""
        return self.folder / "nodes"

    @property
    def volumes(self) -> Path:
        """The bytes of simulated volumes that real nodes use."""
        return self.folder / "volumes"

    @property
    def images(self) -> Path:
        """Archives of the container images that every real node loads."""
        return self.folder / "images"

    @property
    def name_server(self) -> Path:
        """What the name server of real nodes' pods is told."""
        return self.folder / "Corefile"

    @property
    def hypervisor_health(self) -> Path:
        """What the hypervisor last saw."""
        return self.folder / "hypervisor.json"

    @property
    def prometheus_configuration(self) -> Path:
        """What Prometheus is told to measure."""
        return self.folder / "metrics" / "prometheus.yaml"

    @property
    def kubelets(self) -> Path:
        """Where Prometheus finds the kubelets of real nodes; it watches the whole folder that this lies in."""
        return self.folder / "metrics" / "kubelets.json"

    @property
    def prometheus_state(self) -> Path:
        """Prometheus' own folder: what it measured."""
        return self.folder / "metrics" / "data"

    @property
    def csi_socket(self) -> Path:
        """The CSI driver's socket; in the temporary folder when the path would be too long for one."""
        path = self.folder / "csi.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
            return path
        digest = sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"supergiant-{os.getuid()}-{digest}.sock"


@dataclass(frozen=True)
class Memory:
    """What a sandbox keeps from one `up` to the next."""

    ports: dict[str, int]
    nodes_per_zone: int
    instance_type: str
    ui: bool
    programs: dict[str, str]
    # The second byte of the network that real nodes have to themselves (0: not chosen yet), and their number.
    network: int = 0
    real_nodes: int = 0
    prometheus: bool = False


def layout_of(name: str = DEFAULT_NAME, environ: Mapping[str, str] = os.environ) -> Layout:
    """The paths of the sandbox with this name."""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name):
        raise NotThere(
            f"{name!r} is no name for a sandbox.",
            "Use 1 to 32 lower-case letters, digits and inner hyphens.",
        )
    return Layout(name, sandboxes_folder(environ) / name)


def sandboxes_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds one folder per sandbox; its real path, by which processes are known."""
    if home := environ.get("SUPERGIANT_SANDBOX_HOME"):
        return Path(home).expanduser().resolve()
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".local/state"
    return Path(state).resolve() / "supergiant" / "sandboxes"


def caches_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for what every sandbox of a user shares, and what can be made again."""
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".cache"
    return Path(base) / "supergiant"


def read_memory(layout: Layout) -> Memory | None:
    """What the sandbox remembers; None if there is no such sandbox."""
    try:
        memory = Memory(**json.loads(layout.memory.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise SandboxError(
            f"{layout.memory} is damaged or of another version.",
            f"Run `supergiant sandbox down --name {layout.name}` and bring it up again.",
        ) from error
    return memory


def write_memory(layout: Layout, memory: Memory) -> None:
    """Remember, whole or not at all."""
    write_private(layout.memory, json.dumps(asdict(memory), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; whoever reads it sees the old or the new one."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(draft, path)
