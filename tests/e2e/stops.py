"""Stops operations in the middle of chosen steps: a gate for the proxies between the worker and its servers.

Which step a request is for is asked of Temporal: while a request is held, its step is the one that a worker
has in hand. So a test names steps of the plan, and nothing here knows what a step does.
"""

import asyncio
import re
import threading
from dataclasses import dataclass, field
from enum import Enum

from tests.e2e.proxy import Request
from tests.sandboxes import Bench

COMPONENT = "db"
PATIENCE_SECONDS = 30.0


class When(Enum):
    """What becomes of the request that a step is stopped at."""

    BEFORE = "held before the server sees it"
    AFTER = "carried out, its answer held"
    LOST = "carried out, its answer lost"


@dataclass(frozen=True)
class Point:
    """A change that a step makes; "" for a step that only looks."""

    step: str
    change: str

    @property
    def lane(self) -> str:
        """The number of the instance that the step is for; "" for the component as a whole."""
        part = self.step.split("/")[1]
        return part if part.isdigit() else ""

    @property
    def in_any_lane(self) -> str:
        """The same words for what every instance does."""
        return (
            re.sub(rf"\b{COMPONENT}([-/]){self.lane}\b", rf"{COMPONENT}\1N", str(self))
            if self.lane
            else str(self)
        )

    def __str__(self) -> str:
        return f"{self.step} [{self.change or 'looks'}]"


@dataclass
class Stop:
    app: str
    point: Point
    when: When
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False
    over: bool = False

    def release(self, drop: bool = False) -> None:
        """Let what is held go on, or end its connections as the death of the worker does."""
        self.dropped, self.over = drop, True
        self.let_go.set()


class StepGate:
    """Stops each app at its own point, and writes down the points of one that is followed."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._loop = asyncio.get_running_loop()
        self._stops: list[Stop] = []
        self._followed: dict[str, dict[str, dict[str, None]]] = {}
        self._disks: dict[str, str] = {}

    def stop(self, app: str, point: Point, when: When) -> Stop:
        """Stop the app's next such change; any number of an app's lanes can be stopped side by side."""
        stop = Stop(app, point, when)
        self._stops.append(stop)
        return stop

    def follow(self, app: str) -> None:
        self._followed[app] = {}

    def points(self, app: str) -> list[Point]:
        """What the app's steps did since it was followed, in their order: every change, and the steps that
        changed nothing."""
        return [
            Point(step, change)
            for step, changes in self._followed[app].items()
            for change in (list(changes) if any(changes) else [""])
            if change or not any(changes)
        ]

    def release_all(self, drop: bool = False) -> None:
        for stop in list(self._stops):
            stop.release(drop)

    # What the proxies ask.

    def before(self, request: Request) -> bool:
        for app in list(self._followed):
            if self._is_of(request, app):
                self._write_down(request, app)
        stop = self._stop_at(request)
        if stop is None or stop.when is not When.BEFORE:
            return True
        return self._hold(stop)

    def after(self, request: Request, answer: bytes) -> bool:
        self._remember_disk(request, answer)
        stop = self._stop_at(request)
        if stop is None or stop.when is When.BEFORE:
            return True
        if stop.when is When.LOST:
            stop.over = True
            self._reached(stop)
            return False
        return self._hold(stop)

    def _hold(self, stop: Stop) -> bool:
        self._reached(stop)
        stop.let_go.wait(timeout=4 * PATIENCE_SECONDS)
        return not stop.dropped

    def _reached(self, stop: Stop) -> None:
        self._loop.call_soon_threadsafe(stop.reached.set)

    def _stop_at(self, request: Request) -> Stop | None:
        for stop in list(self._stops):
            if stop.over or not self._is_of(request, stop.app):
                continue
            if request.change(stop.app) != stop.point.change or not self._is_in(request, stop.point.lane):
                continue
            if stop.point.step in self._at_work(stop.app):
                return stop
        return None

    def _write_down(self, request: Request, app: str) -> None:
        for step in sorted(self._at_work(app)):
            if self._is_in(request, Point(step, "").lane):
                self._followed[app].setdefault(step, {})[request.change(app)] = None

    def _is_of(self, request: Request, app: str) -> bool:
        """Whether it is about this app alone; AWS is asked about the disks of several apps at once."""
        if request.aws_action.startswith("Describe"):
            return False
        return bool(re.search(rf"(?<![a-z0-9]){app}(?![a-z0-9])", self._words(request)))

    def _is_in(self, request: Request, lane: str) -> bool:
        return not lane or bool(re.search(rf"\b{COMPONENT}[-/]{lane}\b", self._words(request)))

    def _words(self, request: Request) -> str:
        return f"{request.text}\n{self._disks.get(request.volume, '')}"

    def _remember_disk(self, request: Request, answer: bytes) -> None:
        """A disk is created with its tags and deleted by its id alone."""
        if request.aws_action == "CreateVolume" and (made := re.search(rb"vol-[0-9a-f]+", answer)):
            self._disks[made.group().decode()] = request.text

    def _at_work(self, app: str) -> set[str]:
        asked = asyncio.run_coroutine_threadsafe(self._bench.at_work(app, COMPONENT), self._loop)
        return asked.result(timeout=PATIENCE_SECONDS)


async def all_reached(stops: list[Stop], seconds: float = 4 * PATIENCE_SECONDS) -> None:
    """Wait until every stop holds its step; a failure names those that were passed by."""
    waits = [asyncio.wait_for(stop.reached.wait(), seconds) for stop in stops]
    results = await asyncio.gather(*waits, return_exceptions=True)
    missed = [
        f"{s.app}: {s.point}" for s, r in zip(stops, results, strict=True) if isinstance(r, TimeoutError)
    ]
    assert not missed, f"never stopped at {missed}"


def in_groups(points: list[Point]) -> list[list[Point]]:
    """Points that instances pass side by side are of one group: one app can be stopped at all of them."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.in_any_lane, []).append(point)
    return list(groups.values())
