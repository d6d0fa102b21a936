"""Loop devices on this very machine: found by their file, as big as it, gone with their last user."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sandbox.nodes import loops
from tests.node_parts.conftest import soon, why_no_disks

pytestmark = pytest.mark.skipif(bool(why_no_disks()), reason=why_no_disks())
MIB = 1024**2


def image(folder: Path, name: str = "vol-1.img", size: int = MIB) -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return path


def size_of(loop: loops.Loop) -> int:
    return int(Path(f"/sys/block/loop{loop.number}/size").read_text()) * 512


def test_a_file_becomes_a_disk_of_its_size_and_is_found_by_its_name(disk_folder: Path) -> None:
    path = image(disk_folder, size=3 * MIB)
    assert loops.of(path) == []
    with loops.attached(path) as loop:
        assert loops.of(path) == [loop]
        assert size_of(loop) == 3 * MIB


def test_what_is_written_to_the_disk_is_in_the_file(disk_folder: Path) -> None:
    path = image(disk_folder)
    with loops.attached(path) as loop, loops.opened(loop) as disk:
        os.pwrite(disk, b"data", 4096)
        os.fsync(disk)
    with path.open("rb") as file:
        file.seek(4096)
        assert file.read(4) == b"data"


def test_a_disk_is_gone_with_its_last_user(disk_folder: Path) -> None:
    path = image(disk_folder)
    with loops.attached(path) as loop:
        user = loops.opened(loop)
        user.__enter__()
    try:
        assert loops.of(path) == [loop]
    finally:
        user.__exit__(None, None, None)
    assert soon(lambda: loops.of(path) == [])


def test_a_disk_is_gone_after_an_error(disk_folder: Path) -> None:
    path = image(disk_folder)
    with pytest.raises(RuntimeError, match="inside"), loops.attached(path):
        raise RuntimeError("inside")
    assert soon(lambda: loops.of(path) == [])


def test_a_disk_is_gone_when_its_process_is_killed(disk_folder: Path) -> None:
    path = image(disk_folder)
    program = (
        "import sys; from pathlib import Path; from sandbox.nodes import loops\n"
        "with loops.attached(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = loops.of(path)
        process.kill()
    assert len(found) == 1
    assert soon(lambda: loops.of(path) == [])


def test_the_disks_of_a_folder_are_found_and_no_others(disk_folder: Path) -> None:
    other = disk_folder / "volumes-of-another"
    mine = disk_folder / "volumes"
    for folder in (other, mine):
        folder.mkdir()
    with loops.attached(image(mine, "vol-1.img")) as one, loops.attached(image(other, "vol-2.img")):
        assert loops.below(mine) == [one]
        assert len(loops.below(disk_folder)) == 2


def test_a_disk_whose_file_was_removed_is_still_found(disk_folder: Path) -> None:
    path = image(disk_folder)
    with loops.attached(path) as loop:
        path.unlink()
        assert loops.of(path) == [loop]
        assert loops.below(disk_folder) == [loop]


def test_a_disk_is_found_while_the_kernel_takes_down_the_node_that_had_it(disk_folder: Path) -> None:
    """The folder is a disk of its own, whose place is forgotten together with the node's mounts."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk_folder], check=True)
    volumes = disk_folder / "volumes"
    volumes.mkdir()
    path = image(volumes)
    program = (
        "import sys; from pathlib import Path; from sandbox.nodes import loops\n"
        "with loops.attached(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    command = ["unshare", "--mount", sys.executable, "-c", program, str(path)]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:
            assert node.stdout is not None
            node.stdout.readline()
            (loop,) = loops.of(path)
            with loops.opened(loop):
                node.kill()
                node.wait()
                told = Path(f"/sys/block/loop{loop.number}/loop/backing_file")
                assert soon(lambda: told.read_text().strip() == "/volumes/vol-1.img")
                assert loops.of(path) == [loop]
                assert loops.below(volumes) == [loop]
                assert loops.of(volumes / "vol-2.img") == []
        assert soon(lambda: loops.of(path) == [])
    finally:
        subprocess.run(["umount", disk_folder], check=True)


def test_a_disk_grows_with_its_file_when_told_to(disk_folder: Path) -> None:
    path = image(disk_folder)
    with loops.attached(path) as loop:
        os.truncate(path, 5 * MIB)
        assert size_of(loop) == MIB
        loops.refresh_size(loop)
        assert size_of(loop) == 5 * MIB


def test_a_missing_file_takes_no_disk(disk_folder: Path) -> None:
    with pytest.raises(FileNotFoundError), loops.attached(disk_folder / "nowhere.img"):
        pytest.fail("there is nothing to attach")
    assert loops.below(disk_folder) == []


def test_many_disks_made_at_once_are_all_different(disk_folder: Path) -> None:
    images = [image(disk_folder, f"vol-{number}.img") for number in range(8)]
    ready, problems, found = threading.Barrier(8, timeout=20), list[BaseException](), list[loops.Loop]()

    def make(path: Path) -> None:
        try:
            ready.wait()
            with loops.attached(path) as loop:
                assert loops.of(path) == [loop]
                found.append(loop)
                ready.wait()
        except BaseException as error:
            ready.abort()
            problems.append(error)

    makers = [threading.Thread(target=make, args=(path,)) for path in images]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert not problems
    assert len(set(found)) == 8
    assert soon(lambda: loops.below(disk_folder) == [])


def test_a_free_disk_that_somebody_else_takes_first_is_not_fought_for(
    disk_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = image(disk_folder, "vol-1.img"), image(disk_folder, "vol-2.img")
    with loops.attached(first) as taken:
        real, lies = fcntl.ioctl, iter([taken.number, taken.number])

        def lie(descriptor: int, request: int, *more: object) -> object:
            if request == loops._GET_FREE:
                number = next(lies, None)
                if number is not None:
                    return number
            return real(descriptor, request, *more)  # type: ignore[call-overload]

        monkeypatch.setattr(fcntl, "ioctl", lie)
        with loops.attached(second) as loop:
            assert loop != taken
            assert loops.of(second) == [loop]
        assert loops.of(first) == [taken]


def test_a_machine_that_never_has_a_free_disk_is_told_by_an_error(
    disk_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = image(disk_folder, "vol-1.img"), image(disk_folder, "vol-2.img")
    with loops.attached(first) as taken:
        real = fcntl.ioctl

        def lie(descriptor: int, request: int, *more: object) -> object:
            if request == loops._GET_FREE:
                return taken.number
            return real(descriptor, request, *more)  # type: ignore[call-overload]

        monkeypatch.setattr(fcntl, "ioctl", lie)
        with pytest.raises(OSError, match="busy"), loops.attached(second):
            pytest.fail("there was no free disk")


def test_opening_a_disk_leaves_no_name_in_the_machines_dev(disk_folder: Path) -> None:
    with loops.attached(image(disk_folder)) as loop, loops.opened(loop), loops.opened(loop):
        assert not list(Path("/dev").glob(f".loop-{loop.number}-*"))
