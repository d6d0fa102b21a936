"""Chooses a zone for each instance: spread first, then room, then a fixed rotation. Pure.

Free room is a snapshot: two plans made at once may count on the same room, and the scheduler has the last
word. What is refused here is what cannot fit whatever happens next.
"""

import hashlib
from dataclasses import dataclass, field

from activities.models.apps import Component
from activities.models.facts import NodeFacts
from activities.models.quantities import GIB, cpu_millicores, memory_bytes


@dataclass
class Need:
    """What one instance takes of a node: CPU in millicores, memory in bytes, attachments in disks."""

    cpu: int
    memory: int
    disks: int


@dataclass
class Placed:
    zones: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Room:
    """What is left on the nodes while instances are being placed."""

    def __init__(self, nodes: list[NodeFacts]) -> None:
        self._nodes = [node for node in nodes if node.schedulable]
        self._left = {
            n.name: [n.free_cpu_millicores, n.free_memory_bytes, n.attach_limit - n.attached, n.free_pods]
            for n in self._nodes
        }

    def zones(self) -> set[str]:
        return {node.zone for node in self._nodes}

    def take(self, zone: str, need: Need) -> bool:
        """Take the room of one instance on the emptiest node of the zone that has it."""
        fitting = [n.name for n in self._nodes if n.zone == zone and self._fits(n.name, need)]
        if not fitting:
            return False
        best = self._left[max(fitting, key=lambda name: (self._left[name][2], self._left[name][0]))]
        for i, amount in enumerate((need.cpu, need.memory, need.disks, 1)):
            best[i] -= amount
        return True

    def has(self, zone: str, need: Need) -> bool:
        return any(self._fits(n.name, need) for n in self._nodes if n.zone == zone)

    def _fits(self, name: str, need: Need) -> bool:
        cpu, memory, disks, pods = self._left[name]
        return cpu >= need.cpu and memory >= need.memory and disks >= need.disks and pods >= 1


def need_of(component: Component) -> Need:
    return Need(
        cpu=sum(cpu_millicores(c.cpu.request) for c in component.containers),
        memory=sum(memory_bytes(c.memory.request) for c in component.containers),
        disks=len(component.volumes),
    )


def place(app: str, component: Component, cluster_zones: list[str], room: Room) -> Placed:
    """A zone for each instance. With spread "zone" the least used zone wins; without, the one it began with."""
    placed = Placed()
    unknown = [zone for zone in component.placement.zones if zone not in cluster_zones]
    if unknown:
        known = ", ".join(cluster_zones)
        placed.refused.append(f"no such zone {unknown[0]!r} for {component.name}; this cluster has {known}")
        return placed
    zones = [z for z in component.placement.zones or cluster_zones if z in room.zones()]
    if not zones:
        wanted = ", ".join(component.placement.zones or cluster_zones)
        placed.refused.append(f"no schedulable node for {component.name} in {wanted}")
        return placed
    need = need_of(component)
    order = _rotated(zones, f"{app}/{component.name}")
    for number in range(component.instances):
        zone = _choose(order, placed.zones, component.placement.spread, room, need)
        if zone is None or not room.take(zone, need):
            placed.refused.append(
                f"no room for {component.name}-{number} in {', '.join(zones)}: no node has {need.cpu}m CPU, "
                f"{need.memory / GIB:.1f} GiB of memory and {need.disks} free disk attachments left"
            )
            return placed
        placed.zones.append(zone)
    used = {zone: placed.zones.count(zone) for zone in zones}
    if component.placement.spread == "zone" and max(used.values()) - min(used.values()) > 1:
        placed.notes.append(f"{component.name} is spread unevenly, because some zones have no room: {used}")
    return placed


def _choose(order: list[str], taken: list[str], spread: str, room: Room, need: Need) -> str | None:
    candidates = [zone for zone in order if room.has(zone, need)]
    if not candidates:
        return None
    if spread == "none":
        return candidates[0]
    return min(candidates, key=lambda zone: (taken.count(zone), order.index(zone)))


def _rotated(zones: list[str], name: str) -> list[str]:
    # Begin at another zone for each component, or components of one instance would all share the first zone.
    start = hashlib.sha256(name.encode()).digest()[0] % len(zones)
    return zones[start:] + zones[:start]
