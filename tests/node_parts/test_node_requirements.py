"""What a machine lacks for real nodes is said before anything is done, with the way out."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.nodes import packages, requirements
from sandbox.progress import Progress, Silence
from tests.node_parts.conftest import why_no_disks

FOLDER = Path(tempfile.gettempdir(), "me/.local/state/supergiant/sandboxes/default")


class Computer:
    """A machine that has everything, until a test takes something away."""

    def __init__(self) -> None:
        self.lacks = set[str]()
        self.done = list[str]()
        self.namespaces = ""
        self.overlays = ""

    def which(self, program: str, path: str | None = None) -> str | None:
        return None if program in self.lacks else f"/usr/bin/{program}"

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[0] == "unshare"
        problem = self.overlays if "overlay" in command else self.namespaces
        return subprocess.CompletedProcess(command, 1 if problem else 0, "", problem)

    def install(self, names: list[str]) -> None:
        self.done.append(f"install {' '.join(names)}")
        self.lacks.clear()


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    computer = Computer()
    monkeypatch.delenv("SUPERGIANT_BIN_DIR", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", computer.which)
    monkeypatch.setattr(subprocess, "run", computer.run)
    monkeypatch.setattr(packages, "refresh_lists", lambda: computer.done.append("refresh"))
    monkeypatch.setattr(packages, "install", computer.install)
    exists = Path.exists
    monkeypatch.setattr(
        Path,
        "exists",
        lambda path: "no loops" not in computer.lacks if path.name == "loop-control" else exists(path),
    )
    return computer


def test_a_machine_that_has_everything_is_left_as_it_is(computer: Computer) -> None:
    requirements.ensure(FOLDER, Silence())
    assert computer.done == []
    assert requirements.obstacle(FOLDER) is None


def test_what_is_missing_is_installed_and_said(computer: Computer) -> None:
    computer.lacks |= {"mkfs.xfs", "containerd"}
    said = io.StringIO()
    assert requirements.obstacle(FOLDER) is None
    requirements.ensure(FOLDER, Progress(said))
    assert computer.done == ["refresh", "install containerd xfsprogs"]
    assert "Installing containerd, xfsprogs with apt-get" in said.getvalue()


def test_without_apt_get_the_missing_packages_are_named(computer: Computer) -> None:
    computer.lacks |= {"mkfs.xfs", "apt-get"}
    with pytest.raises(SandboxError, match=r"xfsprogs.*no apt-get") as refused:
        requirements.ensure(FOLDER, Silence())
    assert "--real-nodes" in refused.value.way_out
    assert computer.done == []
    assert "xfsprogs" in (requirements.obstacle(FOLDER) or "")


def test_a_package_that_does_not_bring_its_program_is_told(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    computer.lacks.add("runc")
    monkeypatch.setattr(packages, "install", lambda _: None)
    with pytest.raises(SandboxError, match="runc still lack"):
        requirements.ensure(FOLDER, Silence())


def test_who_is_not_root_is_told_why_it_needs_root(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="need root") as refused:
        requirements.ensure(FOLDER, Silence())
    assert "leave out --real-nodes" in refused.value.way_out
    assert "need root" in (requirements.obstacle(FOLDER) or "")


def test_a_machine_without_loop_devices_is_told(computer: Computer) -> None:
    computer.lacks.add("no loops")
    with pytest.raises(SandboxError, match="loop-control"):
        requirements.ensure(FOLDER, Silence())


def test_a_machine_that_allows_no_namespaces_is_told_in_its_own_words(computer: Computer) -> None:
    computer.namespaces = "unshare: unshare failed: Operation not permitted\n"
    with pytest.raises(SandboxError, match="Operation not permitted"):
        requirements.ensure(FOLDER, Silence())
    assert computer.done == []


def test_a_machine_without_the_program_that_tries_gets_it_installed(
    computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("unshare")

    computer.lacks.add("unshare")
    monkeypatch.setattr(subprocess, "run", missing)
    requirements.ensure(FOLDER, Silence())
    assert computer.done == ["refresh", "install util-linux"]


@pytest.mark.parametrize("hidden", ["/var/lib/sandboxes", "/run/user/0/sandboxes", "/dev/shm/sandboxes"])
def test_a_folder_that_nodes_cannot_see_is_refused_with_the_setting(computer: Computer, hidden: str) -> None:
    with pytest.raises(SandboxError, match="SUPERGIANT_SANDBOX_HOME"):
        requirements.ensure(Path(hidden) / "default", Silence())
    # Only the folder itself counts, not one whose name begins alike.
    assert requirements._out_of_sight(Path("/var/library/sandboxes/default")) is None


def test_a_folder_that_a_link_leads_to_where_nodes_cannot_see_is_refused(
    computer: Computer, tmp_path: Path
) -> None:
    (tmp_path / "home").symlink_to("/var/lib/sandboxes")
    assert "outside of /var/lib" in (requirements.obstacle(tmp_path / "home" / "default") or "")


def test_programs_and_code_that_nodes_cannot_see_are_refused_with_the_way_out(
    computer: Computer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refusal() -> str:
        return requirements.obstacle(FOLDER) or ""

    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "/var/lib/ci/.cache")
        assert "cannot see /var/lib/ci/.cache" in refusal()
        assert "set XDG_CACHE_HOME to a folder outside of /var/lib." in refusal()
    with monkeypatch.context() as patch:
        patch.setenv("SUPERGIANT_BIN_DIR", "/var/lib/programs")
        assert "set SUPERGIANT_BIN_DIR to a folder outside of /var/lib." in refusal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "prefix", "/run/ci/.venv")
        assert "cannot see /run/ci/.venv: make the virtual environment anew" in refusal()
    with monkeypatch.context() as patch:
        (tmp_path / "python").symlink_to("/var/lib/pythons/bin/python3")
        patch.setattr(sys, "executable", str(tmp_path / "python"))
        assert "a Python outside of /var/lib" in refusal()
    with monkeypatch.context() as patch:
        patch.setattr(requirements, "__file__", "/var/log/checkout/sandbox/nodes/requirements.py")
        assert "cannot see /var/log/checkout: keep this repository" in refusal()
    assert not refusal()


def test_a_file_system_that_cannot_hold_containers_is_refused_with_the_setting(computer: Computer) -> None:
    computer.overlays = "mount: merged: wrong fs type, bad option.\n dmesg(1) may say more.\n"
    with pytest.raises(SandboxError, match=r"wrong fs type.*SUPERGIANT_SANDBOX_HOME") as refused:
        requirements.ensure(FOLDER, Silence())
    assert "dmesg" not in str(refused.value)


@pytest.mark.skipif(bool(why_no_disks()), reason=why_no_disks())
def test_a_containers_own_root_cannot_hold_containers_and_the_attempt_leaves_nothing(tmp_path: Path) -> None:
    disk, root = tmp_path / "disk", tmp_path / "root"
    for folder in (disk, root):
        folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=True)
    try:
        for name in ("lower", "upper", "work"):
            (disk / name).mkdir()
        layers = f"lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", root], check=True)
        try:
            assert "SUPERGIANT_SANDBOX_HOME" in (requirements.obstacle(root / "sandboxes/default") or "")
            assert not list(root.iterdir())
        finally:
            subprocess.run(["umount", root], check=True)
        started = time.monotonic()
        assert requirements.obstacle(disk / "sandboxes/default") is None
        # It is asked in each run of the demo and by every test that needs real nodes.
        assert time.monotonic() - started < 2
        assert sorted(it.name for it in disk.iterdir()) == ["lower", "upper", "work"]
    finally:
        subprocess.run(["umount", disk], check=True)
