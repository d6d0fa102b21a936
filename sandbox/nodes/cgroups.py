"""The cgroups that the containers of one node run under, on machines with version 1, version 2 or both.

A real machine boots without any: those of a dead node are removed before it starts again, because its kubelet
would lose seconds on each container that is left.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sandbox.errors import SandboxError

_ROOT = Path("/sys/fs/cgroup")
_PATIENCE_SECONDS = 5.0
_PERIOD_SECONDS = 0.1


def make(name: str, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Make the node's cgroup in every hierarchy that there is."""
    for hierarchy, version in _hierarchies(mounts):
        folder = hierarchy / name
        folder.mkdir(exist_ok=True)
        # A cpuset that names no processor takes no process.
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if version == 1 and (folder / setting).exists():
                (folder / setting).write_text((hierarchy / setting).read_text())
        if version == 2:
            # A kubelet wants every controller that the machine has, and most machines pass on only some.
            for passing_on in (hierarchy, folder):
                for controller in (passing_on / "cgroup.controllers").read_text().split():
                    with suppress(OSError):
                        (passing_on / "cgroup.subtree_control").write_text(f"+{controller}")


def remove(prefix: str, mounts: Path = Path("/proc/self/mounts"), whole_name: bool = True) -> None:
    """Remove the cgroup of this name, or all whose names begin with it, once their processes are gone."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while folders := list(found(prefix, mounts, whole_name)):
        for folder in folders:
            _remove_tree(folder)
        left = [folder for folder in folders if folder.exists()]
        if not left:
            return
        if time.monotonic() > deadline:
            raise SandboxError(f"{left[0]} still holds processes, and cannot be removed.")
        time.sleep(_PERIOD_SECONDS)


def found(prefix: str, mounts: Path = Path("/proc/self/mounts"), whole_name: bool = False) -> Iterator[Path]:
    """The cgroups whose names begin so, wherever a container runtime may have made them."""
    for hierarchy, _ in _mounted(mounts):
        yield from hierarchy.glob(prefix if whole_name else f"{prefix}*")


def _hierarchies(mounts: Path) -> Iterator[tuple[Path, int]]:
    """Those that have controllers, with their version."""
    found = list(_mounted(mounts))
    first = [(path, version) for path, version in found if version == 1]
    # Beside version 1, an empty version 2 is mounted on many machines; no controller lives there.
    yield from first or [(path, version) for path, version in found if path == _ROOT]


def _mounted(mounts: Path) -> Iterator[tuple[Path, int]]:
    versions = {"cgroup": 1, "cgroup2": 2}
    for line in mounts.read_text().splitlines():
        _, path, kind, *_ = line.split()
        if kind in versions:
            yield Path(path), versions[kind]


def _remove_tree(folder: Path) -> None:
    with suppress(OSError):
        for child in folder.iterdir():
            if child.is_dir():
                _remove_tree(child)
    with suppress(OSError):
        folder.rmdir()
