"""The bytes of volumes: how big, whose turn, in use or free."""

import fcntl
import threading
from pathlib import Path
from typing import IO

import pytest

from sandbox.kubernetes.rpc import Refused
from sandbox.nodes import loops, volumes
from sandbox.nodes.volumes import GIB, VolumeFiles

VOLUME = "vol-0123456789abcdef0"


@pytest.fixture
def files(tmp_path: Path) -> VolumeFiles:
    return VolumeFiles(tmp_path / "volumes")


@pytest.fixture
def in_use(monkeypatch: pytest.MonkeyPatch) -> list[loops.Loop]:
    """What the kernel says of every volume; without patience."""
    found = list[loops.Loop]()
    monkeypatch.setattr(loops, "of", lambda _: found)
    monkeypatch.setattr(volumes, "_PATIENCE_SECONDS", 0.0)
    return found


def made(files: VolumeFiles, size_gib: int = 1, volume_id: str = VOLUME) -> Path:
    with files.locked(volume_id):
        return files.ensure(volume_id, size_gib)


@pytest.mark.parametrize("volume_id", ["", "vol-", "../vol-1", "vol-1/../../x", "vol-XYZ", "i-1", "vol-1\n"])
def test_an_id_that_could_name_another_file_is_refused(files: VolumeFiles, volume_id: str) -> None:
    with pytest.raises(Refused) as refused:
        files.image(volume_id)
    assert refused.value.status == "NOT_FOUND"


def test_a_new_volume_is_blank_as_big_as_told_and_takes_no_room(files: VolumeFiles) -> None:
    image = made(files, 3)
    assert image.stat().st_size == 3 * GIB
    assert image.stat().st_blocks == 0


def test_a_volume_grows_keeps_its_bytes_and_never_shrinks(files: VolumeFiles) -> None:
    image = made(files, 1)
    with image.open("r+b") as file:
        file.write(b"data")
    made(files, 2)
    assert image.stat().st_size == 2 * GIB
    made(files, 1)
    assert image.stat().st_size == 2 * GIB
    with image.open("rb") as file:
        assert file.read(4) == b"data"


def test_nobody_else_of_the_machine_reads_the_bytes(files: VolumeFiles) -> None:
    assert made(files).parent.stat().st_mode & 0o077 == 0


def test_two_never_hold_the_same_volume_at_once(files: VolumeFiles) -> None:
    inside, most = list[int](), list[int]()

    def hold() -> None:
        for _ in range(50):
            with files.locked(VOLUME):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    holders = [threading.Thread(target=hold) for _ in range(4)]
    for holder in holders:
        holder.start()
    for holder in holders:
        holder.join()
    assert max(most) == 1


def test_who_waited_for_a_volume_that_was_removed_holds_the_lock_that_others_see(
    files: VolumeFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, entered, leave, late = (threading.Event() for _ in range(4))
    flock = fcntl.flock

    def tell_and_flock(file: IO[str], how: int) -> None:
        if threading.current_thread() is waiter:
            waiting.set()
        flock(file, how)

    def hold() -> None:
        with files.locked(VOLUME):
            entered.set()
            leave.wait(5)

    def come_late() -> None:
        with files.locked(VOLUME):
            late.set()

    waiter, other = threading.Thread(target=hold), threading.Thread(target=come_late)
    monkeypatch.setattr(fcntl, "flock", tell_and_flock)
    with files.locked(VOLUME):
        waiter.start()
        assert waiting.wait(5)
        # As `remove` does at its end, with the lock held.
        files.image(VOLUME).with_suffix(".lock").unlink()
    assert entered.wait(5)
    other.start()
    assert not late.wait(0.1)
    leave.set()
    assert late.wait(5)
    for thread in (waiter, other):
        thread.join()


def test_a_volume_in_use_is_not_released(files: VolumeFiles, in_use: list[loops.Loop]) -> None:
    made(files)
    in_use.append(loops.Loop(5))
    with pytest.raises(Refused, match="still in use") as refused, files.released(VOLUME):
        pytest.fail("it was released")
    assert refused.value.status == "FAILED_PRECONDITION"


def test_a_volume_that_is_let_go_within_a_moment_is_released(
    files: VolumeFiles, in_use: list[loops.Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    made(files)
    monkeypatch.setattr(volumes, "_PATIENCE_SECONDS", 5.0)
    looks = iter([[loops.Loop(5)], [loops.Loop(5)]])
    monkeypatch.setattr(loops, "of", lambda _: next(looks, []))
    with files.released(VOLUME):
        pass


def test_nobody_begins_to_use_a_volume_while_it_is_being_detached(
    files: VolumeFiles, in_use: list[loops.Loop]
) -> None:
    began = threading.Event()

    def begin() -> None:
        with files.locked(VOLUME):
            began.set()

    # Also a volume that no node has used before: its first use may begin at this moment.
    files.image(VOLUME).parent.mkdir()
    with files.released(VOLUME):
        beginner = threading.Thread(target=begin)
        beginner.start()
        assert not began.wait(0.05)
    beginner.join(5)
    assert began.is_set()


def test_a_sandbox_without_real_nodes_pays_nothing(files: VolumeFiles, tmp_path: Path) -> None:
    with files.released(VOLUME):
        pass
    assert not (tmp_path / "volumes").exists()


def test_a_volume_of_a_simulated_node_leaves_nothing_behind(
    files: VolumeFiles, in_use: list[loops.Loop], tmp_path: Path
) -> None:
    (tmp_path / "volumes").mkdir()
    with files.released(VOLUME):
        pass
    assert not list((tmp_path / "volumes").iterdir())


def test_the_bytes_of_a_deleted_volume_go_unless_a_node_still_uses_them(
    files: VolumeFiles, in_use: list[loops.Loop], tmp_path: Path
) -> None:
    made(files)
    in_use.append(loops.Loop(5))
    files.remove(VOLUME)
    assert files.ids() == [VOLUME]
    in_use.clear()
    files.remove(VOLUME)
    assert files.ids() == []
    assert not list((tmp_path / "volumes").iterdir())
    files.remove(VOLUME)


def test_only_volumes_that_have_bytes_are_listed(files: VolumeFiles) -> None:
    assert files.ids() == []
    for volume_id in ("vol-b", "vol-a"):
        made(files, 1, volume_id)
    assert files.ids() == ["vol-a", "vol-b"]
