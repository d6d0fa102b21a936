"""A deploy from asking to its record, over a fake world: what holds for every operation is tried on it."""

import asyncio

import pytest
from fake_world import FakeWorld
from story_desk import Desk

from workflows.models.operations import OnFailure, OperationState
from workflows.models.steps import Decision, StepState
from workflows.operation import OperationWorkflow


async def test_a_deploy_makes_everything_and_records_its_release(desk: Desk, world: FakeWorld) -> None:
    record = await (await desk.deploy()).result()
    assert record.state is OperationState.SUCCEEDED
    assert len(world.disks) == 2
    assert len(world.claims) == 2
    assert world.records["db"].volumes == [{"data": "vol-0"}, {"data": "vol-1"}]


async def test_what_was_planned_is_what_is_done(desk: Desk, world: FakeWorld) -> None:
    record = await (await desk.deploy()).result()
    (run,) = record.components
    assert record.plan is not None
    assert [step.step.id for step in run.steps] == [step.id for step in record.plan.steps]
    assert {step.state for step in run.steps} == {StepState.DONE}
    done = [call.split()[1] for call in world.calls if " " in call]
    assert sorted(done) == sorted(step.id for step in record.plan.steps)


async def test_instances_start_side_by_side(desk: Desk, world: FakeWorld) -> None:
    first, second = world.pause("await-ready db/0/ready"), world.pause("await-ready db/1/ready")
    handle = await desk.deploy()
    await first.wait()
    await second.wait()
    for event in world.hold.values():
        event.set()
    assert (await handle.result()).state is OperationState.SUCCEEDED


STEPS = [
    "ensure-namespace db/namespace",
    "ensure-services db/services",
    "create-volume db/0/disk/data",
    "bind-volume db/1/claim/data",
    "start-instance db/0/start",
    "await-attached db/1/attached",
    "await-ready db/0/ready",
    "check-health db/health",
    "record-release db/release",
]


@pytest.mark.parametrize("key", STEPS)
async def test_a_cancel_during_any_step_undoes_everything(desk: Desk, world: FakeWorld, key: str) -> None:
    reached = world.pause(key)
    handle = await desk.deploy()
    await reached.wait()
    await handle.execute_update("cancel", {"by": "somebody", "reason": "changed my mind"})
    world.hold[key].set()
    record = await handle.result()
    assert (record.state, record.cancelled) == (OperationState.UNDONE, True)
    assert world.empty
    assert record.left_behind == []


@pytest.mark.parametrize("key", STEPS)
async def test_a_cancel_by_the_server_during_any_step_undoes_everything(
    desk: Desk, world: FakeWorld, key: str
) -> None:
    reached = world.pause(key)
    handle = await desk.deploy()
    await reached.wait()
    await handle.cancel()
    world.hold[key].set()
    assert (await handle.result()).state is OperationState.UNDONE
    assert world.empty


async def test_an_operation_ended_by_force_still_undoes(desk: Desk, world: FakeWorld) -> None:
    reached = world.pause("check-health db/health")
    handle = await desk.deploy()
    await reached.wait()
    await handle.terminate("by hand")
    await asyncio.sleep(0.1)
    world.hold["check-health db/health"].set()
    while not world.empty:
        await asyncio.sleep(0.02)


async def test_a_permanent_failure_parks_and_retry_goes_on_without_repeating(
    desk: Desk, world: FakeWorld
) -> None:
    world.fail["create-volume db/1/disk/data"] = "VolumeLimitExceeded"
    handle = await desk.deploy()
    record = await desk.state(handle, OperationState.PARKED)
    assert "VolumeLimitExceeded" in record.explanation
    assert "retry, skip or abort" in record.waits_for
    del world.fail["create-volume db/1/disk/data"]
    await desk.decide(Decision.RETRY)
    record = await handle.result()
    assert record.state is OperationState.SUCCEEDED
    assert any(e.by == "somebody" and e.what.startswith("retry: create disk") for e in record.history)
    assert world.calls.count("create-volume db/0/disk/data") == 1
    assert world.calls.count("ensure-namespace db/namespace") == 1


async def test_two_parked_steps_are_retried_at_once(desk: Desk, world: FakeWorld) -> None:
    world.fail["create-volume"] = "no"
    handle = await desk.deploy()
    await desk.state(handle, OperationState.PARKED)
    while sum(step.get("state") == "parked" for step in (await desk.progress())["steps"]) < 2:
        await asyncio.sleep(0.02)
    del world.fail["create-volume"]
    await desk.decide(Decision.RETRY)
    assert (await handle.result()).state is OperationState.SUCCEEDED


async def test_abort_of_a_parked_step_undoes_and_says_why(desk: Desk, world: FakeWorld) -> None:
    world.fail["create-volume db/1/disk/data"] = "VolumeLimitExceeded"
    handle = await desk.deploy()
    await desk.state(handle, OperationState.PARKED)
    await desk.decide(Decision.ABORT)
    record = await handle.result()
    assert (record.state, record.cancelled) == (OperationState.UNDONE, False)
    assert record.explanation == "VolumeLimitExceeded"
    assert record.help == "ask the administrator"
    assert world.empty


async def test_cancel_of_a_parked_operation_undoes(desk: Desk, world: FakeWorld) -> None:
    world.fail["await-ready db/0/ready"] = "no"
    handle = await desk.deploy()
    await desk.state(handle, OperationState.PARKED)
    await handle.execute_update("cancel", {"by": "somebody"})
    assert (await handle.result()).state is OperationState.UNDONE
    assert world.empty


async def test_an_unattended_operation_undoes_instead_of_parking(desk: Desk, world: FakeWorld) -> None:
    world.fail["await-ready db/0/ready"] = "no"
    record = await (await desk.deploy(on_failure=OnFailure.UNDO)).result()
    assert (record.state, record.explanation) == (OperationState.UNDONE, "no")
    assert world.empty


async def test_a_transient_failure_is_tried_again_and_nobody_is_asked(desk: Desk, world: FakeWorld) -> None:
    world.flaky["ensure-services"] = 1
    assert (await (await desk.deploy()).result()).state is OperationState.SUCCEEDED


async def test_an_undo_that_fails_parks_and_can_be_retried(desk: Desk, world: FakeWorld) -> None:
    world.fail = {"await-ready db/0/ready": "no", "delete-volume": "still in use"}
    handle = await desk.deploy()
    await desk.state(handle, OperationState.PARKED)
    await desk.decide(Decision.ABORT)
    while "delete-volume" not in world.reached or not world.reached["delete-volume"].is_set():
        await asyncio.sleep(0.02)
    record = await desk.state(handle, OperationState.PARKED)
    assert "still in use" in record.explanation
    assert not world.things, "the other undos were done"
    del world.fail["delete-volume"]
    await desk.decide(Decision.RETRY)
    assert (await handle.result()).state is OperationState.UNDONE
    assert world.empty


async def test_a_lane_waits_for_its_first_undo_and_the_rest_is_tried_again(
    desk: Desk, world: FakeWorld
) -> None:
    world.fail = {"await-ready db/0/ready": "no", "remove-instance db/0/start/undo": "still there"}
    handle = await desk.deploy()
    await desk.state(handle, OperationState.PARKED)
    await desk.decide(Decision.ABORT)
    while "remove-namespace db/namespace/undo" not in world.calls:
        await asyncio.sleep(0.02)
    await desk.state(handle, OperationState.PARKED)
    assert "unbind-volume db/0/claim/data/undo" not in world.calls, "its pod still uses the claim"
    assert "unbind-volume db/1/claim/data/undo" in world.calls, "the other lane is undone"
    assert "namespace" in world.things
    world.fail = {}
    await desk.decide(Decision.RETRY)
    assert (await handle.result()).state is OperationState.UNDONE
    assert world.empty, "the namespace, which was not empty the first time, is gone as well"


async def test_an_undo_that_is_given_up_is_told_with_what_is_left(desk: Desk, world: FakeWorld) -> None:
    world.fail = {"await-ready db/0/ready": "no", "delete-volume": "still in use"}
    record = await (await desk.deploy(on_failure=OnFailure.UNDO)).result()
    assert record.state is OperationState.UNDONE_IN_PART
    assert len(record.left_behind) == 2
    assert all("still in use" in left for left in record.left_behind)


async def test_skip_is_refused_where_it_is_not_safe(desk: Desk, world: FakeWorld) -> None:
    world.fail["await-ready db/0/ready"] = "no"
    handle = await desk.deploy()
    await desk.state(handle, OperationState.PARKED)
    with pytest.raises(Exception, match="Workflow update failed") as refused:
        await desk.decide(Decision.SKIP)
    assert "cannot be skipped safely" in str(refused.value.__cause__)
    await handle.execute_update("cancel", {"by": "somebody"})
    await handle.result()


async def test_a_plan_alone_touches_nothing(desk: Desk, world: FakeWorld) -> None:
    record = await (await desk.deploy(plan_only=True)).result()
    assert record.state is OperationState.PLANNED
    assert record.plan is not None
    assert record.plan.cost_after == pytest.approx(1.6)
    assert world.calls == ["read-deploy-facts"]


async def test_the_same_document_again_has_nothing_to_do(desk: Desk, world: FakeWorld) -> None:
    await (await desk.deploy()).result()
    before = len(world.calls)
    record = await (await desk.deploy()).result()
    assert record.state is OperationState.SUCCEEDED
    assert "nothing to do" in record.explanation
    assert world.calls[before:] == ["read-deploy-facts"]


async def test_the_record_can_be_asked_for_after_the_end(desk: Desk) -> None:
    handle = await desk.deploy()
    result = await handle.result()
    assert (await handle.query(OperationWorkflow.record)) == result
