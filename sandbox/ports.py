"""Chooses the ports of a sandbox, once: they are kept, so that a restarted process finds its own free.

`sandbox.lifecycle` calls this when a sandbox is made, and checks the ports before it starts anything.
"""

import fcntl
import json
import os
import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from sandbox.errors import SandboxError

NAMES = (
    "temporal",
    "temporal-http",
    "temporal-metrics",
    "temporal-ui",
    "kube-apiserver",
    "etcd",
    "etcd-peer",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok-controller",
    "aws",
    "csi-attacher",
    "csi-resizer",
    "worker-metrics",
    "worker-health",
    "prometheus",
)
# Below the range from which the kernel gives ports to outgoing connections.
_FIRST, _LAST = 20000, 31900
_BLOCK = 20


def is_free(port: int) -> bool:
    """Whether a listener could be opened on 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(
    folder: Path, remember: Callable[[dict[str, int]], None], free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """A block of ports that no other sandbox has and nobody listens on, remembered under a lock."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = _taken(folder.parent)
        for first in _starts(folder):
            block = range(first, first + len(NAMES))
            if taken.isdisjoint(block) and all(free(port) for port in block):
                ports = dict(zip(NAMES, block, strict=True))
                remember(ports)
                return ports
    raise SandboxError(
        f"No {len(NAMES)} free ports in a row between {_FIRST} and {_LAST}.",
        "Take down sandboxes that are no longer needed: `supergiant sandbox down --name ...`.",
    )


def _taken(sandboxes: Path) -> set[int]:
    taken = set[int]()
    for path in sandboxes.glob("*/sandbox.json"):
        try:
            taken.update(json.loads(path.read_text())["ports"].values())
        except (OSError, ValueError, KeyError, AttributeError):
            # A sandbox being removed or damaged holds no ports that listening would not show.
            continue
    return taken


def _starts(folder: Path) -> list[int]:
    """Every block once, from a place of the sandbox's own: sandboxes of different users do not collide."""
    starts = list(range(_FIRST, _LAST - _BLOCK, _BLOCK))
    turn = int.from_bytes(sha256(os.fsencode(folder)).digest()[:4]) % len(starts)
    return starts[turn:] + starts[:turn]
