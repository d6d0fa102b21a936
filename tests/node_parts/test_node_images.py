"""Images are made once, found again, and kept so that a node never sees half of one."""

import os
import threading
import time
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.nodes import images
from sandbox.progress import Silence


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def cached(environ: dict[str, str]) -> Path:
    archive = images.cache_folder(environ) / "redis.tar"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"an image")
    return archive


def no_making(*_: object) -> None:
    raise AssertionError("nothing had to be made")


def test_the_cache_lies_where_the_user_keeps_caches(tmp_path: Path) -> None:
    named = images.cache_folder({"XDG_CACHE_HOME": "/elsewhere", "HOME": "/srv/me"})
    assert named.is_relative_to("/elsewhere/supergiant/images")
    assert images.cache_folder({"HOME": "/srv/me"}).is_relative_to("/srv/me/.cache/supergiant/images")


def test_another_name_of_the_image_that_holds_pods_is_another_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    before = images.cache_folder({"HOME": "/srv/me"})
    monkeypatch.setattr(images, "PAUSE_IMAGE", "sandbox.supergiant/pause:2")
    assert images.cache_folder({"HOME": "/srv/me"}) != before


def test_an_unknown_image_is_refused_with_those_that_there_are(environ: dict[str, str]) -> None:
    with pytest.raises(SandboxError, match="no image 'mysql'") as refused:
        images.image("mysql", Silence(), environ)
    assert "redis" in refused.value.way_out


def test_an_image_that_was_made_before_is_not_made_again(
    cached: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_make", no_making)
    assert images.image("redis", Silence(), environ) == cached


def test_an_image_is_made_once_however_many_ask_for_it(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(recipe: images.Recipe, folder: Path) -> None:
        made.append(recipe.reference)
        (folder / "image.tar").write_bytes(b"new")

    monkeypatch.setattr(images, "_make", make)
    askers = [threading.Thread(target=images.image, args=("tools", Silence(), environ)) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert made == [images.RECIPES["tools"].reference]


def test_an_image_that_could_not_be_made_leaves_nothing_that_looks_like_one(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: images.Recipe, folder: Path) -> None:
        (folder / "image.tar").write_bytes(b"half")
        raise SandboxError("no mirror")

    monkeypatch.setattr(images, "_make", fail)
    with pytest.raises(SandboxError, match="no mirror"):
        images.image("tools", Silence(), environ)
    assert [path.name for path in images.cache_folder(environ).iterdir()] == [".lock"]


def test_what_a_killed_maker_left_is_removed_by_the_next(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = images.cache_folder(environ) / ".new-left" / "root"
    left.mkdir(parents=True)
    monkeypatch.setattr(images, "_make", lambda _, folder: (folder / "image.tar").write_bytes(b"new"))
    images.image("tools", Silence(), environ)
    assert not left.parent.exists()


def test_caches_that_no_version_has_used_for_long_go_when_a_new_one_is_filled(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = images.cache_folder(environ).parent
    monkeypatch.setattr(images, "_make", lambda _, folder: (folder / "image.tar").write_bytes(b"new"))
    for name, days in (("long-ago", 8), ("lately", 6)):
        (caches / name / "sub").mkdir(parents=True)
        then = time.time() - days * 24 * 3600
        os.utime(caches / name, (then, then))
    images.image("tools", Silence(), environ)
    mine = images.cache_folder(environ)
    assert {it.name for it in caches.iterdir()} == {mine.name, "lately"}
    # What is used stays, however long ago it was filled.
    os.utime(mine, (0, 0))
    images.image("tools", Silence(), environ)
    assert time.time() - mine.stat().st_mtime < 60


def test_every_recipe_can_hold_a_pod_and_names_a_version() -> None:
    assert set(images.STANDARD) <= set(images.RECIPES)
    for recipe in images.RECIPES.values():
        # A pod pulls `latest` each time, and no registry has these.
        assert recipe.reference.rpartition(":")[2] not in ("", "latest")
        assert "busybox-static" in recipe.packages


def test_a_kept_image_of_the_cache_takes_no_room_of_its_own(cached: Path, tmp_path: Path) -> None:
    kept = images.keep(cached, tmp_path / "images")
    assert kept == tmp_path / "images" / "redis.tar"
    assert os.path.samefile(kept, cached)


def test_an_archive_of_the_users_own_is_copied_since_it_may_be_written_anew(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    own = tmp_path / "own.tar"
    own.write_bytes(b"first")
    kept = images.keep(own, tmp_path / "images", "mine")
    with own.open("r+b") as file:
        file.write(b"again")
    assert kept.name == "mine.tar"
    assert kept.read_bytes() == b"first"


def test_an_image_on_another_disk_is_copied_with_its_time(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    kept = images.keep(cached, tmp_path / "images")
    assert kept.read_bytes() == b"an image"
    assert kept.stat().st_mtime_ns == cached.stat().st_mtime_ns


def test_keeping_an_image_again_changes_nothing_and_leaves_nothing_beside_it(
    cached: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        images.keep(cached, tmp_path / "images")
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["redis.tar"]


def test_who_reads_a_kept_image_while_it_is_replaced_reads_one_of_the_two_whole(
    cached: Path, tmp_path: Path
) -> None:
    kept = images.keep(cached, tmp_path / "images")
    with kept.open("rb") as reader:
        newer = tmp_path / "redis.tar"
        newer.write_bytes(b"a newer image")
        images.keep(newer, tmp_path / "images")
        assert reader.read() == b"an image"
    assert kept.read_bytes() == b"a newer image"
    assert cached.read_bytes() == b"an image"


def test_an_image_that_cannot_be_copied_leaves_the_old_one_and_no_draft(cached: Path, tmp_path: Path) -> None:
    kept = images.keep(cached, tmp_path / "images")
    with pytest.raises(FileNotFoundError):
        images.keep(tmp_path / "nowhere" / "redis.tar", tmp_path / "images")
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["redis.tar"]
    assert kept.read_bytes() == b"an image"


def test_many_may_keep_the_same_image_at_once(cached: Path, tmp_path: Path) -> None:
    problems = list[BaseException]()

    def keep() -> None:
        try:
            for _ in range(20):
                images.keep(cached, tmp_path / "images")
        except BaseException as error:
            problems.append(error)

    keepers = [threading.Thread(target=keep) for _ in range(4)]
    (tmp_path / "images").mkdir()
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join()
    assert not problems
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["redis.tar"]
