"""File systems on real disks of this machine: made on blank ones alone, mounted, grown, never lost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.kubernetes.rpc import Refused
from sandbox.nodes import filesystems, growing, loops
from tests.node_parts.conftest import soon, why_no_disks

with_disks = pytest.mark.skipif(bool(why_no_disks()), reason=why_no_disks())
MIB = 1024**2
# mkfs.xfs makes none that is smaller.
SMALL = {"ext4": 16 * MIB, "xfs": 300 * MIB}
both = pytest.mark.parametrize("kind", ["ext4", "xfs"])


@contextmanager
def disk(folder: Path, size: int, name: str = "vol-1.img") -> Iterator[Path]:
    """A disk as a node has it: a name for the device, in a folder of its own."""
    image = folder / name
    with image.open("ab") as file:
        file.truncate(max(size, file.tell()))
    device = folder / f"{name}-device"
    with loops.attached(image) as loop:
        os.mknod(device, 0o060600, loop.device)
        try:
            yield device
        finally:
            device.unlink()


@contextmanager
def mounted(device: Path, target: Path, kind: str, *flags: str) -> Iterator[Path]:
    filesystems.mount_device(device, target, kind, flags)
    try:
        yield target
    finally:
        filesystems.unmount(target)


def capacity(target: Path) -> int:
    found = os.statvfs(target)
    return found.f_blocks * found.f_frsize


def may_grow_mounted_ext4() -> bool:
    """Whether this process has CAP_SYS_RESOURCE, which the kernel wants for that."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapEff"], 16) & 1 << 24)


@with_disks
@both
def test_a_blank_disk_gets_a_file_system_and_keeps_what_is_written(
    disk_folder: Path, tmp_path: Path, kind: str
) -> None:
    with disk(disk_folder, SMALL[kind]) as device:
        assert filesystems.kind_on(device) == ""
        with mounted(device, tmp_path / "mnt", kind) as target:
            (target / "file").write_text("kept")
            told = filesystems.mounted(target)
            assert told is not None
            assert told.kind == kind
            assert told.device == device.stat().st_rdev
        assert filesystems.kind_on(device) == kind
        with mounted(device, tmp_path / "mnt", kind) as target:
            assert (target / "file").read_text() == "kept"


@with_disks
@both
def test_a_disk_that_has_become_bigger_is_bigger_when_it_is_mounted_again(
    disk_folder: Path, tmp_path: Path, kind: str
) -> None:
    with disk(disk_folder, SMALL[kind]) as device, mounted(device, tmp_path / "mnt", kind) as target:
        (target / "file").write_text("kept")
        before = capacity(target)
    with disk(disk_folder, 2 * SMALL[kind]) as device, mounted(device, tmp_path / "mnt", kind) as target:
        assert capacity(target) > 1.7 * before
        assert (target / "file").read_text() == "kept"


@with_disks
@both
def test_a_mounted_file_system_grows_or_says_who_lets_it_not(
    disk_folder: Path, tmp_path: Path, kind: str
) -> None:
    with disk(disk_folder, SMALL[kind]) as device, mounted(device, tmp_path / "mnt", kind) as target:
        before = capacity(target)
        image = disk_folder / "vol-1.img"
        os.truncate(image, 2 * SMALL[kind])
        (loop,) = loops.of(image)
        loops.refresh_size(loop)
        if kind == "ext4" and not may_grow_mounted_ext4():
            with pytest.raises(Refused, match="CAP_SYS_RESOURCE") as refused:
                filesystems.grow_mounted(target)
            assert refused.value.status == "FAILED_PRECONDITION"
            assert capacity(target) == before
        else:
            filesystems.grow_mounted(target)
            assert capacity(target) > 1.7 * before


@with_disks
@both
def test_a_mounted_file_system_that_is_as_big_as_its_disk_needs_no_privilege(
    disk_folder: Path, tmp_path: Path, kind: str
) -> None:
    with disk(disk_folder, SMALL[kind]) as device, mounted(device, tmp_path / "mnt", kind) as target:
        before = capacity(target)
        filesystems.grow_mounted(target)
        assert capacity(target) == before


@with_disks
@pytest.mark.parametrize("other_size", [300 * MIB, 900 * MIB])
def test_a_disk_whose_name_another_volume_got_grows_and_the_other_does_not(
    disk_folder: Path, tmp_path: Path, other_size: int
) -> None:
    with (
        disk(disk_folder, SMALL["xfs"]) as device,
        mounted(device, tmp_path / "mnt", "xfs") as target,
        disk(disk_folder, other_size, "vol-2.img") as other,
        mounted(other, tmp_path / "other", "xfs") as its_target,
    ):
        # As after a forced detach.
        device.unlink()
        os.mknod(device, 0o060600, other.stat().st_rdev)
        before = capacity(its_target)
        os.truncate(disk_folder / "vol-1.img", 2 * SMALL["xfs"])
        loops.refresh_size(loops.of(disk_folder / "vol-1.img")[0])
        filesystems.grow_mounted(target)
        assert 1.7 * SMALL["xfs"] < capacity(target) < 2 * SMALL["xfs"]
        assert capacity(its_target) == before


@with_disks
def test_an_xfs_that_was_mounted_by_somebody_killed_before_it_grew_is_grown(
    disk_folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "mnt"
    with disk(disk_folder, SMALL["xfs"]) as device, mounted(device, target, "xfs"):
        before = capacity(target)
    with disk(disk_folder, 2 * SMALL["xfs"]) as device:
        filesystems.run("mount", "-t", "xfs", "-o", "nouuid,ro", str(device), str(target))
        try:
            filesystems.complete(target)
            assert capacity(target) == before
            filesystems.run("mount", "-o", "remount,rw", str(target))
            for _ in range(2):
                filesystems.complete(target)
                assert capacity(target) > 1.7 * before
        finally:
            filesystems.unmount(target)


@with_disks
@both
def test_a_disk_stays_its_volumes_as_long_as_a_program_works_on_it_whose_driver_was_killed(
    disk_folder: Path, tmp_path: Path, kind: str
) -> None:
    image, begun, end = disk_folder / "vol-1.img", tmp_path / "begun", tmp_path / "end"
    image.touch()
    os.truncate(image, SMALL[kind])
    os.mkfifo(end)
    slow = tmp_path / "programs" / f"mkfs.{kind}"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\ntouch {begun}\nread line < {end}\n")
    slow.chmod(0o755)
    program = (
        "import os, sys; from pathlib import Path; from sandbox.nodes import filesystems, loops\n"
        "with loops.attached(Path(sys.argv[1])) as loop:\n"
        "    os.mknod(sys.argv[2], 0o060600, loop.device)\n"
        "    filesystems.mount_device(Path(sys.argv[2]), Path(sys.argv[2] + '-mnt'), sys.argv[3], ())\n"
    )
    command = [sys.executable, "-c", program, image, tmp_path / "device", kind]
    path = f"{slow.parent}:{os.environ['PATH']}"
    with subprocess.Popen(command, env={**os.environ, "PATH": path}) as driver:
        assert soon(begun.exists)
        driver.kill()
    try:
        assert len(loops.of(image)) == 1
    finally:
        end.write_text("now\n")
    assert soon(lambda: loops.of(image) == [])


@with_disks
@pytest.mark.parametrize("wanted", ["ext4", "xfs"])
def test_an_xfs_whose_making_was_cut_short_is_made_anew(
    disk_folder: Path, tmp_path: Path, wanted: str
) -> None:
    with disk(disk_folder, SMALL["xfs"]) as device:
        filesystems.run("mkfs.xfs", "-q", str(device))
        assert filesystems.kind_on(device) == "xfs"
        # What mkfs.xfs writes first and takes back last.
        filesystems.run("xfs_db", "-x", "-c", "sb 0", "-c", "write inprogress 1", str(device))
        assert filesystems.kind_on(device) == ""
        with mounted(device, tmp_path / "mnt", wanted) as target:
            (target / "file").write_text("kept")
        assert filesystems.kind_on(device) == wanted


@with_disks
@pytest.mark.parametrize(("present", "wanted"), [("ext4", "xfs"), ("xfs", "ext4")])
def test_a_disk_with_another_file_system_is_refused_and_left_as_it_is(
    disk_folder: Path, tmp_path: Path, present: str, wanted: str
) -> None:
    with disk(disk_folder, SMALL["xfs"]) as device:
        with mounted(device, tmp_path / "mnt", present) as target:
            (target / "file").write_text("kept")
        with pytest.raises(Refused, match=f"holds {present}, not {wanted}") as refused:
            filesystems.mount_device(device, tmp_path / "mnt", wanted, ())
        assert refused.value.status == "FAILED_PRECONDITION"
        with mounted(device, tmp_path / "mnt", present) as target:
            assert (target / "file").read_text() == "kept"


@with_disks
def test_a_disk_with_partitions_is_not_blank(disk_folder: Path, tmp_path: Path) -> None:
    image = disk_folder / "vol-1.img"
    with image.open("wb") as file:
        file.truncate(SMALL["ext4"])
        # One entry of the oldest kind of table, and the mark at its end.
        file.seek(446)
        file.write(
            bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (1024).to_bytes(4, "little")
        )
        file.seek(510)
        file.write(b"\x55\xaa")
    before = image.read_bytes()
    with disk(disk_folder, SMALL["ext4"]) as device, pytest.raises(Refused, match="partition table"):
        filesystems.mount_device(device, tmp_path / "mnt", "ext4", ())
    assert image.read_bytes() == before


@with_disks
@pytest.mark.parametrize("unreadable", ["/proc/self/mem", "/nowhere"])
def test_what_cannot_be_read_is_not_blank(unreadable: str) -> None:
    with pytest.raises(Refused) as refused:
        filesystems.kind_on(Path(unreadable))
    assert refused.value.status == "INTERNAL"


@with_disks
def test_a_broken_file_system_is_neither_mounted_nor_made_anew(disk_folder: Path, tmp_path: Path) -> None:
    with disk(disk_folder, SMALL["ext4"]) as device:
        with mounted(device, tmp_path / "mnt", "ext4"):
            pass
        with device.open("r+b", buffering=0) as file:
            # Of the inode table nothing is left; only the superblock says what this was.
            file.seek(4096)
            file.write(b"\xa5" * (2 * MIB))
        with pytest.raises(Refused) as refused:
            filesystems.mount_device(device, tmp_path / "mnt", "ext4", ())
        assert refused.value.status == "INTERNAL"
        assert filesystems.mounted(tmp_path / "mnt") is None
        with device.open("rb") as file:
            file.seek(4096)
            assert file.read(4096) != bytes(4096)


@with_disks
def test_what_a_crash_left_to_repair_is_repaired_before_it_is_mounted(
    disk_folder: Path, tmp_path: Path
) -> None:
    with disk(disk_folder, SMALL["ext4"]) as device:
        with mounted(device, tmp_path / "mnt", "ext4") as target:
            (target / "file").write_text("kept")
        # The number of free blocks is wrong, as after a crash.
        subprocess.run(
            ["debugfs", "-w", "-R", "ssv free_blocks_count 17", device], check=True, capture_output=True
        )
        with mounted(device, tmp_path / "mnt", "ext4") as target:
            assert (target / "file").read_text() == "kept"
    with disk(disk_folder, 2 * SMALL["ext4"]) as device:
        subprocess.run(
            ["debugfs", "-w", "-R", "ssv free_blocks_count 17", device], check=True, capture_output=True
        )
        with mounted(device, tmp_path / "mnt", "ext4") as target:
            assert capacity(target) > SMALL["ext4"]


@with_disks
@both
def test_flags_of_the_volume_are_heeded(disk_folder: Path, tmp_path: Path, kind: str) -> None:
    with disk(disk_folder, SMALL[kind]) as device:
        with mounted(device, tmp_path / "mnt", kind):
            pass
        with (
            mounted(device, tmp_path / "mnt", kind, "ro", "noatime") as target,
            pytest.raises(OSError, match="Read-only"),
        ):
            (target / "file").write_text("x")


@with_disks
def test_a_copy_of_an_xfs_disk_can_be_mounted_beside_its_source(disk_folder: Path, tmp_path: Path) -> None:
    with disk(disk_folder, SMALL["xfs"]) as device, mounted(device, tmp_path / "mnt", "xfs") as target:
        (target / "file").write_text("kept")
    copy = disk_folder / "vol-2.img"
    subprocess.run(["cp", "--sparse=always", disk_folder / "vol-1.img", copy], check=True)
    with (
        disk(disk_folder, SMALL["xfs"]) as device,
        disk(disk_folder, SMALL["xfs"], copy.name) as other,
        mounted(device, tmp_path / "mnt", "xfs"),
        mounted(other, tmp_path / "copy", "xfs") as target,
    ):
        assert (target / "file").read_text() == "kept"


@with_disks
def test_an_xfs_that_cannot_grow_is_not_left_mounted_as_if_it_had(
    disk_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_to_grow(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(growing, "grow", fail_to_grow)
    with disk(disk_folder, SMALL["xfs"]) as device, pytest.raises(Refused, match="cannot grow: Input/output"):
        filesystems.mount_device(device, tmp_path / "mnt", "xfs", ())
    assert filesystems.mounted(tmp_path / "mnt") is None


@with_disks
def test_an_unknown_kind_is_refused_before_anything_is_touched(disk_folder: Path, tmp_path: Path) -> None:
    with disk(disk_folder, MIB) as device:
        with pytest.raises(Refused, match="not btrfs") as refused:
            filesystems.mount_device(device, tmp_path / "mnt", "btrfs", ())
        assert filesystems.kind_on(device) == ""
    assert refused.value.status == "INVALID_ARGUMENT"
    assert not (tmp_path / "mnt").exists()


@with_disks
def test_a_volume_is_shown_to_a_pod_once_and_only_for_reading_if_so_wanted(
    disk_folder: Path, tmp_path: Path
) -> None:
    staged, pod, reader = (tmp_path / name for name in ("staged", "pod", "reader"))
    with disk(disk_folder, SMALL["ext4"]) as device, mounted(device, staged, "ext4"):
        try:
            for _ in range(2):
                filesystems.bind(staged, pod, read_only=False)
            filesystems.bind(staged, reader, read_only=True)
            (pod / "file").write_text("seen")
            assert (reader / "file").read_text() == "seen"
            with pytest.raises(OSError, match="Read-only"):
                (reader / "file").write_text("x")
        finally:
            for place in (pod, reader):
                filesystems.unmount(place)
                filesystems.unmount(place)
        assert filesystems.mounted(pod) is None
        assert filesystems.mounted(staged) is not None


@with_disks
def test_a_volume_that_was_shown_by_somebody_killed_before_it_was_read_only_is_made_so(
    disk_folder: Path, tmp_path: Path
) -> None:
    staged, reader = tmp_path / "staged", tmp_path / "reader"
    with disk(disk_folder, SMALL["ext4"]) as device, mounted(device, staged, "ext4"):
        reader.mkdir()
        filesystems.run("mount", "--bind", str(staged), str(reader))
        try:
            for _ in range(2):
                filesystems.bind(staged, reader, read_only=True)
                with pytest.raises(OSError, match="Read-only"):
                    (reader / "file").write_text("x")
            (staged / "file").write_text("x")
        finally:
            filesystems.unmount(reader)


@with_disks
def test_a_volume_that_cannot_be_shown_for_reading_only_is_not_shown_at_all(
    disk_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filesystems.run

    def fail_to_remount(*command: str, disk: int | None = None) -> str:
        if any("remount" in word for word in command):
            raise Refused("INTERNAL", "mount: no")
        return real(*command, disk=disk)

    monkeypatch.setattr(filesystems, "run", fail_to_remount)
    with disk(disk_folder, SMALL["ext4"]) as device, mounted(device, tmp_path / "staged", "ext4"):
        with pytest.raises(Refused, match="mount: no"):
            filesystems.bind(tmp_path / "staged", tmp_path / "pod", read_only=True)
        assert filesystems.mounted(tmp_path / "pod") is None


@with_disks
def test_a_busy_volume_is_told_and_stays_mounted(disk_folder: Path, tmp_path: Path) -> None:
    with disk(disk_folder, SMALL["ext4"]) as device, mounted(device, tmp_path / "mnt", "ext4") as target:
        with (target / "open").open("w"), pytest.raises(Refused, match="busy") as refused:
            filesystems.unmount(target)
        assert refused.value.status == "INTERNAL"
        assert filesystems.mounted(target) is not None


def test_growing_what_is_not_mounted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        filesystems.grow_mounted(tmp_path)
    assert refused.value.status == "NOT_FOUND"


def test_of_two_mounts_in_the_same_place_the_upper_one_is_told(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "30 1 7:1 / /data rw,relatime shared:5 - ext4 /dev/xvdba rw\n"
        "31 30 7:2 / /data rw,relatime - xfs /dev/xvdbb rw\n"
        "32 30 7:3 / /data/below rw,relatime - ext4 /dev/xvdbc rw\n"
        "33 30 7:4 / /a\\040place\\011here rw - ext4 /dev/xvdbd rw\n"
    )
    assert filesystems.mounted(Path("/data"), table) == filesystems.Mount(
        "/dev/xvdbb", "xfs", os.makedev(7, 2)
    )
    assert filesystems.mounted(Path("/dat"), table) is None
    assert filesystems.mounted(Path("/a place\there"), table) == filesystems.Mount(
        "/dev/xvdbd", "ext4", os.makedev(7, 4)
    )


def test_a_program_that_fails_is_refused_with_its_own_words() -> None:
    with pytest.raises(Refused, match="sh: it went wrong") as refused:
        filesystems.run("sh", "-c", "echo it went wrong >&2; exit 3")
    assert refused.value.status == "INTERNAL"
    assert filesystems.run("echo", "well") == "well\n"
