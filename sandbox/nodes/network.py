"""The addresses and names of one sandbox's real nodes: pure functions of one number.

The number is the second byte of a 10.x network that no other sandbox and nothing else on the machine uses.
`sandbox.lifecycle` chooses it when a sandbox is made; everything of `sandbox.nodes` takes it from there.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

from sandbox.errors import SandboxError

# Outside of what kwok and most private networks and virtual machines use.
_OCTETS = range(130, 230)
_WHOLE = IPv4Network("10.0.0.0/8")
# Each costs about 250 MiB of memory, and 7 of the 128 inotify instances that a user has by default.
MOST_NODES = 12


@dataclass(frozen=True)
class Network:
    """Where everything of one sandbox is. Nodes are numbered from 1."""

    octet: int

    @property
    def switch(self) -> str:
        """What the nodes hang on: the name of its namespace, and of this machine's link to it. A name of a link has
        15 characters at most."""
        return f"sg{self.octet}"

    @property
    def host(self) -> str:
        """The machine itself, as the nodes see it."""
        return f"10.{self.octet}.0.1"

    @property
    def nodes(self) -> str:
        """The nodes and the machine."""
        return f"10.{self.octet}.0.0/24"

    @property
    def pods(self) -> str:
        """The pods of all nodes. The machine's own address is none of them, or answers to its calls of a ClusterIP
        would come from the pod itself and not the way that they went."""
        return f"10.{self.octet}.64.0/18"

    @property
    def all(self) -> str:
        """Everything of the sandbox, and nothing else."""
        return f"10.{self.octet}.0.0/16"

    @property
    def inside(self) -> str:
        """The machine, the nodes and the pods: whoever may call the machine over the bridge."""
        return f"10.{self.octet}.0.0/17"

    @property
    def services(self) -> str:
        """The ClusterIPs."""
        return f"10.{self.octet}.128.0/17"

    @property
    def cgroup_prefix(self) -> str:
        """What the names of all its cgroups begin with."""
        return f"sg{self.octet}-n"

    def node(self, number: int) -> str:
        """The address of a node."""
        return f"10.{self.octet}.0.{10 + number}"

    def pods_of(self, number: int) -> str:
        """The addresses of a node's pods."""
        return f"10.{self.octet}.{64 + number}.0/24"

    def link(self, number: int) -> str:
        """The switch's end of the cable to a node."""
        return f"sg{self.octet}n{number}"

    def cgroup(self, number: int) -> str:
        """What all containers of a node run under."""
        return f"{self.cgroup_prefix}{number}"


def choose_octet(folder: Path, routes: Callable[[], Iterable[IPv4Network]] | None = None) -> int:
    """A number for the sandbox in this folder; whoever calls holds the lock under which ports are chosen."""
    # Wider ones than 10.0.0.0/8 are default routes in disguise, as tunnels make them.
    used = [route for route in (routes or routes_of_this_machine)() if route.prefixlen >= _WHOLE.prefixlen]
    taken = _of_other_sandboxes(folder.parent)
    turn = int.from_bytes(sha256(os.fsencode(folder)).digest()[4:8])
    for step in range(len(_OCTETS)):
        octet = _OCTETS[(turn + step) % len(_OCTETS)]
        network = IPv4Network(f"10.{octet}.0.0/16")
        if octet not in taken and not any(network.overlaps(other) for other in used):
            return octet
    raise SandboxError(
        f"No network between 10.{_OCTETS[0]}.0.0/16 and 10.{_OCTETS[-1]}.0.0/16 is free on this machine.",
        "Take down sandboxes that are no longer needed: `supergiant sandbox down --name ...`.",
    )


def routes_of_this_machine(table: Path = Path("/proc/net/route")) -> list[IPv4Network]:
    """Every network that the machine routes somewhere; the default route is none."""
    found = []
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
        if mask:
            found.append(IPv4Network((address, mask.bit_count())))
    return found


def holds(network: str, address: str) -> bool:
    """Whether an address lies in a network."""
    return ip_address(address) in ip_network(network)


def _of_other_sandboxes(sandboxes: Path) -> set[int]:
    taken = set[int]()
    for path in sandboxes.glob("*/sandbox.json"):
        try:
            taken.add(int(json.loads(path.read_text())["network"]))
        except (OSError, ValueError, KeyError, TypeError):
            # A sandbox that is being removed or is of an older version has no network.
            continue
    return taken
