"""File systems on disks: recognise, make, mount, grow. Used by the node side of the CSI driver."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sandbox.kubernetes.rpc import Refused

# Nothing has to be discarded on a file that is sparse already.
_MAKE = {"ext4": ("mkfs.ext4", "-q", "-F", "-m0", "-E", "nodiscard"), "xfs": ("mkfs.xfs", "-q", "-f", "-K")}
# e2fsck says with 1 and 2 that it has repaired something.
_STILL_BROKEN = 4
_START_BYTES = 64 * 1024


def mount_device(device: Path, target: Path, wanted: str, flags: Sequence[str]) -> None:
    """Mount a disk, with a file system made if it has none, and as big as the disk."""
    if wanted not in _MAKE:
        raise Refused("INVALID_ARGUMENT", f"the sandbox's nodes know ext4 and xfs, not {wanted}")
    present = kind_on(device)
    if not present:
        run(*_MAKE[wanted], str(device))
    elif present != wanted:
        raise Refused("FAILED_PRECONDITION", f"the volume holds {present}, not {wanted}")
    elif wanted == "ext4":
        _grow_unmounted_ext4(device)
    options = list(flags)
    if wanted == "xfs":
        # A restored copy has the UUID of its source, and all nodes share one kernel.
        options.append("nouuid")
    target.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", wanted, *(["-o", ",".join(options)] if options else []), str(device), str(target))
    if wanted == "xfs" and "ro" not in options:
        try:
            run("xfs_growfs", str(target))
        except Refused:
            # Who asks again would find it mounted and take it for grown.
            unmount(target)
            raise


def kind_on(device: Path) -> str:
    """The file system on a disk; empty for a blank disk, and only for a blank one."""
    result = _said("blkid", "-p", "-o", "export", "-s", "TYPE", "-s", "PTTYPE", str(device))
    if result.returncode not in (0, 2):
        raise Refused("INTERNAL", f"blkid cannot tell what is on the volume: {result.stderr.strip()}")
    found = dict(line.partition("=")[::2] for line in result.stdout.splitlines())
    if kind := found.get("TYPE"):
        return kind
    if table := found.get("PTTYPE"):
        return f"a partition table ({table})"
    # What cannot be read must not be taken for blank, and to blkid the two are the same: a blank disk is formatted.
    try:
        with device.open("rb", buffering=0) as disk:
            disk.read(_START_BYTES)
    except OSError as error:
        raise Refused("INTERNAL", f"the volume cannot be read: {error.strerror}") from error
    return ""


def bind(source: Path, target: Path, read_only: bool) -> None:
    """Show a mounted volume in another place too."""
    target.mkdir(parents=True, exist_ok=True)
    if mounted(target) is None:
        run("mount", "--bind", str(source), str(target))
        if read_only:
            try:
                run("mount", "-o", "remount,ro,bind", str(target))
            except Refused:
                # Who asks again would find it mounted, and the pod could write.
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
    device, kind = found
    if kind == "xfs":
        run("xfs_growfs", str(target))
        return
    result = _said("resize2fs", device)
    if result.returncode and "Permission denied" in result.stderr:
        raise Refused(
            "FAILED_PRECONDITION",
            "this machine lets nobody grow a mounted ext4 (it lacks CAP_SYS_RESOURCE); "
            "it is grown when its pod starts again",
        )
    if result.returncode:
        raise Refused("INTERNAL", f"resize2fs: {result.stderr.strip()}")


def mounted(target: Path, table: Path = Path("/proc/self/mountinfo")) -> tuple[str, str] | None:
    """The device and the kind of what is mounted exactly here."""
    path = str(target.resolve())
    for character in "\\ \t\n":
        path = path.replace(character, f"\\{ord(character):03o}")
    for line in reversed(table.read_text().splitlines()):
        fields = line.split()
        if fields[4] == path:
            end = fields.index("-")
            return fields[end + 2], fields[end + 1]
    return None


def run(*command: str) -> str:
    """Run a program; what it complains about is the reason of the refusal."""
    result = _said(*command)
    if result.returncode:
        raise Refused("INTERNAL", f"{command[0]}: {(result.stderr or result.stdout).strip()}")
    return result.stdout


def _grow_unmounted_ext4(device: Path) -> None:
    # Before mounting it needs no privilege that the machine may lack; and a crash may have left errors.
    _repair_ext4(device, "-p")
    grown = _said("resize2fs", str(device))
    if grown.returncode and "e2fsck -f" in grown.stdout + grown.stderr:
        _repair_ext4(device, "-f", "-y")
        run("resize2fs", str(device))
    elif grown.returncode:
        raise Refused("INTERNAL", f"resize2fs: {grown.stderr.strip()}")


def _repair_ext4(device: Path, *options: str) -> None:
    check = _said("e2fsck", *options, str(device))
    # A negative number says that it was killed.
    if not 0 <= check.returncode < _STILL_BROKEN:
        raise Refused("INTERNAL", f"e2fsck: {(check.stdout + check.stderr).strip()}")


def _said(*command: str) -> subprocess.CompletedProcess[str]:
    # Some answers are known by their words, which must be the English ones.
    surroundings = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
