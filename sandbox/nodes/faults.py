"""Breaks real nodes on purpose and mends them again, as `supergiant sandbox fault node` asks.

What is broken stays broken until it is mended here, by `sandbox up`, or (a crash) by stopping and starting the
instance in EC2: each fault is a file in the node's folder that the hypervisor and the node itself heed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sandbox import guard
from sandbox.errors import NotThere, SandboxError
from sandbox.layout import Layout, read_memory
from sandbox.nodes.machine import Machine, machines, some_machines
from sandbox.nodes.setting import setting_of
from sandbox.processes import Processes
from sandbox.progress import Silence
from sandbox.services import environment

_PATIENCE_SECONDS = 60.0
_PERIOD_SECONDS = 0.1


@dataclass(frozen=True)
class NodeState:
    """One real node as it is at this moment."""

    number: int
    name: str
    instance_id: str
    zone: str
    address: str
    has_power: bool
    is_connected: bool
    kubelet_answers: bool
    faults: tuple[str, ...]
    memory_mib: int
    log: Path


def states(layout: Layout) -> list[NodeState]:
    """Every real node of a sandbox, by number."""
    return [_state(machine) for machine in machines(layout)]


def crash(layout: Layout, node: str) -> NodeState:
    """Take a node's power away, and with it all that was not yet written to its disks; it stays off."""

    def act(machine: Machine) -> None:
        machine.crashed.touch()
        machine.switch_off(losing_data=True)

    return _on(layout, node, act)


def reboot(layout: Layout, node: str) -> NodeState:
    """Switch a node off if it is on, and on again; returns when its kubelet answers."""

    def act(machine: Machine) -> None:
        _refuse_unless_it_runs(layout, machine)
        machine.switch_off()
        machine.crashed.unlink(missing_ok=True)
        machine.plan.kubelet_held.unlink(missing_ok=True)
        machine.switch_on(environment())

    state = _on(layout, node, act)
    if state.is_connected:
        _until_kubelet_answers(_find(layout, node))
    return _state(_find(layout, node))


def cut(layout: Layout, node: str) -> NodeState:
    """Cut a node's cable: everything on it goes on, and nobody can reach it."""
    return _on(layout, node, lambda machine: machine.connect(False))


def join(layout: Layout, node: str) -> NodeState:
    """Mend a node's cable."""
    return _on(layout, node, lambda machine: machine.connect(True))


def kill_kubelet(layout: Layout, node: str) -> NodeState:
    """End the kubelet of a node alone, and keep it from being started; its containers go on."""
    return _on(layout, node, lambda machine: machine.kill_kubelet())


def start_kubelet(layout: Layout, node: str) -> NodeState:
    """Let the kubelet of a node run again; returns when it answers."""

    def act(machine: Machine) -> None:
        machine.plan.kubelet_held.unlink(missing_ok=True)
        if not machine.is_on():
            raise SandboxError(
                f"Node {machine.plan.name} has no power.",
                f"`supergiant sandbox fault node reboot {machine.plan.number}` starts it, its kubelet included.",
            )

    _on(layout, node, act)
    machine = _find(layout, node)
    if not machine.cut_off.exists():
        _until_kubelet_answers(machine)
    return _state(machine)


EFFECTS: dict[str, Callable[[Layout, str], NodeState]] = {
    "crash": crash,
    "reboot": reboot,
    "cut": cut,
    "join": join,
    "kill-kubelet": kill_kubelet,
    "start-kubelet": start_kubelet,
}


def _on(layout: Layout, node: str, act: Callable[[Machine], None]) -> NodeState:
    machine = _find(layout, node)
    # `down` must not come in between: it would leave what a fault brings up.
    with guard.alone(layout, Silence()):
        if Processes(layout).find("hypervisor") is None:
            raise SandboxError(
                f"Sandbox {layout.name} does not run, or not whole.",
                f"Bring it up: `supergiant sandbox up --name {layout.name}`.",
            )
        with machine.alone():
            act(machine)
    return _state(machine)


def _refuse_unless_it_runs(layout: Layout, machine: Machine) -> None:
    memory = read_memory(layout)
    assert memory is not None, "a sandbox that runs remembers"
    known = {instance.id: instance for instance in setting_of(layout, memory).ec2().real_instances()}
    instance = known.get(machine.plan.instance_id)
    if instance is None or not instance.has_power:
        state = instance.state if instance else "gone"
        raise SandboxError(
            f"EC2 says that {machine.plan.instance_id} is {state}: it has no power to boot with.",
            "Start the instance with EC2's StartInstances; the node follows.",
        )


def _find(layout: Layout, node: str) -> Machine:
    """A node by its number, its name or its instance's id."""
    known = some_machines(layout)
    for machine in known:
        if node in (str(machine.plan.number), machine.plan.name, machine.plan.instance_id):
            return machine
    names = ", ".join(f"{machine.plan.number} ({machine.plan.name})" for machine in known)
    raise NotThere(f"There is no real node {node!r}.", f"There are: {names}.")


def _state(machine: Machine) -> NodeState:
    plan = machine.plan
    found = {
        "crashed": machine.crashed.exists(),
        "cut off": machine.cut_off.exists(),
        "kubelet held": plan.kubelet_held.exists(),
    }
    has_power = machine.is_on()
    return NodeState(
        number=plan.number,
        name=plan.name,
        instance_id=plan.instance_id,
        zone=plan.zone,
        address=plan.address,
        has_power=has_power,
        is_connected=not machine.cut_off.exists(),
        kubelet_answers=has_power and machine.kubelet_answers(),
        faults=tuple(name for name, there in found.items() if there),
        memory_mib=machine.memory_mib(),
        log=machine.log,
    )


def _until_kubelet_answers(machine: Machine) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not machine.kubelet_answers():
        if time.monotonic() > deadline:
            raise SandboxError(
                f"The kubelet of {machine.plan.name} does not answer after {_PATIENCE_SECONDS:.0f} s.",
                f"Its log: {machine.plan.log('kubelet')}",
            )
        time.sleep(_PERIOD_SECONDS)
