"""One sandbox with three real nodes for all tests of this folder, and a look at what it leaves on the machine."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.nodes import requirements
from sandbox.progress import Progress
from tests import leaks
from tests.e2e.conftest import stage, undisturbed, whole_stage
from tests.real_nodes.nodes import Nodes
from tests.sandboxes import Sandbox, brought_up

# The stage of the end-to-end tests, played on real nodes: its fixtures take the sandbox of this folder.
__all__ = ["stage", "undisturbed", "whole_stage"]

REAL_NODES = 3


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Whatever the tests of this folder did and however they ended: the machine is as it was."""
    folder = Path(tempfile.gettempdir())
    if reason := requirements.obstacle(folder):
        pytest.skip(f"NO REAL NODES ON THIS MACHINE, AND SO NO PROOF THAT DATA SURVIVES: {reason}")
    # What is installed now is no leak of the tests.
    requirements.ensure(folder, Progress())
    before = leaks.picture()
    yield
    changed = leaks.differences(before, leaks.picture())
    assert not changed, f"this machine is not as it was: {changed}"


@pytest.fixture(scope="session")
def sandbox(nothing_is_left: None) -> Iterator[Sandbox]:
    with brought_up(real_nodes=REAL_NODES) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def nodes(sandbox: Sandbox) -> Nodes:
    return Nodes(sandbox)
