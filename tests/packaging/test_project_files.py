"""The project as a whole: what is packaged, what is said of the version, and what must not be in the tree."""

import importlib
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

#: Programs and tests that are run from the tree and never installed.
NOT_PACKAGED = {"bench", "tests"}


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_that_is_imported_is_the_one_of_this_tree(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    assert Path(file).resolve() == REPOSITORY / name / "__init__.py"


def test_every_package_of_the_tree_is_packaged() -> None:
    found = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")}
    assert found - NOT_PACKAGED == set(PACKAGES)


def test_the_import_rules_cover_every_package() -> None:
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) >= set(PACKAGES)


def test_package_files_are_empty() -> None:
    for name in PACKAGES:
        for file in (REPOSITORY / name).rglob("__init__.py"):
            assert not file.read_text(), file


def test_the_project_cannot_be_uploaded_by_mistake() -> None:
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


def test_the_changelog_tells_of_this_version_and_of_what_is_not_released() -> None:
    headings = re.findall(r"^## \[?([^\]\s]+)\]?", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert PROJECT["project"]["version"] in headings


def test_the_licence_is_the_one_that_the_project_declares() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in (REPOSITORY / "LICENSE").read_text()[:200]


@pytest.mark.parametrize(
    "place", ["/root/", "/home/[a-z]", "/tmp/[a-z-]+/", f"{REPOSITORY}/", r"/[a-z]+/[^ ]*\.venv/"]
)
def test_no_tracked_file_names_a_place_of_one_machine(place: str) -> None:
    found = grep(place, "*.py", "*.md", "*.json", "*.toml", "*.y*ml", "*.sh", "Makefile", ".ci", "deploy")
    assert not found


def test_no_work_is_left_marked_as_undone() -> None:
    assert not grep(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", "*.py", "*.sh", "Makefile")


def grep(pattern: str, *paths: str) -> list[str]:
    ran = subprocess.run(
        ["git", "grep", "-nE", pattern, "--", *paths],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stderr
    here = f"tests/packaging/{Path(__file__).name}:"
    return [line[:200] for line in ran.stdout.splitlines() if not line.startswith(here)]
