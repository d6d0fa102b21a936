"""All that one real node has to know, in one file that its first process reads.

The hypervisor writes it before it starts the node; the node's own programs take the rest from there.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.layout import write_private
from sandbox.nodes.network import Network


@dataclass(frozen=True)
class NodePlan:
    """One node."""

    number: int
    name: str
    instance_id: str
    instance_type: str
    zone: str
    most_volumes: int
    octet: int
    # Folders: of the node alone, of all volumes, of images to load, of logs, of the control plane's certificates.
    folder: str
    volumes: str
    images: str
    logs: str
    certificates: str
    kube_port: int
    aws_port: int
    aws_credentials: str
    aws_profile: str
    region: str
    kubelet: str
    kube_proxy: str

    @property
    def network(self) -> Network:
        """The sandbox's addresses."""
        return Network(self.octet)

    @property
    def address(self) -> str:
        """The node's own address."""
        return self.network.node(self.number)

    @property
    def home(self) -> Path:
        """The node's own folder."""
        return Path(self.folder)

    @property
    def node_kubeconfig(self) -> Path:
        """How its kubelet and kube-proxy reach the API server."""
        return self.home / "kubeconfig"

    @property
    def kubelet_held(self) -> Path:
        """While this file exists, the kubelet is not started."""
        return self.home / "kubelet-held"

    def loaded_mark(self, archive: Path) -> Path:
        """A file that is there once this very archive has been loaded on the node."""
        state, folder = archive.stat(), self.home / "loaded-images"
        folder.mkdir(exist_ok=True)
        return folder / f"{archive.stem}-{state.st_size}-{state.st_mtime_ns}"

    def log(self, program: str) -> Path:
        """Where a program of the node writes."""
        return Path(self.logs) / f"node-{self.number}-{program}.log"

    def write(self) -> Path:
        """Keep it in the node's folder."""
        path = self.home / "node.json"
        write_private(path, json.dumps(asdict(self), indent=2) + "\n")
        return path


def read_plan(path: Path) -> NodePlan:
    """A node's plan, as it was written."""
    try:
        return NodePlan(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise SandboxError(
            f"{path} is damaged or of another version.", "Take the sandbox down and bring it up again."
        ) from error
