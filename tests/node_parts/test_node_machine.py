"""A node from the outside, without one: what its files mean, and what is undone when it is mended."""

import dataclasses
import fcntl
from pathlib import Path

import pytest

from sandbox.errors import NotThere
from sandbox.layout import Layout
from sandbox.nodes import cgroups, links
from sandbox.nodes.machine import Machine, machines
from sandbox.nodes.plan import NodePlan


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to links and cgroups of the machine, which stay untouched."""
    calls = list[str]()
    monkeypatch.setattr(links, "unplug", lambda _, number: calls.append(f"unplug {number}"))
    monkeypatch.setattr(links, "connect", lambda _, number, how: calls.append(f"connect {number} {how}"))
    monkeypatch.setattr(cgroups, "remove", lambda name: calls.append(f"remove {name}"))
    return calls


@pytest.fixture
def machine(plan: NodePlan, tmp_path: Path, done: list[str]) -> Machine:
    layout = Layout("here", tmp_path)
    layout.processes.mkdir()
    return Machine(layout, plan)


def test_every_node_that_has_a_plan_is_known_by_number(plan: NodePlan, tmp_path: Path) -> None:
    layout = Layout("here", tmp_path)
    plan.write()
    # One whose hypervisor was killed before it had written the plan.
    (layout.nodes / "4").mkdir()
    assert [machine.plan for machine in machines(layout)] == [plan]
    assert machines(Layout("other", tmp_path / "other")) == []


def test_a_node_that_was_never_started_is_off(machine: Machine) -> None:
    assert not machine.is_on()
    assert machine.first_pid() is None


def test_switching_a_dead_node_off_removes_what_it_left_outside(machine: Machine, done: list[str]) -> None:
    machine.switch_off()
    assert done == ["unplug 3", "remove sg140-n3"]


def test_a_cable_of_a_node_that_is_off_is_cut_when_it_starts(machine: Machine, done: list[str]) -> None:
    machine.connect(False)
    assert machine.cut_off.exists()
    machine.connect(True)
    assert not machine.cut_off.exists()
    assert done == []


def test_mending_undoes_everything_that_was_broken_on_purpose(machine: Machine) -> None:
    for broken in (machine.crashed, machine.cut_off, machine.plan.kubelet_held):
        broken.touch()
    machine.mend()
    assert not any(it.exists() for it in (machine.crashed, machine.cut_off, machine.plan.kubelet_held))
    machine.mend()


def test_who_waited_for_a_node_that_went_away_is_told_so(machine: Machine, plan: NodePlan) -> None:
    plan.write()
    dataclasses.replace(plan, instance_id="i-0another").write()
    with pytest.raises(NotThere, match="is gone"), machine.alone():
        pytest.fail("another node of the same number was changed")
    machine.forget()
    with pytest.raises(NotThere, match="is gone"), machine.alone():
        pytest.fail("a node without a folder was changed")


def test_one_at_a_time_changes_a_node(machine: Machine) -> None:
    machine.plan.write()
    with machine.alone(), (machine.plan.home / "lock").open("w") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_forgotten_node_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    machine.plan.write()
    (machine.plan.home / "var-lib/kubelet").mkdir(parents=True)
    machine.forget()
    assert machines(Layout("here", tmp_path)) == []
    assert not machine.plan.home.exists()
