"""Killed at every change that every step makes, an operation ends as if nothing had happened.

The points are not written down here: an undisturbed run is followed through the proxies, and every change its
steps make becomes a point. Then an app is deployed for each point and stopped there, and one SIGKILL of the
worker hits them all.
"""

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.pictures import disks, disks_made, final_state, leftovers
from tests.e2e.stage import Stage, marks
from tests.e2e.stops import Point, StepGate, When, all_reached, in_groups
from tests.e2e.undisturbed import Undisturbed
from tests.e2e.victims import INSTANCES, Victim, all_stopped, in_batches, victims_of
from workflows.models.operations import Cancel, OperationRecord, OperationState
from workflows.models.steps import StepState

pytestmark = marks(pytest.mark.crash)


def test_every_planned_step_is_seen_at_work_and_undone(undisturbed: Undisturbed) -> None:
    assert sorted({point.step for point in undisturbed.points}) == sorted(undisturbed.planned)
    changes = [point for point in undisturbed.points if point.change]
    assert len(changes) > len(undisturbed.planned), "fewer changes than steps: the proxies miss some"
    undone = {point.step.removesuffix("/undo") for point in undisturbed.undo_points}
    assert undone == {point.step for point in changes}, "a step that changes something is not undone"


@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER], ids=["before-the-change", "after-the-change"])
async def test_a_worker_killed_at_any_change_changes_nothing_in_the_end(
    stage: Stage, undisturbed: Undisturbed, when: When
) -> None:
    for victims in _rounds(undisturbed.points):
        gate = await all_stopped(stage, victims, when)
        await _kill_the_worker(stage, gate, victims)
        await _all_as_undisturbed(stage, undisturbed, victims)


async def test_an_answer_lost_at_any_change_changes_nothing_in_the_end(
    stage: Stage, undisturbed: Undisturbed
) -> None:
    victims = victims_of(undisturbed.points)
    await all_stopped(stage, victims, When.LOST)
    await _all_as_undisturbed(stage, undisturbed, victims)


async def test_a_worker_killed_at_any_change_of_an_undo_leaves_nothing(
    stage: Stage, undisturbed: Undisturbed
) -> None:
    for victims in _rounds(undisturbed.undo_points):
        gate = StepGate(stage.bench)
        stage.gated(gate)
        for some in in_batches(victims):
            await asyncio.gather(*(_undoing(stage, gate, undisturbed.points[-1], one) for one in some))
        await _kill_the_worker(stage, gate, victims)
        records = await stage.bench.all_ended([victim.operation for victim in victims])
        for victim in victims:
            record = records[victim.operation]
            assert (record.state, record.cancelled) == (OperationState.UNDONE, True), str(victim)
            assert leftovers(stage.sandbox, victim.app) == [], str(victim)
            assert len(disks_made(stage.sandbox, victim.app)) == INSTANCES, str(victim)


def _rounds(points: list[Point]) -> Iterator[list[Victim]]:
    """Victims for all points, and again for those that were not at work when the worker was killed, because
    the machine was so slow that their held request had been given up."""
    groups = in_groups(points)
    for _ in range(3):
        victims = [Victim(group) for group in groups]
        yield victims
        groups = [victim.points for victim in victims if not victim.stops]
        if not groups:
            return
    raise AssertionError(f"too slow to be killed at {groups}")


async def _undoing(stage: Stage, gate: StepGate, last: Point, victim: Victim) -> None:
    """Cancel it at its very last step, and lead its undo to the point."""
    end = Victim([last], victim.app)
    await end.stopped(stage, gate, When.AFTER)
    victim.stops = [gate.stop(victim.app, point, When.AFTER) for point in victim.points]
    await stage.bench.operations.cancel(victim.operation, Cancel(by="tester"))
    end.released()
    await all_reached(victim.stops)


async def _kill_the_worker(stage: Stage, gate: StepGate, victims: list[Victim]) -> None:
    """SIGKILL and start again. A victim that is not at its point any more keeps no stops."""
    at_work = await asyncio.gather(*(stage.bench.at_work(victim.app, "db") for victim in victims))
    stage.worker.kill()
    gate.release_all(drop=True)
    for victim, steps in zip(victims, at_work, strict=True):
        if not {point.step for point in victim.points} <= steps:
            victim.stops = []
    await stage.worker.start()


async def _all_as_undisturbed(stage: Stage, undisturbed: Undisturbed, victims: list[Victim]) -> None:
    records = await stage.bench.all_ended([victim.operation for victim in victims])
    for victim in victims:
        _done_as_planned(records[victim.operation], undisturbed.planned, str(victim))
        assert final_state(stage.sandbox, victim.app, victim.operation) == undisturbed.state, str(victim)
        made, there = disks_made(stage.sandbox, victim.app), disks(stage.sandbox, victim.app)
        assert sorted(made) == sorted(disk["VolumeId"] for disk in there), str(victim)
        assert len(made) == INSTANCES, str(victim)
    await stage.cleared(*(victim.app for victim in victims))
    for victim in victims:
        assert leftovers(stage.sandbox, victim.app) == [], str(victim)


def _done_as_planned(record: OperationRecord, planned: list[str], where: str) -> None:
    assert record.state is OperationState.SUCCEEDED, f"{where}: {record.explanation}"
    [run] = record.components
    assert [step.step.id for step in run.steps] == planned, where
    assert {step.state for step in run.steps} == {StepState.DONE}, where
