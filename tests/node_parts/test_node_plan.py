"""What a node is told is what it reads, and nobody else reads it."""

import json
import stat
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.nodes.plan import NodePlan, read_plan


def test_a_plan_is_read_as_it_was_written(plan: NodePlan) -> None:
    assert read_plan(plan.write()) == plan


def test_only_the_owner_may_read_a_plan(plan: NodePlan) -> None:
    assert stat.S_IMODE(plan.write().stat().st_mode) == 0o600


def test_a_plan_knows_its_own_places(plan: NodePlan) -> None:
    assert plan.address == "10.140.0.13"
    assert plan.write().parent == plan.home
    assert plan.node_kubeconfig.parent == plan.kubelet_held.parent == plan.home
    logs = {plan.log(program) for program in ("kubelet", "csi", "containerd")}
    assert len(logs) == 3
    assert all(log.parent == Path(plan.logs) for log in logs)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"number": 1}'])
def test_a_damaged_plan_is_told_in_plain_words(plan: NodePlan, text: str) -> None:
    path = plan.write()
    path.write_text(text)
    with pytest.raises(SandboxError, match="damaged or of another version"):
        read_plan(path)


def test_a_plan_of_a_newer_version_is_told_in_plain_words(plan: NodePlan) -> None:
    path = plan.write()
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "green"}))
    with pytest.raises(SandboxError, match="of another version"):
        read_plan(path)
