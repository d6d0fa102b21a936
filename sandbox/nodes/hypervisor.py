"""Switches real nodes on and off as the simulated EC2 says, as the hosts of a cloud do.

Run by the supervisor as `python -m sandbox.nodes.hypervisor`. Each look compares instances with machines and acts on
the difference; it remembers nothing that is not in a file, and nodes outlive it, so it may be killed at any time.
"""

import argparse
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.layout import Layout, read_memory, write_private
from sandbox.nodes import links
from sandbox.nodes.ec2 import Ec2, Ec2Error, Instance
from sandbox.nodes.machine import Machine, machines, make_room
from sandbox.nodes.network import MOST_NODES, Network
from sandbox.nodes.plan import NodePlan
from sandbox.nodes.setting import Setting, setting_of
from sandbox.nodes.volumes import VolumeFiles
from sandbox.services import environment

_PERIOD_SECONDS = 0.3
_TIDY_SECONDS = 5.0

log = logging.getLogger("hypervisor")


class Hypervisor:
    """Keeps the machines of one sandbox like its instances."""

    def __init__(self, layout: Layout, setting: Setting, ec2: Ec2, surroundings: Mapping[str, str]) -> None:
        self._layout = layout
        self._setting = setting
        self._ec2 = ec2
        self._surroundings = surroundings
        self._network = Network(setting.octet)
        # Not known at first: an earlier hypervisor may have left a way through a node that is gone.
        self._services_through: tuple[int | None] | None = None
        self._limits: dict[str, int] = {}

    def look(self) -> int:
        """Make machines like instances; the number of machines that have power. A machine that cannot be changed
        holds up no other one."""
        instances = {instance.id: instance for instance in self._ec2.real_instances()}
        known = {machine.plan.instance_id: machine for machine in machines(self._layout)}
        problems = list[str]()
        # First what goes: a new machine may need its number.
        for instance_id in list(known):
            with _noted(problems):
                self._take_away(known, instance_id, instances.get(instance_id))
        for instance in instances.values():
            if instance.has_power:
                with _noted(problems):
                    if instance.id not in known:
                        known[instance.id] = Machine(self._layout, self._plan(instance, known))
                    self._switch_on(known[instance.id])
        running = [machine for machine in known.values() if machine.is_on()]
        self._route_services(running)
        if problems:
            raise SandboxError("; ".join(problems))
        return len(running)

    def tidy(self) -> None:
        """Remove the bytes of volumes that EC2 has deleted."""
        files = VolumeFiles(self._layout.volumes)
        for volume_id in files.ids():
            if self._ec2.volume(volume_id) is None:
                files.remove(volume_id)
                log.info("removed the bytes of %s", volume_id)

    def _take_away(self, known: dict[str, Machine], instance_id: str, instance: Instance | None) -> None:
        if instance is None or instance.is_dead:
            self._remove(known[instance_id])
            del known[instance_id]
        elif not instance.has_power and instance.state != "pending":
            self._switch_off(known[instance_id])
        elif known[instance_id].crashed.exists() and known[instance_id].is_on():
            # Whoever crashed it was interrupted.
            with known[instance_id].alone():
                known[instance_id].switch_off(losing_data=True)

    def _switch_on(self, machine: Machine) -> None:
        if machine.crashed.exists() or (machine.is_on() and not machine.is_half_made()):
            return
        with machine.alone():
            if machine.is_half_made():
                machine.switch_off()
            if not machine.is_on() and not machine.crashed.exists():
                machine.switch_on(self._surroundings)
                log.info("switched %s on (%s)", machine.plan.name, machine.plan.instance_id)

    def _switch_off(self, machine: Machine) -> None:
        with machine.alone():
            # Who is started again after a stop boots, whatever was broken before.
            machine.crashed.unlink(missing_ok=True)
            if machine.is_on():
                machine.switch_off()
                log.info("switched %s off", machine.plan.name)

    def _remove(self, machine: Machine) -> None:
        with machine.alone():
            machine.switch_off()
            machine.forget()
        log.info("removed %s, its instance is gone", machine.plan.name)

    def _plan(self, instance: Instance, known: Mapping[str, Machine]) -> NodePlan:
        taken = {machine.plan.number for machine in known.values()}
        number = next((n for n in range(1, MOST_NODES + 1) if n not in taken), None)
        if number is None:
            raise SandboxError(f"A sandbox has {MOST_NODES} real nodes at most.")
        if instance.type not in self._limits:
            self._limits[instance.type] = self._ec2.attachments_of(instance.type)
        make_room(self._layout, self._network, number)
        plan = self._setting.plan(self._layout, instance, number, self._limits[instance.type])
        plan.write()
        return plan

    def _route_services(self, running: list[Machine]) -> None:
        """The machine's own way to ClusterIPs leads through a node that is there."""
        numbers = sorted(machine.plan.number for machine in running if not machine.cut_off.exists())
        through = numbers[0] if numbers else None
        if (through,) != self._services_through:
            links.route_services(self._network, numbers)
            self._services_through = (through,)


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except (Ec2Error, SandboxError, OSError) as error:
        problems.append(str(error))


def main() -> None:
    """Look again and again until asked to end, and write down how the last look went."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True, help="the sandbox's folder")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    layout = Layout(arguments.folder.name, arguments.folder)
    memory = read_memory(layout)
    if memory is None:
        sys.exit(f"there is no sandbox in {arguments.folder}")
    setting = setting_of(layout, memory)
    hypervisor = Hypervisor(layout, setting, setting.ec2(), environment())
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    tidied, complaint = time.monotonic(), ""
    while not asked.wait(_PERIOD_SECONDS):
        running, problems = 0, list[str]()
        with _noted(problems):
            running = hypervisor.look()
        if time.monotonic() - tidied > _TIDY_SECONDS:
            with _noted(problems):
                hypervisor.tidy()
            tidied = time.monotonic()
        problem = "; ".join(problems)
        if problem != complaint:
            log.warning(problem or "all is well again")
            complaint = problem
        health = {"at": time.time(), "problem": problem, "running_nodes": running}
        # On a full disk the old news grows stale, which `status` tells.
        with suppress(OSError):
            write_private(layout.hypervisor_health, json.dumps(health))


if __name__ == "__main__":
    main()
