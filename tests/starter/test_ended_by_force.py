"""An operation whose own workflow was ended by force: its components hold their locks and undo what they did, and
people still see them and reach them under the operation's id."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from fake_world import FakeWorld
from operation_watch import followed, until
from temporalio.client import Client

from starter.failures import DONE, FAILED, PARKED, REFUSED, OperationFailed
from starter.operations import Operations
from workflows.ids import operation_workflow_id
from workflows.models.operations import (
    Approve,
    Cancel,
    DeleteRequest,
    OperationKind,
    OperationRequest,
    OperationState,
)
from workflows.models.steps import Decide, Decision, StepState

RequestFor = Callable[..., OperationRequest]


@pytest.fixture
async def stuck(
    temporal: Client, operations: Operations, request_for: RequestFor, world: FakeWorld
) -> AsyncIterator[OperationRequest]:
    """A deploy ended by force while it starts its instance, which goes on until the test lets it."""
    reached = world.pause("start-instance")
    request = request_for()
    await operations.start(request)
    await reached.wait()
    await end_by_force(temporal, request.id)
    yield request
    world.hold["start-instance"].set()
    world.fail.clear()
    if (await followed(operations, request.id)).stands_still:
        await operations.decide(request.id, Decide(decision=Decision.RETRY, by="the test's end"))
        await followed(operations, request.id)


async def end_by_force(temporal: Client, operation: str) -> None:
    await temporal.get_workflow_handle(operation_workflow_id(operation)).terminate("by hand")


async def test_what_its_components_do_is_shown_until_they_have_undone_it(
    operations: Operations, stuck: OperationRequest, world: FakeWorld
) -> None:
    snapshot = await operations.look(stuck.id)
    assert not snapshot.ended
    assert "ended by force: " in snapshot.record.waits_for
    assert all(step.step.title for _, step in snapshot.steps)
    states = {step.step.id: step.state for _, step in snapshot.steps}
    assert states["db/0/disk/data"] is StepState.DONE
    world.hold["start-instance"].set()
    end = await followed(operations, stuck.id)
    assert (end.record.state, end.category) == (OperationState.UNDONE, FAILED)
    assert "delete disk data of db-0" in [s.step.undo for _, s in end.steps if s.state is StepState.UNDONE]
    assert world.empty


async def test_what_has_parked_is_told_what_to_do_as_often_as_needed(
    operations: Operations, stuck: OperationRequest, world: FakeWorld
) -> None:
    world.fail["delete-volume"] = "the disk is in use"
    world.hold["start-instance"].set()
    retry = Decide(decision=Decision.RETRY, by="ada")
    for tries in (1, 2):
        parked = await followed(operations, stuck.id)
        assert parked.category is PARKED
        assert [step.error for _, step in parked.parked] == ["the disk is in use"]
        assert "has parked: retry" in await operations.cancel(stuck.id, Cancel(by="ada"))
        await operations.decide(stuck.id, retry)
        while sum(call.startswith("delete-volume") for call in world.calls) == tries:
            await asyncio.sleep(0.02)
    await until(operations, stuck.id, OperationState.PARKED)
    world.fail.clear()
    await operations.decide(stuck.id, retry)
    assert (await followed(operations, stuck.id)).record.state is OperationState.UNDONE
    assert world.empty


async def test_it_can_be_cancelled_but_not_approved(
    operations: Operations, stuck: OperationRequest, world: FakeWorld
) -> None:
    with pytest.raises(OperationFailed, match="its own workflow was ended by force") as refusal:
        await operations.approve(stuck.id, Approve(by="eve", reason="fine", plan_hash="0" * 16))
    assert refusal.value.category is REFUSED
    assert await operations.cancel(stuck.id, Cancel(by="ada")) == "db undoes what it did"
    world.hold["start-instance"].set()
    await followed(operations, stuck.id)
    with pytest.raises(OperationFailed, match="has ended already: undone"):
        await operations.cancel(stuck.id, Cancel(by="ada"))


async def test_a_delete_past_the_point_of_no_return_rolls_forward_and_frees_its_lock(
    temporal: Client, operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    deploy = request_for()
    await operations.start(deploy)
    assert (await followed(operations, deploy.id)).category is DONE
    reached = world.pause("remove-release")
    # A delete of the whole app names no component, so no search attribute tells which locks it holds.
    request = deploy.model_copy(
        update={
            "id": f"{deploy.id}-end",
            "kind": OperationKind.DELETE,
            "deploy": None,
            "delete": DeleteRequest(app="shop", delete_disks=True),
        }
    )
    await operations.start(request)
    await reached.wait()
    await end_by_force(temporal, request.id)
    assert "rolls forward" in (await operations.look(request.id)).cancel_would
    assert "db is past the point of no return" in await operations.cancel(request.id, Cancel(by="ada"))
    world.hold["remove-release"].set()
    end = await followed(operations, request.id)
    assert end.record.state is OperationState.SUCCEEDED
    assert world.empty


async def test_before_anything_was_begun_it_is_said_that_nothing_was_touched(
    temporal: Client, operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    reached = world.pause("read-deploy-facts")
    request = request_for()
    await operations.start(request)
    await reached.wait()
    await end_by_force(temporal, request.id)
    snapshot = await operations.look(request.id)
    world.hold["read-deploy-facts"].set()
    assert (snapshot.record.state, snapshot.category) == (OperationState.UNDONE, FAILED)
    assert snapshot.record.explanation.endswith("nothing had been touched")


async def test_one_that_waited_in_the_queue_does_not_claim_what_the_holder_does(
    temporal: Client, operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    reached = world.pause("start-instance")
    holder = request_for()
    await operations.start(holder)
    await reached.wait()
    waiting = holder.model_copy(update={"id": f"{holder.id}-2"})
    await operations.start(waiting)
    await until(operations, waiting.id, OperationState.QUEUED)
    await end_by_force(temporal, waiting.id)
    snapshot = await operations.look(waiting.id)
    assert snapshot.ended
    assert snapshot.components == []
    with pytest.raises(OperationFailed, match="has ended already"):
        await operations.cancel(waiting.id, Cancel(by="ada"))
    world.hold["start-instance"].set()
    assert (await followed(operations, holder.id)).category is DONE


async def test_a_component_that_was_ended_by_force_as_well_leaves_what_nobody_knows(
    temporal: Client, operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    reached = world.pause("start-instance")
    request = request_for()
    await operations.start(request)
    await reached.wait()
    await end_by_force(temporal, request.id)
    await temporal.get_workflow_handle(f"component/{request.cluster}/shop/db").terminate("by hand")
    snapshot = await operations.look(request.id)
    world.hold["start-instance"].set()
    assert (snapshot.record.state, snapshot.category) == (OperationState.UNDONE_IN_PART, FAILED)
    assert any("whatever had been made" in left for left in snapshot.record.left_behind)
