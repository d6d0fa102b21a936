"""File systems on disks: recognise, make, mount, grow. Used by the node side of the CSI driver."""

import errno
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.kubernetes.rpc import Refused
from sandbox.nodes import growing
from sandbox.nodes.loops import Loop

# Nothing has to be discarded on a file that is sparse already.
_MAKE = {"ext4": ("mkfs.ext4", "-q", "-F", "-m0", "-E", "nodiscard"), "xfs": ("mkfs.xfs", "-q", "-f", "-K")}
# e2fsck says with 1 and 2 that it has repaired something.
_STILL_BROKEN = 4
_START_BYTES = 64 * 1024
# Where an xfs says on its disk that mkfs.xfs is not done with it (sb_inprogress).
_XFS_IN_PROGRESS = 126


@dataclass(frozen=True)
class Mount:
    """What is mounted somewhere. Another disk may have got its name since; the device stays its own."""

    name: str
    kind: str
    # As in `st_rdev`.
    device: int


def mount_device(device: Path, target: Path, wanted: str, flags: Sequence[str]) -> None:
    """Mount a disk, with a file system made if it has none, and as big as the disk."""
    if wanted not in _MAKE:
        raise Refused("INVALID_ARGUMENT", f"the sandbox's nodes know ext4 and xfs, not {wanted}")
    try:
        disk = device.open("rb", buffering=0)
    except OSError as error:
        raise Refused("INTERNAL", f"the volume cannot be opened: {error.strerror}") from error
    # Each program gets the open disk, so that the disk stays this volume's if we die before the program opens it.
    # To let the programs die with us would not do: the kernel closes our disk before it tells them.
    with disk:
        _make_or_grow(device, wanted, disk.fileno())
        options = list(flags)
        if wanted == "xfs":
            # A restored copy has the UUID of its source, and all nodes share one kernel.
            options.append("nouuid")
        target.mkdir(parents=True, exist_ok=True)
        given = ["-o", ",".join(options)] if options else []
        run("mount", "-t", wanted, *given, str(device), str(target), disk=disk.fileno())
    try:
        complete(target)
    except Refused:
        # The kubelet takes a refused volume for one that is not mounted, and would never let go of it.
        unmount(target)
        raise


def complete(target: Path) -> None:
    """What is left to do on a mounted disk, by whoever mounted it or comes after him because he was killed."""
    found = mounted(target)
    # An ext4 was grown before it was mounted.
    if found and found.kind == "xfs" and not os.statvfs(target).f_flag & os.ST_RDONLY:
        grow_mounted(target)


def kind_on(device: Path) -> str:
    """The file system on a disk; empty for a blank disk, and only for a blank one."""
    result = _said("blkid", "-p", "-o", "export", "-s", "TYPE", "-s", "PTTYPE", str(device))
    if result.returncode not in (0, 2):
        raise Refused("INTERNAL", f"blkid cannot tell what is on the volume: {result.stderr.strip()}")
    found = dict(line.partition("=")[::2] for line in result.stdout.splitlines())
    if found.get("TYPE") == "xfs" and _is_unfinished_xfs(_start_of(device)):
        # It held nothing yet, and no kernel will ever mount it.
        return ""
    if kind := found.get("TYPE"):
        return kind
    if table := found.get("PTTYPE"):
        return f"a partition table ({table})"
    # What cannot be read must not be taken for blank, and to blkid the two are the same: a blank disk is formatted.
    _start_of(device)
    return ""


def bind(source: Path, target: Path, read_only: bool) -> None:
    """Show a mounted volume in another place too."""
    target.mkdir(parents=True, exist_ok=True)
    if mounted(target) is None:
        run("mount", "--bind", str(source), str(target))
    if read_only:
        # Also if it was mounted already: who did that may have been killed before this.
        try:
            run("mount", "-o", "remount,ro,bind", str(target))
        except Refused:
            # The kubelet takes a refused volume for one that is not mounted, and would never let go of it.
            unmount(target)
            raise


def unmount(target: Path) -> None:
    """What is not mounted is well."""
    while mounted(target) is not None:
        run("umount", str(target))


def grow_mounted(target: Path) -> None:
    """Make a mounted file system as big as its disk."""
    found = mounted(target)
    if found is None:
        raise Refused("NOT_FOUND", f"nothing is mounted at {target}")
    try:
        growing.grow(target, found.kind, Loop(os.minor(found.device)))
    except OSError as error:
        if found.kind == "ext4" and error.errno == errno.EPERM:
            raise Refused(
                "FAILED_PRECONDITION",
                "this machine lets nobody grow a mounted ext4 (it lacks CAP_SYS_RESOURCE); "
                "it is grown when its pod starts again",
            ) from error
        raise Refused("INTERNAL", f"the {found.kind} cannot grow: {error.strerror}") from error


def mounted(target: Path, table: Path = Path("/proc/self/mountinfo")) -> Mount | None:
    """What is mounted exactly here."""
    path = str(target.resolve())
    for character in "\\ \t\n":
        path = path.replace(character, f"\\{ord(character):03o}")
    for line in reversed(table.read_text().splitlines()):
        fields = line.split()
        if fields[4] == path:
            end = fields.index("-")
            major, minor = map(int, fields[2].split(":"))
            return Mount(fields[end + 2], fields[end + 1], os.makedev(major, minor))
    return None


def run(*command: str, disk: int | None = None) -> str:
    """Run a program, with an open disk if told; what it complains about is the reason of the refusal."""
    result = _said(*command, disk=disk)
    if result.returncode:
        raise Refused("INTERNAL", f"{command[0]}: {(result.stderr or result.stdout).strip()}")
    return result.stdout


def _make_or_grow(device: Path, wanted: str, disk: int) -> None:
    present = kind_on(device)
    if not present:
        run(*_MAKE[wanted], str(device), disk=disk)
    elif present != wanted:
        raise Refused("FAILED_PRECONDITION", f"the volume holds {present}, not {wanted}")
    elif wanted == "ext4":
        _grow_unmounted_ext4(device, disk)


def _grow_unmounted_ext4(device: Path, disk: int) -> None:
    # Before mounting it needs no privilege that the machine may lack; and a crash may have left errors.
    _repair_ext4(device, disk, "-p")
    grown = _said("resize2fs", str(device), disk=disk)
    if grown.returncode and "e2fsck -f" in grown.stdout + grown.stderr:
        _repair_ext4(device, disk, "-f", "-y")
        run("resize2fs", str(device), disk=disk)
    elif grown.returncode:
        raise Refused("INTERNAL", f"resize2fs: {grown.stderr.strip()}")


def _repair_ext4(device: Path, disk: int, *options: str) -> None:
    check = _said("e2fsck", *options, str(device), disk=disk)
    # A negative number says that it was killed.
    if not 0 <= check.returncode < _STILL_BROKEN:
        raise Refused("INTERNAL", f"e2fsck: {(check.stdout + check.stderr).strip()}")


def _start_of(device: Path) -> bytes:
    try:
        with device.open("rb", buffering=0) as disk:
            return disk.read(_START_BYTES)
    except OSError as error:
        raise Refused("INTERNAL", f"the volume cannot be read: {error.strerror}") from error


def _is_unfinished_xfs(start: bytes) -> bool:
    return start.startswith(b"XFSB") and any(start[_XFS_IN_PROGRESS : _XFS_IN_PROGRESS + 1])


def _said(*command: str, disk: int | None = None) -> subprocess.CompletedProcess[str]:
    # Some answers are known by their words, which must be the English ones.
    surroundings = {**os.environ, "LC_ALL": "C"}
    passed = () if disk is None else (disk,)
    return subprocess.run(
        command, env=surroundings, capture_output=True, text=True, check=False, pass_fds=passed
    )
