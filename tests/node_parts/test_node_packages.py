"""Debian's packages are fetched with the lists that there are, and with fresh ones if those do not do."""

from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.nodes import packages

APT = """#!/bin/sh
echo "$@" >> "$APT_CALLS"
case "$*" in
  *update) [ -z "$APT_OFFLINE" ] || { echo "E: no mirror" >&2; exit 100; }; touch "$APT_LISTS" ;;
  *) [ -e "$APT_LISTS" ] || { echo "E: Unable to locate package" >&2; exit 100; } ;;
esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose apt-get has no lists yet; what it was asked for, a line each."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "apt-get").write_text(APT)
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("APT_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("APT_LISTS", str(tmp_path / "lists"))
    return tmp_path / "calls"


def test_a_machine_without_lists_fetches_them_first(calls: Path, tmp_path: Path) -> None:
    packages.unpack_alone("tool", tmp_path)
    asked = [line.split()[-1] for line in calls.read_text().splitlines()]
    assert asked == ["tool", "update", "tool"]


def test_lists_that_do_are_not_fetched_again(calls: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").touch()
    packages.unpack_alone("tool", tmp_path)
    assert len(calls.read_text().splitlines()) == 1


def test_a_machine_that_reaches_no_mirror_is_told_so(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APT_OFFLINE", "1")
    with pytest.raises(SandboxError, match="no mirror") as refusal:
        packages.unpack_alone("tool", tmp_path)
    assert "apt-get update" in refusal.value.way_out
