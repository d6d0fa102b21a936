"""Sandboxes of the tests' own: in a folder of their own, so that none of the user's is touched."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import lifecycle


@pytest.fixture(scope="session")
def sandbox_home() -> Iterator[Path]:
    """A folder for sandboxes; what still runs in it at the end is taken down."""
    with tempfile.TemporaryDirectory(prefix="sandboxes-") as name, pytest.MonkeyPatch.context() as patch:
        home = Path(name).resolve()
        patch.setenv("SUPERGIANT_SANDBOX_HOME", str(home))
        try:
            yield home
        finally:
            for folder in home.iterdir():
                if folder.is_dir():
                    lifecycle.down(folder.name)


@pytest.fixture(scope="session")
def bed(sandbox_home: Path) -> str:
    """The name of a sandbox that is up; whoever breaks it repairs it with `up`."""
    lifecycle.up("bed", nodes_per_zone=1)
    return "bed"
