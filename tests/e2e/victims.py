"""Apps that are each led to one point of an operation and stopped there, for series of kills and cancels."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.e2e.stage import Stage, small_app
from tests.e2e.stops import Point, StepGate, Stop, When, all_reached, in_groups

INSTANCES = 2
#: So many apps are led to their points at once: a held request is given up after 15 s, and must not be.
AT_ONCE = 6
_numbers = itertools.count(1)


@dataclass
class Victim:
    """An app that is stopped at a point, in every instance that comes by it."""

    points: list[Point]
    app: str = field(default_factory=lambda: f"victim-{next(_numbers):03}")
    stops: list[Stop] = field(default_factory=list)

    @property
    def operation(self) -> str:
        return f"deploy-{self.app}"

    async def stopped(self, stage: Stage, gate: StepGate, when: When) -> None:
        """Deploy it as far as its point."""
        self.stops = [gate.stop(self.app, point, when) for point in self.points]
        await stage.bench.deploy(small_app(self.app, INSTANCES), self.operation)
        await all_reached(self.stops)

    def released(self) -> None:
        for stop in self.stops:
            stop.release()

    def __str__(self) -> str:
        return f"{self.app} at {', '.join(str(point) for point in self.points)}"


def victims_of(points: list[Point]) -> list[Victim]:
    return [Victim(group) for group in in_groups(points)]


def in_batches(victims: list[Victim]) -> Iterator[list[Victim]]:
    """Those that stop late come first, so that none is held for long."""
    order = victims[::-1]
    for n in range(0, len(order), AT_ONCE):
        yield order[n : n + AT_ONCE]


async def all_stopped(stage: Stage, victims: list[Victim], when: When) -> StepGate:
    gate = StepGate(stage.bench)
    stage.gated(gate)
    for some in in_batches(victims):
        await asyncio.gather(*(victim.stopped(stage, gate, when) for victim in some))
    return gate
