"""What a machine must have for real nodes: looked at, installed where that may be done, else said clearly.

`sandbox.lifecycle` calls `ensure` before it brings real nodes up; tests ask `obstacle` whether they can run at all.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sandbox.binaries import locate
from sandbox.errors import SandboxError
from sandbox.nodes import images, loops, packages
from sandbox.progress import Progress

# Debian's package for each program, found on PATH or at this place.
_PROGRAMS = {
    "apt-get": "apt",
    "blkid": "util-linux",
    "containerd": "containerd",
    "ctr": "containerd",
    "dpkg-deb": "dpkg",
    "e2fsck": "e2fsprogs",
    "ip": "iproute2",
    "iptables": "iptables",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mount": "mount",
    "nsenter": "util-linux",
    "resize2fs": "e2fsprogs",
    "runc": "runc",
    "unshare": "util-linux",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
# A node sees its own folders in these places: what the machine keeps there is hidden from it.
_HIDDEN = ("/dev", "/proc", "/run", "/sys", "/var/lib", "/var/log", "/var/run")
_LOOP_BYTES = 1024**2
_WITHOUT = "Without real nodes (leave out --real-nodes) a sandbox needs none of this."


def ensure(folder: Path, progress: Progress) -> None:
    """Return when the machine can run real nodes whose sandbox is in this folder."""
    if problem := _unfit(folder):
        raise SandboxError(problem, _WITHOUT)
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise SandboxError(
            f"Real nodes need programs of Debian's packages {', '.join(missing)}, and there is no apt-get.",
            f"Install what your system calls them. {_WITHOUT}",
        )
    progress.say(
        f"Installing {', '.join(missing)} with apt-get ... (Where services are started on installation, that includes "
        "containerd; the sandbox does not use the service and starts its own.)"
    )
    packages.refresh_lists()
    packages.install(missing)
    if missing := missing_packages():
        raise SandboxError(f"After installing, {', '.join(missing)} still lack their programs.", _WITHOUT)


def obstacle(folder: Path) -> str | None:
    """Why this machine cannot run real nodes; None if it can, perhaps after installing something."""
    if problem := _unfit(folder):
        return problem
    missing = missing_packages()
    if missing and shutil.which("apt-get") is None:
        return f"real nodes need {', '.join(missing)}, and there is no apt-get to install them"
    return None


def missing_packages() -> list[str]:
    """Debian's packages whose programs are not there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return sorted({package for program, package in _PROGRAMS.items() if not shutil.which(program, path=path)})


def _unfit(folder: Path) -> str | None:
    if os.geteuid() != 0:
        return "Real nodes need root: they are made of namespaces, mounts and loop devices."
    if not Path("/dev/loop-control").exists():
        return "Real nodes need loop devices, and this machine has no /dev/loop-control."
    if problem := _out_of_sight(folder):
        return problem
    if shutil.which("unshare") is None:
        # It is among what is installed.
        return None
    return _without_namespaces() or _without_overlays(folder) or _without_loops()


def _out_of_sight(folder: Path) -> str | None:
    bin_dir = os.environ.get("SUPERGIANT_BIN_DIR")
    programs = ("SUPERGIANT_BIN_DIR", bin_dir) if bin_dir else ("XDG_CACHE_HOME", locate.cache_folder())
    needed = {
        "set SUPERGIANT_SANDBOX_HOME to a folder": (folder,),
        f"set {programs[0]} to a folder": (programs[1], images.cache_folder()),
        "make the virtual environment anew with a Python": (sys.executable, sys.prefix, sys.base_prefix),
        "keep this repository in a folder": (Path(__file__).parents[2],),
    }
    for way_out, paths in needed.items():
        for path in map(Path, paths):
            # A node follows symbolic links: neither they nor what they lead to may be hidden.
            for hidden in _HIDDEN:
                if path.absolute().is_relative_to(hidden) or path.resolve().is_relative_to(hidden):
                    return f"Real nodes cannot see {path}: {way_out} outside of {hidden}."
    return None


def _without_namespaces() -> str | None:
    problem = _refused("mount", "-t", "tmpfs", "tmpfs", "/run", namespaces=("--net", "--pid", "--fork"))
    return problem and f"This machine does not let root make namespaces and mounts: {problem}"


def _without_overlays(folder: Path) -> str | None:
    """Containers' files are layers over each other, which not every file system can hold."""
    parent = next(it for it in (folder, *folder.parents) if it.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".overlay-", dir=parent) as new:
            for name in ("lower", "upper", "work", "merged"):
                Path(new, name).mkdir()
            layers = "lowerdir=lower,upperdir=upper,workdir=work"
            problem = _refused("mount", "-t", "overlay", "-o", layers, "overlay", "merged", folder=new)
    except OSError as error:
        problem = error.strerror or str(error)
    return problem and (
        f"The file system of {parent} cannot hold containers' files (overlayfs: {problem}): "
        "set SUPERGIANT_SANDBOX_HOME to a folder on a real disk."
    )


def _without_loops() -> str | None:
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(_LOOP_BYTES)
            with loops.attached(Path(file.name)):
                return None
    except OSError as error:
        return f"This machine does not let root make loop devices: {error.strerror}."


def _refused(*command: str, namespaces: Sequence[str] = (), folder: str | None = None) -> str | None:
    """What a program complains about that sees its own mounts alone, in a line; whatever it mounts goes with it."""
    attempt = subprocess.run(
        ["unshare", "--mount", *namespaces, *command], cwd=folder, capture_output=True, text=True, check=False
    )
    return (attempt.stderr.strip().partition("\n")[0] or "it failed") if attempt.returncode else None
