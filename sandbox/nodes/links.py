"""The cables: a switch per sandbox, a pair of virtual network cards per node, and the routes over them.

The switch is a bridge in a network namespace of its own: so what nodes say to each other crosses none of this
machine's packet filters, where Docker or a firewall would drop it. The machine hangs on the switch like a node. Used
from the machine's side, by the gateway, by the hypervisor and by the removal of a sandbox.
"""

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.nodes.network import Network

_MTU_BYTES = "1500"
_BRIDGE, _UPLINK = "switch", "machine"


def ensure_switch(network: Network, folder: Path) -> None:
    """Make the sandbox's switch with the machine on it, if it is not there."""
    owner = _alias(network.switch)
    if owner is not None and owner != str(folder):
        raise SandboxError(
            f"The network 10.{network.octet}.0.0/16 belongs to {owner or 'something else on this machine'}.",
            "Take one of the two down: `supergiant sandbox down --name ...` and up again chooses a new one.",
        )
    if owner is None:
        # One without its link to the machine was left half made.
        ip("netns", "del", network.switch, must=False)
        ip("netns", "add", network.switch)
        _inside(network, "link", "add", _BRIDGE, "type", "bridge")
        _inside(network, "link", "set", _BRIDGE, "up")
        ends = (network.switch, "type", "veth", "peer", "name", _UPLINK, "netns", network.switch)
        ip("link", "add", *ends)
        _inside(network, "link", "set", _UPLINK, "master", _BRIDGE, "up")
        ip("link", "set", network.switch, "alias", str(folder))
    ip("addr", "replace", f"{network.host}/24", "dev", network.switch)
    ip("link", "set", network.switch, "up")


def plug_in(network: Network, number: int, pid: int, connected: bool = True) -> None:
    """Lay the cable to the node whose first process has this pid."""
    link = network.link(number)
    # A cable of a node that died may stay for a minute, held by its orphaned connections.
    _inside(network, "link", "del", link, must=False)
    peer = ("peer", "name", "eth0", "netns", str(pid))
    _inside(network, "link", "add", link, "mtu", _MTU_BYTES, "type", "veth", *peer)
    _inside(network, "link", "set", link, "master", _BRIDGE, "up" if connected else "down")
    ip("route", "replace", network.pods_of(number), "via", network.node(number))


def is_plugged_in(network: Network, number: int) -> bool:
    """Whether there is a cable to the node, connected or not."""
    return bool(_inside(network, "link", "show", network.link(number), must=False))


def unplug(network: Network, number: int) -> None:
    """Remove the cable and the way to the node's pods."""
    _inside(network, "link", "del", network.link(number), must=False)
    ip("route", "del", network.pods_of(number), must=False)


def connect(network: Network, number: int, connected: bool) -> None:
    """Cut a cable, or mend it; everything on the node goes on."""
    _inside(network, "link", "set", network.link(number), "up" if connected else "down")


def route_services(network: Network, numbers: Iterable[int]) -> None:
    """Lead the machine's own calls of ClusterIPs through the first of these nodes."""
    number = next(iter(sorted(numbers)), None)
    if number is None:
        ip("route", "del", network.services, must=False)
    else:
        ip("route", "replace", network.services, "via", network.node(number))


def networks_of(folder: Path) -> list[Network]:
    """The networks whose switch belongs to the sandbox in this folder, whatever it remembers itself."""
    found = []
    for link in _links():
        name = re.fullmatch(r"sg(\d+)", str(link.get("ifname")))
        if name and link.get("ifalias") == str(folder):
            found.append(Network(int(name[1])))
    return found


def remove_all(network: Network) -> None:
    """The switch with every cable; addresses and routes go with them."""
    ip("link", "del", network.switch, must=False)
    ip("netns", "del", network.switch, must=False)


def ip(*arguments: str, must: bool = True, standard_input: str | None = None) -> str:
    """Run `ip`; what it refuses is told with its own words."""
    result = subprocess.run(
        ["ip", *arguments], input=standard_input, capture_output=True, text=True, check=False
    )
    if must and result.returncode:
        raise SandboxError(f"`ip {' '.join(arguments)}` failed: {result.stderr.strip()}")
    return result.stdout


def _inside(network: Network, *arguments: str, must: bool = True) -> str:
    return ip("-netns", network.switch, *arguments, must=must)


def _alias(name: str) -> str | None:
    """Whose link it is; None if there is no link of this name."""
    found = [link for link in _links() if link.get("ifname") == name]
    return str(found[0].get("ifalias", "")) if found else None


def _links() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(ip("-json", "link", "show") or "[]")
    return found
