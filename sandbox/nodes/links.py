"""The cables: a bridge per sandbox, a pair of virtual network cards per node, and the routes over them.

Used from the machine's side, by the gateway, by the hypervisor and by the removal of a sandbox.
"""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.nodes.network import Network

_MTU_BYTES = 1500


def ensure_bridge(network: Network, folder: Path) -> None:
    """Make the sandbox's bridge with the machine's address on it, if it is not there."""
    owner = _alias(network.bridge)
    if owner is not None and owner != str(folder):
        raise SandboxError(
            f"The network 10.{network.octet}.0.0/16 belongs to {owner or 'something else on this machine'}.",
            "Take one of the two down: `supergiant sandbox down --name ...` and up again chooses a new one.",
        )
    if owner is None:
        ip("link", "add", network.bridge, "type", "bridge")
        ip("link", "set", network.bridge, "alias", str(folder))
    ip("addr", "replace", f"{network.host}/24", "dev", network.bridge)
    ip("link", "set", network.bridge, "up")


def plug_in(network: Network, number: int, pid: int, connected: bool = True) -> None:
    """Lay the cable to the node whose first process has this pid."""
    link = network.link(number)
    # A cable of a node that died may stay for a minute, held by its orphaned connections.
    remove_link(link)
    peer = ("peer", "name", "eth0", "netns", str(pid))
    ip("link", "add", link, "mtu", str(_MTU_BYTES), "type", "veth", *peer)
    ip("link", "set", link, "master", network.bridge, "up" if connected else "down")
    ip("route", "replace", network.pods_of(number), "via", network.node(number))


def unplug(network: Network, number: int) -> None:
    """Remove the cable and the way to the node's pods."""
    remove_link(network.link(number))
    ip("route", "del", network.pods_of(number), must=False)


def connect(network: Network, number: int, connected: bool) -> None:
    """Cut a cable, or mend it; everything on the node goes on."""
    ip("link", "set", network.link(number), "up" if connected else "down")


def route_services(network: Network, numbers: Iterable[int]) -> None:
    """Lead the machine's own calls of ClusterIPs through the first of these nodes."""
    number = next(iter(sorted(numbers)), None)
    if number is None:
        ip("route", "del", network.services, must=False)
    else:
        ip("route", "replace", network.services, "via", network.node(number))


def remove_all(network: Network, folder: Path) -> None:
    """Every link of the sandbox; addresses and routes go with them."""
    owner = _alias(network.bridge)
    if owner is None or owner != str(folder):
        return
    for link in _links():
        if link.get("master") == network.bridge:
            remove_link(str(link["ifname"]))
    remove_link(network.bridge)


def remove_link(name: str) -> None:
    """A link that is gone already is well."""
    ip("link", "del", name, must=False)


def ip(*arguments: str, must: bool = True, standard_input: str | None = None) -> str:
    """Run `ip`; what it refuses is told with its own words."""
    result = subprocess.run(
        ["ip", *arguments], input=standard_input, capture_output=True, text=True, check=False
    )
    if must and result.returncode:
        raise SandboxError(f"`ip {' '.join(arguments)}` failed: {result.stderr.strip()}")
    return result.stdout


def _alias(name: str) -> str | None:
    """Whose bridge it is; None if there is no link of this name."""
    found = [link for link in _links() if link.get("ifname") == name]
    return str(found[0].get("ifalias", "")) if found else None


def _links() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(ip("-json", "link", "show") or "[]")
    return found
