"""What a machine must have for real nodes: looked at, installed where that may be done, else said clearly.

`sandbox.lifecycle` calls `ensure` before it brings real nodes up; tests ask `obstacle` whether they can run at all.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.nodes import loops, packages
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
    "xfs_growfs": "xfsprogs",
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
    for hidden in _HIDDEN:
        if folder.is_relative_to(hidden):
            return f"Real nodes cannot see {folder}: set SUPERGIANT_SANDBOX_HOME to a folder outside of {hidden}."
    if shutil.which("unshare") is None:
        # It is among what is installed.
        return None
    attempt = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/run"],
        capture_output=True,
        text=True,
        check=False,
    )
    if attempt.returncode:
        return f"This machine does not let root make namespaces and mounts: {attempt.stderr.strip()}"
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(_LOOP_BYTES)
            with loops.attached(Path(file.name)):
                return None
    except OSError as error:
        return f"This machine does not let root make loop devices: {error.strerror}."
