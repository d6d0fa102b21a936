"""All real nodes of a sandbox at once: what `sandbox.lifecycle` does before they start and after they have ended."""

import time
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.layout import Layout, read_memory
from sandbox.nodes import cgroups, images, links, loops
from sandbox.nodes.machine import machines
from sandbox.nodes.network import Network
from sandbox.progress import Progress

_PATIENCE_SECONDS = 15.0
_PERIOD_SECONDS = 0.05


def prepare(layout: Layout, progress: Progress) -> None:
    """Before the hypervisor looks: images are there, and what was broken on purpose is whole again."""
    for archive in images.standard_images(progress):
        if not _same(archive, layout.images / archive.name):
            images.keep(archive, layout.images)
    for folder in (layout.nodes, layout.volumes):
        folder.mkdir(mode=0o700, exist_ok=True)
    for machine in machines(layout):
        with machine.alone():
            machine.mend()


def switch_off(layout: Layout) -> None:
    """End every node, whatever state it is in."""
    for machine in machines(layout):
        machine.kill()


def clear_up(layout: Layout) -> None:
    """After every process has ended: leave no disk, link or cgroup of the sandbox on the machine."""
    try:
        memory = read_memory(layout)
    except SandboxError:
        return
    if memory is None or not memory.real_nodes:
        return
    network = Network(memory.network)
    links.remove_all(network, layout.folder)
    cgroups.remove(network.cgroup_prefix, whole_name=False)
    _await_no_disks(layout.volumes)


def _await_no_disks(volumes: Path) -> None:
    # The kernel takes the mounts of a dead node down in its own time.
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := loops.below(volumes):
        if time.monotonic() > deadline:
            names = ", ".join(f"/dev/loop{loop.number}" for loop in left)
            raise SandboxError(
                f"{names} are still in use after all nodes have ended.", "Look with `losetup -a`."
            )
        time.sleep(_PERIOD_SECONDS)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and (one.stat().st_size, one.stat().st_mtime_ns) == (
        other.stat().st_size,
        other.stat().st_mtime_ns,
    )
