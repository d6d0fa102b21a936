"""Where a sandbox keeps its files."""

import os
import stat
from pathlib import Path

import pytest

from sandbox.errors import NotThere, SandboxError
from sandbox.layout import Layout, layout_of, read_memory, write_private


def test_the_folder_follows_the_environment_from_special_to_general(tmp_path: Path) -> None:
    special = {
        "SUPERGIANT_SANDBOX_HOME": f"{tmp_path}/s",
        "XDG_STATE_HOME": f"{tmp_path}/x",
        "HOME": f"{tmp_path}/h",
    }
    assert layout_of("a", special).folder == tmp_path / "s/a"
    del special["SUPERGIANT_SANDBOX_HOME"]
    assert layout_of("a", special).folder == tmp_path / "x/supergiant/sandboxes/a"
    del special["XDG_STATE_HOME"]
    assert layout_of("a", special).folder == tmp_path / "h/.local/state/supergiant/sandboxes/a"


def test_two_ways_to_the_same_folder_are_one_sandbox(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    by_link = layout_of("a", {"SUPERGIANT_SANDBOX_HOME": f"{tmp_path}/link"})
    assert by_link == layout_of("a", {"SUPERGIANT_SANDBOX_HOME": f"{tmp_path}/real"})


@pytest.mark.parametrize("name", ["", "A", "../a", "a/b", "-a", "a-", "a" * 33, "ä", "a b"])
def test_a_name_that_is_no_plain_word_is_refused(name: str) -> None:
    with pytest.raises(NotThere, match="no name for a sandbox"):
        layout_of(name)


def test_a_socket_path_too_long_for_the_kernel_is_moved(tmp_path: Path) -> None:
    short = Layout("a", Path("/s/a"))
    deep = Layout("a", tmp_path / ("d" * 100))
    other = Layout("b", tmp_path / ("e" * 100))
    assert short.csi_socket == Path("/s/a/csi.sock")
    assert len(os.fsencode(deep.csi_socket)) <= 107
    assert deep.csi_socket != other.csi_socket


def test_a_damaged_memory_is_told_with_the_way_out(tmp_path: Path) -> None:
    layout = Layout("a", tmp_path)
    assert read_memory(layout) is None
    for damaged in ("{", "{}", '{"ports": {}, "of_a_later_version": 1}'):
        layout.memory.write_text(damaged)
        with pytest.raises(SandboxError, match="sandbox down --name a"):
            read_memory(layout)


def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "one")
    write_private(path, "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]
