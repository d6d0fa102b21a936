"""Several components of which one is past its point of no return: nothing hangs, and what is told is true."""

import asyncio
from typing import Any

import pytest
from fake_world import FakeWorld
from story_desk import Desk, Handle, app_of
from temporalio import workflow
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.worker import Worker

from activities.boundary import Boundary
from workers.runner import workflow_runner
from workflows.carry_out import CarryOut
from workflows.delete_component import DeleteComponentWorkflow
from workflows.ids import component_lock
from workflows.models.operations import OperationKind, OperationRecord, OperationRequest, OperationState
from workflows.models.plans import Plan
from workflows.models.runs import Report
from workflows.models.steps import Decision, Outcome, StoryState
from workflows.operation import OperationWorkflow

CACHE_DISKS, DB_RELEASE = "delete-volumes cache/disks", "remove-release db/release"
CACHE_SERVICES = "remove-services cache/services"


async def shop(desk: Desk) -> None:
    await (
        await desk.deploy(app_of({"name": "cache"}, {"name": "db"}, {"name": "web", "volumes": []}))
    ).result()


def failing_untouched(world: FakeWorld, *keys: str) -> None:
    world.fail |= dict.fromkeys(keys, "AccessDenied")
    world.untouched |= set(keys)


async def seen(handle: Handle, component: str, state: str) -> OperationRecord:
    """The record as soon as the component is in that state."""
    async with asyncio.timeout(20):
        while True:
            record: OperationRecord = await handle.query(OperationWorkflow.record)
            if states(record).get(component) == state:
                return record
            await asyncio.sleep(0.02)


def states(record: OperationRecord) -> dict[str, str]:
    return {run.component: run.state for run in record.components}


async def ended(handle: Handle) -> OperationRecord:
    async with asyncio.timeout(20):
        return await handle.result()


async def test_a_component_that_fails_when_another_has_no_way_back_does_not_hold_up_the_rest(
    desk: Desk, world: FakeWorld
) -> None:
    await shop(desk)
    failing_untouched(world, CACHE_DISKS)
    db_goes_on, cache_fails = world.pause(DB_RELEASE), world.pause(CACHE_DISKS)
    handle = await desk.delete(delete_disks=True)
    await db_goes_on.wait()
    await cache_fails.wait()
    await seen(handle, "web", "done")
    world.hold[CACHE_DISKS].set()
    await seen(handle, "cache", "parked")
    await desk.decide(Decision.ABORT, component="cache")
    record = await seen(handle, "cache", "undone")
    assert (record.state, record.waits_for) == (OperationState.RUNNING, "its steps")
    assert record.no_way_back
    world.hold[DB_RELEASE].set()
    record = await ended(handle)
    assert states(record) == {"cache": "undone", "db": "done", "web": "done"}
    assert (record.state, record.cancelled) == (OperationState.UNDONE_IN_PART, False)
    assert record.explanation.startswith("AccessDenied; there was no way back for ")
    assert "cache" not in record.explanation
    assert record.help == "ask the administrator"
    assert set(world.records) == {"cache"}


async def test_a_component_that_could_still_be_undone_is_settled_with_those_that_cannot(
    desk: Desk, world: FakeWorld
) -> None:
    await shop(desk)
    failing_untouched(world, CACHE_DISKS, "remove-secrets web/secrets")
    db_goes_on = world.pause(DB_RELEASE)
    handle = await desk.delete(delete_disks=True)
    await db_goes_on.wait()
    await seen(handle, "web", "parked")
    await desk.decide(Decision.SKIP, component="web")
    await seen(handle, "cache", "parked")
    await seen(handle, "web", "done")
    await desk.decide(Decision.ABORT, component="cache")
    world.hold[DB_RELEASE].set()
    record = await ended(handle)
    assert states(record) == {"cache": "undone", "db": "done", "web": "done"}
    assert record.state is OperationState.UNDONE_IN_PART


async def test_when_the_one_without_a_way_back_had_touched_nothing_after_all_everything_is_undone(
    desk: Desk, world: FakeWorld
) -> None:
    await shop(desk)
    failing_untouched(world, CACHE_DISKS, "delete-volumes db/disks")
    db_fails, web_works = world.pause("delete-volumes db/disks"), world.pause("remove-services web/services")
    handle = await desk.delete(delete_disks=True)
    await db_fails.wait()
    await web_works.wait()
    await seen(handle, "cache", "parked")
    await desk.decide(Decision.ABORT, component="cache")
    await seen(handle, "cache", "undone")
    world.hold["delete-volumes db/disks"].set()
    await seen(handle, "db", "undoing")
    world.hold["remove-services web/services"].set()
    record = await ended(handle)
    assert states(record) == {"cache": "undone", "db": "undone", "web": "undone"}
    assert record.state is OperationState.UNDONE
    assert set(world.records) == {"cache", "db", "web"}


async def test_a_component_that_is_ended_by_force_does_not_hold_up_those_without_a_way_back(
    desk: Desk, world: FakeWorld
) -> None:
    await shop(desk)
    failing_untouched(world, "remove-secrets web/secrets")
    db_goes_on, cache_works = world.pause(DB_RELEASE), world.pause(CACHE_SERVICES)
    handle = await desk.delete(delete_disks=True)
    await db_goes_on.wait()
    await seen(handle, "web", "parked")
    await desk.decide(Decision.SKIP, component="web")
    await seen(handle, "web", "done")
    await cache_works.wait()
    await desk.client.get_workflow_handle(component_lock(desk.cluster, "shop", "cache")).terminate("by hand")
    record = await seen(handle, "cache", "undone-in-part")
    assert record.state is OperationState.RUNNING
    world.hold[DB_RELEASE].set()
    world.hold[CACHE_SERVICES].set()
    record = await ended(handle)
    assert states(record) == {"cache": "undone-in-part", "db": "done", "web": "done"}
    assert "ended by force" in record.explanation
    assert "there was no way back for" in record.explanation


async def test_a_cancel_after_the_secrets_of_a_component_without_disks_is_refused(
    desk: Desk, world: FakeWorld
) -> None:
    await (await desk.deploy(app_of({"name": "web", "volumes": []}))).result()
    reached = world.pause("remove-secrets web/secrets")
    handle = await desk.delete(delete_disks=True)
    await reached.wait()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update("cancel", {"by": "somebody"})
    assert "past the point of no return (delete the secrets of web)" in str(refused.value.__cause__)
    world.hold["remove-secrets web/secrets"].set()
    assert (await ended(handle)).state is OperationState.SUCCEEDED
    assert world.empty


async def test_a_cancel_is_refused_after_the_secrets_even_when_the_disks_were_skipped(
    desk: Desk, world: FakeWorld
) -> None:
    await (await desk.deploy()).result()
    failing_untouched(world, "delete-volumes db/disks")
    reached = world.pause("remove-namespace db/namespace")
    handle = await desk.delete(delete_disks=True)
    await seen(handle, "db", "parked")
    await desk.decide(Decision.SKIP)
    await reached.wait()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update("cancel", {"by": "somebody"})
    assert "past the point of no return (delete the secrets of db)" in str(refused.value.__cause__)
    world.hold["remove-namespace db/namespace"].set()
    assert (await ended(handle)).state is OperationState.SUCCEEDED


@workflow.defn(name="carry-out")
class CarryOutWorkflow:
    """An outer workflow of nothing but its middle, for plans that no kind of operation makes yet."""

    @workflow.run
    async def run(self, request: OperationRequest, plan: Plan) -> list[Outcome]:
        self._work = CarryOut(request, plan, lambda holder: None, lambda: None)
        return await self._work.run()

    @workflow.signal
    def report(self, report: Report) -> None:
        self._work.heard(report)


async def test_what_was_not_let_go_is_cancelled_when_another_has_no_way_back(
    desk: Desk, world: FakeWorld, temporal: Client
) -> None:
    await shop(desk)
    plan = (await (await desk.delete(delete_disks=True, plan_only=True)).result()).plan
    assert plan is not None
    last = [
        one if one.component != "web" else one.model_copy(update={"after": ["db"]}) for one in plan.components
    ]
    failing_untouched(world, CACHE_DISKS)
    db_goes_on = world.pause(DB_RELEASE)
    request = OperationRequest(
        id="op-1", kind=OperationKind.DELETE, cluster=desk.cluster, app="shop", requester="somebody"
    )
    async with Worker(
        temporal,
        task_queue=f"{desk.task_queue}-only",
        workflows=[CarryOutWorkflow, DeleteComponentWorkflow],
        activities=world.activities,
        interceptors=[Boundary()],
        workflow_runner=workflow_runner(),
    ):
        handle: Any = await temporal.start_workflow(
            CarryOutWorkflow.run,
            args=[request, plan.model_copy(update={"components": last})],
            id=f"carry-out-{desk.cluster}",
            task_queue=f"{desk.task_queue}-only",
        )
        await db_goes_on.wait()
        while (await desk.progress("cache"))["state"] != "parked":
            await asyncio.sleep(0.02)
        await desk.decide(Decision.ABORT, component="cache")
        web = temporal.get_workflow_handle(component_lock(desk.cluster, "shop", "web"))
        async with asyncio.timeout(20):
            assert (await web.result())["state"] == "undone"
            world.hold[DB_RELEASE].set()
            outcomes = await handle.result()
    forward = [
        one.component for one, outcome in zip(last, outcomes, strict=True) if outcome.state is StoryState.DONE
    ]
    assert forward == ["db"]
    assert not any(call.endswith("web/0/stop") for call in world.calls)
