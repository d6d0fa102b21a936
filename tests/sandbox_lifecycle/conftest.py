"""Sandboxes of the tests' own: in a folder of their own, so that none of the user's is touched."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import lifecycle

HOME = "SUPERGIANT_SANDBOX_HOME"


@pytest.fixture(scope="session")
def home_of_the_session() -> Iterator[Path]:
    """A folder for sandboxes; what still runs in it at the end is taken down."""
    with tempfile.TemporaryDirectory(prefix="sandboxes-") as name:
        home = Path(name).resolve()
        try:
            yield home
        finally:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(HOME, str(home))
                for folder in home.iterdir():
                    if folder.is_dir():
                        lifecycle.down(folder.name)


@pytest.fixture(autouse=True)
def sandbox_home(home_of_the_session: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In these tests only: other tests of the same session have sandboxes elsewhere."""
    monkeypatch.setenv(HOME, str(home_of_the_session))
    return home_of_the_session


@pytest.fixture(scope="session")
def bed(home_of_the_session: Path) -> str:
    """The name of a sandbox that is up; whoever breaks it repairs it with `up`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME, str(home_of_the_session))
        lifecycle.up("bed", nodes_per_zone=1)
    return "bed"
