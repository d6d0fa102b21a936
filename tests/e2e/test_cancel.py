"""A cancel undoes, wherever the operation stands; and one component has one operation at a time."""

import asyncio
from pathlib import Path

import pytest
import yaml

from tests.e2e.pictures import disks_made, leftovers
from tests.e2e.stage import Stage, app_document, marks, small_app
from tests.e2e.stops import StepGate, When, all_reached
from tests.e2e.undisturbed import Undisturbed
from tests.e2e.victims import Victim, in_batches, victims_of
from workflows.models.operations import Cancel, OperationState
from workflows.models.steps import StepState

pytestmark = marks()

#: Longer than an undo that only looks would wait, shorter than a person would.
HIDDEN_SECONDS = 20.0


async def test_a_cancel_during_any_step_leaves_nothing(stage: Stage, undisturbed: Undisturbed) -> None:
    first = {point.step: point for point in reversed(undisturbed.points)}
    victims = victims_of([first[step] for step in undisturbed.planned])
    gate = StepGate(stage.bench)
    stage.gated(gate)
    for some in in_batches(victims):
        await asyncio.gather(*(_cancelled(stage, gate, victim) for victim in some))
    records = await stage.bench.all_ended([victim.operation for victim in victims])
    for victim in victims:
        record = records[victim.operation]
        assert (record.state, record.cancelled) == (OperationState.UNDONE, True), str(victim)
        assert record.left_behind == []
        snapshot = await stage.bench.operations.look(victim.operation)
        assert snapshot.category.exit_code == 5
        [run] = record.components
        after = {step.step.id: step.state for step in run.steps}
        # What was at work or done is undone where there is something to undo; what came later never began.
        for point in victim.points:
            assert after[point.step] in (StepState.UNDONE, StepState.CANCELLED, StepState.DONE), str(victim)
        assert leftovers(stage.sandbox, victim.app) == [], str(victim)


async def _cancelled(stage: Stage, gate: StepGate, victim: Victim) -> None:
    await victim.stopped(stage, gate, When.BEFORE)
    await stage.bench.operations.cancel(victim.operation, Cancel(by="tester", reason="a test"))
    victim.released()


@pytest.mark.parametrize("killed", [False, True], ids=["by-the-same-worker", "by-a-new-worker"])
async def test_a_disk_that_the_cloud_is_slow_to_show_is_not_left_behind(stage: Stage, killed: bool) -> None:
    """AWS asks for patience with a new id. What has just been made is not in its lists, and must go all the same."""
    app, admin = f"late-{killed}".lower(), stage.sandbox.admin
    admin.set_limits(not_found_seconds=HIDDEN_SECONDS)
    try:
        operation = await stage.bench.deploy(small_app(app, instances=1), f"deploy-{app}")
        async with asyncio.timeout(60):
            while not disks_made(stage.sandbox, app):
                await asyncio.sleep(0.05)
        if killed:
            stage.worker.kill()
            await stage.worker.start()
        await stage.bench.operations.cancel(operation, Cancel(by="tester"))
        record = await stage.bench.ended(operation)
    finally:
        admin.set_limits(not_found_seconds=0.0)
    assert record.state is OperationState.UNDONE
    admin.advance(HIDDEN_SECONDS)
    assert len(disks_made(stage.sandbox, app)) == 1
    assert leftovers(stage.sandbox, app) == []


async def test_who_watches_a_cancelled_deploy_learns_it_by_exit_code(
    stage: Stage, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    gate = StepGate(stage.bench)
    stage.gated(gate)
    document = tmp_path / "app.yaml"
    document.write_text(yaml.safe_dump(app_document("watched")))
    stop = gate.stop("watched", undisturbed.points[-1], When.BEFORE)
    watching = asyncio.create_task(
        stage.cli("app", "deploy", "-f", str(document), "--id", "watched-deploy", "-y", "-w")
    )
    await all_reached([stop])
    shown = await stage.cli("op", "show", "watched-deploy")
    assert "stop db-0 and wait until its disks are free" in shown.out, "it says what a cancel would do"
    said = await stage.cli("op", "cancel", "watched-deploy", "--reason", "second thoughts")
    assert (said.code, "it undoes what it did" in said.out) == (0, True)
    stop.release()
    watched, later = await asyncio.gather(watching, stage.cli("op", "watch", "watched-deploy"))
    assert (watched.code, later.code) == (5, 5)
    assert "delete disk data of db-0: undone" in watched.err
    assert "undone: delete disk data of db-0" in later.out, "who comes late reads what was undone as well"
    assert leftovers(stage.sandbox, "watched") == []
    assert len(disks_made(stage.sandbox, "watched")) == 2, "it was cancelled too early to show anything"


@pytest.fixture
async def held(stage: Stage, undisturbed: Undisturbed) -> Victim:
    """A deploy that stands in its last step and holds the lock."""
    gate = StepGate(stage.bench)
    stage.gated(gate)
    victim = Victim([undisturbed.points[-1]])
    await victim.stopped(stage, gate, When.BEFORE)
    return victim


async def test_a_second_deploy_waits_visibly_behind_the_first(stage: Stage, held: Victim) -> None:
    second = await stage.bench.deploy(small_app(held.app), f"second-{held.app}")
    await stage.bench.until(second, lambda seen: seen.record.state is OperationState.QUEUED)
    shown = await stage.cli("op", "show", second)
    assert f"queued behind operation {held.operation}" in shown.out
    listed = await stage.cli("op", "list", "--app", held.app, "--json")
    assert {row["id"]: row["state"] for row in listed.json} == {held.operation: "running", second: "queued"}
    held.released()
    records = await stage.bench.all_ended([held.operation, second])
    assert {record.state for record in records.values()} == {OperationState.SUCCEEDED}
    assert "nothing to do" in records[second].explanation, "by then it is as asked"
    assert len(disks_made(stage.sandbox, held.app)) == 2
    await stage.clear(held.app)


async def test_a_second_deploy_that_does_not_wait_is_refused(
    stage: Stage, held: Victim, tmp_path: Path
) -> None:
    document = tmp_path / "app.yaml"
    document.write_text(yaml.safe_dump(app_document(held.app)))
    said = await stage.cli("app", "deploy", "-f", str(document), "-y", "-w", "--no-wait")
    assert said.code == 4
    assert f"is locked by operation {held.operation} (deploy)" in said.out
    held.released()
    assert (await stage.bench.ended(held.operation)).state is OperationState.SUCCEEDED
    await stage.clear(held.app)


async def test_a_waiting_operation_that_is_cancelled_touches_nothing(stage: Stage, held: Victim) -> None:
    second = await stage.bench.delete(held.app, f"second-{held.app}")
    await stage.bench.until(second, lambda seen: seen.record.state is OperationState.QUEUED)
    await stage.bench.operations.cancel(second, Cancel(by="tester"))
    assert (await stage.bench.ended(second)).state is OperationState.DECLINED
    held.released()
    assert (await stage.bench.ended(held.operation)).state is OperationState.SUCCEEDED
    await stage.clear(held.app)
