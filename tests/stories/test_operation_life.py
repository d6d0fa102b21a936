"""Plan, policy, approval, lock and queue of an operation, over a fake world."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_world import FakeWorld, node
from story_desk import Desk, app_of
from temporalio.client import WorkflowUpdateFailedError

from activities.models.policies import Policy, Rule
from workflows.endings import why_not_approve
from workflows.ids import component_lock
from workflows.models.operations import (
    Approval,
    Approve,
    DeployRequest,
    OperationKind,
    OperationRecord,
    OperationState,
)
from workflows.models.plans import Plan
from workflows.models.steps import Decision
from workflows.operation import OperationWorkflow

APPROVED = {"by": "approver", "reason": "looks right"}


def demanding(**rule: Any) -> Policy:
    return Policy(rules=[Rule(name="careful", **rule)])


async def approve(handle: Any, record: OperationRecord, **fields: Any) -> None:
    assert record.plan is not None
    await handle.execute_update("approve", {**APPROVED, "plan_hash": record.plan.hash, **fields})


async def refusal(handle: Any, update: str, **fields: Any) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(update, fields)
    return str(refused.value.__cause__)


async def test_an_approval_lets_the_plan_run(desk: Desk, world: FakeWorld) -> None:
    world.policy = demanding(approvers=["approver"])
    handle = await desk.deploy()
    record = await desk.state(handle, OperationState.WAITING_FOR_APPROVAL)
    assert world.calls == ["read-deploy-facts"], "nothing is touched while it waits"
    await approve(handle, record)
    record = await handle.result()
    assert record.state is OperationState.SUCCEEDED
    assert record.approval is not None
    assert (record.approval.granted_by, record.approval.reason) == ("approver", "looks right")


async def test_an_approval_without_a_reason_or_of_another_plan_or_person_is_refused(
    desk: Desk, world: FakeWorld
) -> None:
    world.policy = demanding(approvers=["approver"])
    handle = await desk.deploy()
    record = await desk.state(handle, OperationState.WAITING_FOR_APPROVAL)
    assert record.plan is not None
    right = record.plan.hash
    assert "needs a reason" in await refusal(handle, "approve", by="approver", reason=" ", plan_hash=right)
    assert "is not that of the plan" in await refusal(
        handle, "approve", by="approver", reason="yes", plan_hash="0" * 16
    )
    assert "may not approve" in await refusal(handle, "approve", by="other", reason="yes", plan_hash=right)
    assert (await handle.query(OperationWorkflow.record)).state is OperationState.WAITING_FOR_APPROVAL
    await handle.execute_update("reject", {"by": "approver", "reason": "not today"})
    record = await handle.result()
    assert (record.state, world.empty) == (OperationState.DECLINED, True)
    assert "not today" in record.explanation


async def test_the_requester_may_be_kept_from_approving(desk: Desk, world: FakeWorld) -> None:
    world.policy = demanding(not_requester=True)
    handle = await desk.deploy(requester="approver")
    record = await desk.state(handle, OperationState.WAITING_FOR_APPROVAL)
    assert record.plan is not None
    answer = await refusal(handle, "approve", **APPROVED, plan_hash=record.plan.hash)
    assert "asked for it" in answer
    await handle.execute_update("cancel", {"by": "approver"})
    assert (await handle.result()).state is OperationState.DECLINED


async def test_an_approval_that_nobody_gives_expires(desk: Desk, world: FakeWorld) -> None:
    world.policy = demanding(approval_lives="1s")
    record = await (await desk.deploy()).result()
    assert (record.state, world.empty) == (OperationState.DECLINED, True)
    assert "expired" in record.explanation


async def test_changed_facts_void_the_approval(desk: Desk, world: FakeWorld) -> None:
    world.policy = demanding()
    handle = await desk.deploy()
    first = await desk.state(handle, OperationState.WAITING_FOR_APPROVAL)
    world.nodes.pop()
    await approve(handle, first)
    while True:
        second = await desk.state(handle, OperationState.WAITING_FOR_APPROVAL)
        if second.plan != first.plan:
            break
        await asyncio.sleep(0.02)
    assert world.disks == {}
    assert any("approval is void" in event.what for event in second.history)
    assert second.approval is not None
    assert not second.approval.granted_by
    await approve(handle, second)
    assert (await handle.result()).state is OperationState.SUCCEEDED


async def test_an_autoscaler_does_not_void_an_approval(desk: Desk, world: FakeWorld) -> None:
    world.policy = demanding()
    handle = await desk.deploy()
    record = await desk.state(handle, OperationState.WAITING_FOR_APPROVAL)
    world.nodes = [node(one.zone, f"{one.name}-instead") for one in world.nodes]
    world.nodes.append(node("us-east-1a", "another"))
    await approve(handle, record)
    ended = await handle.result()
    assert (ended.state, ended.plan) == (OperationState.SUCCEEDED, record.plan)


async def test_only_what_reaches_a_threshold_needs_an_approval(desk: Desk, world: FakeWorld) -> None:
    world.policy = demanding(disk_gib_at_least=100)
    assert (await (await desk.deploy()).result()).state is OperationState.SUCCEEDED
    large = app_of({"name": "big", "volumes": [{"name": "data", "size": "100Gi"}]}, name="large")
    handle = await desk.deploy(large)
    record = await desk.state(handle, OperationState.WAITING_FOR_APPROVAL)
    assert record.approval is not None
    assert "a disk of 100 GiB" in record.approval.needed_because[0]
    await handle.execute_update("cancel", {"by": "somebody"})
    await handle.result()


async def test_the_policy_may_refuse(desk: Desk, world: FakeWorld) -> None:
    world.policy = demanding(action="refuse", apps=["shop"])
    record = await (await desk.deploy()).result()
    assert (record.state, world.empty) == (OperationState.REFUSED, True)
    assert "careful" in record.explanation


async def test_a_second_operation_waits_visibly_and_then_finds_it_done(desk: Desk, world: FakeWorld) -> None:
    reached = world.pause("check-health db/health")
    first = await desk.deploy(id="first-" + desk.cluster)
    await reached.wait()
    second = await desk.deploy()
    record = await desk.state(second, OperationState.QUEUED)
    assert record.behind == "first-" + desk.cluster
    assert "holds the lock" in record.waits_for
    world.hold["check-health db/health"].set()
    assert (await first.result()).state is OperationState.SUCCEEDED
    record = await second.result()
    assert record.state is OperationState.SUCCEEDED
    assert "nothing to do" in record.explanation
    assert len(world.disks) == 2


async def test_a_second_operation_that_will_not_wait_is_refused(desk: Desk, world: FakeWorld) -> None:
    reached = world.pause("check-health db/health")
    first = await desk.deploy(id="first-" + desk.cluster)
    await reached.wait()
    record = await (await desk.deploy(wait=False)).result()
    assert record.state is OperationState.REFUSED
    assert f"locked by operation first-{desk.cluster} (deploy)" in record.explanation
    world.hold["check-health db/health"].set()
    assert (await first.result()).state is OperationState.SUCCEEDED


async def test_a_deploy_asked_for_during_a_delete_waits_and_deploys_again(
    desk: Desk, world: FakeWorld
) -> None:
    await (await desk.deploy()).result()
    reached = world.pause("remove-services db/services")
    delete = await desk.delete(delete_disks=True)
    await reached.wait()
    deploy = await desk.deploy()
    record = await desk.state(deploy, OperationState.QUEUED)
    assert "(delete), which holds the lock" in record.waits_for
    world.hold["remove-services db/services"].set()
    assert (await delete.result()).state is OperationState.SUCCEEDED
    record = await deploy.result()
    assert (record.state, len(world.disks)) == (OperationState.SUCCEEDED, 2)


async def test_a_mere_plan_says_who_is_at_work_and_does_not_wait(desk: Desk, world: FakeWorld) -> None:
    reached = world.pause("check-health db/health")
    first = await desk.deploy(id="first-" + desk.cluster)
    await reached.wait()
    record = await (await desk.deploy(plan_only=True)).result()
    assert record.state is OperationState.PLANNED
    assert record.plan is not None
    assert [f"locked by operation first-{desk.cluster} (deploy)" in why for why in record.plan.refused] == [
        True
    ]
    world.hold["check-health db/health"].set()
    assert (await first.result()).state is OperationState.SUCCEEDED


async def test_a_cancel_in_the_queue_ends_it_and_touches_nothing(desk: Desk, world: FakeWorld) -> None:
    reached = world.pause("check-health db/health")
    first = await desk.deploy()
    await reached.wait()
    second = await desk.deploy()
    await desk.state(second, OperationState.QUEUED)
    await second.execute_update("cancel", {"by": "somebody", "reason": "too slow"})
    record = await second.result()
    assert record.state is OperationState.DECLINED
    world.hold["check-health db/health"].set()
    assert (await first.result()).state is OperationState.SUCCEEDED


async def test_components_begin_in_the_order_of_their_dependencies(desk: Desk, world: FakeWorld) -> None:
    app = app_of({"name": "web", "after": ["db"]}, {"name": "db"})
    reached = world.pause("record-release db/release")
    handle = await desk.deploy(app)
    await reached.wait()
    assert not any(call.endswith("web/namespace") for call in world.calls)
    world.hold["record-release db/release"].set()
    assert (await handle.result()).state is OperationState.SUCCEEDED
    assert set(world.records) == {"db", "web"}


async def test_components_stand_or_fall_together(desk: Desk, world: FakeWorld) -> None:
    world.fail["await-ready web/0/ready"] = "no"
    app = app_of({"name": "web", "after": ["db"]}, {"name": "db"})
    handle = await desk.deploy(app)
    await desk.state(handle, OperationState.PARKED)
    assert "db" in world.records
    await desk.decide("abort", component="web")  # type: ignore[arg-type]
    record = await handle.result()
    assert (record.state, record.explanation) == (OperationState.UNDONE, "no")
    assert world.empty


async def test_operations_over_the_same_components_do_not_wait_in_a_circle(
    desk: Desk, world: FakeWorld
) -> None:
    one = app_of({"name": "web", "after": ["db"]}, {"name": "db"})
    other = app_of({"name": "web"}, {"name": "db", "after": ["web"]})
    handles = [await desk.deploy(app) for app in (one, other, one)]
    records = [await handle.result() for handle in handles]
    assert {record.state for record in records} <= {OperationState.SUCCEEDED, OperationState.REFUSED}
    assert OperationState.SUCCEEDED in {record.state for record in records}


async def test_a_wrong_zone_is_invalid_and_touches_nothing(desk: Desk, world: FakeWorld) -> None:
    app = app_of({"placement": {"zones": ["us-east-1z"]}})
    record = await (await desk.deploy(app)).result()
    assert (record.state, world.empty) == (OperationState.INVALID, True)
    assert "no such zone 'us-east-1z'" in record.explanation


async def test_a_full_cluster_refuses_before_anything_is_touched(desk: Desk, world: FakeWorld) -> None:
    world.nodes = [n.model_copy(update={"attach_limit": 1}) for n in world.nodes[:1]]
    record = await (await desk.deploy()).result()
    assert (record.state, world.empty) == (OperationState.REFUSED, True)
    assert "no room for db-1" in record.explanation


async def test_a_delete_keeps_the_disks_and_removes_the_rest(desk: Desk, world: FakeWorld) -> None:
    await (await desk.deploy()).result()
    record = await (await desk.delete()).result()
    assert record.state is OperationState.SUCCEEDED
    assert world.kept == {"vol-0", "vol-1"} == set(world.disks.values())
    assert not world.claims
    assert not world.records
    assert not world.things


async def test_a_cancelled_delete_brings_everything_back(desk: Desk, world: FakeWorld) -> None:
    await (await desk.deploy()).result()
    before = (set(world.things), set(world.claims), set(world.records))
    reached = world.pause("remove-release db/release")
    handle = await desk.delete()
    await reached.wait()
    await handle.execute_update("cancel", {"by": "somebody"})
    world.hold["remove-release db/release"].set()
    record = await handle.result()
    assert record.state is OperationState.UNDONE
    assert (world.things, world.claims, set(world.records)) == before
    assert world.kept == set()


async def test_a_cancel_after_the_point_of_no_return_is_refused_and_it_rolls_forward(
    desk: Desk, world: FakeWorld
) -> None:
    await (await desk.deploy()).result()
    reached = world.pause("remove-release db/release")
    handle = await desk.delete(delete_disks=True)
    await reached.wait()
    answer = await refusal(handle, "cancel", by="somebody")
    assert "point of no return" in answer
    await handle.cancel()  # the server does not ask
    world.hold["remove-release db/release"].set()
    assert (await handle.result()).state is OperationState.SUCCEEDED
    assert world.empty


async def test_a_cancel_during_the_point_of_no_return_lets_it_happen(desk: Desk, world: FakeWorld) -> None:
    await (await desk.deploy()).result()
    reached = world.pause("delete-volumes db/disks")
    handle = await desk.delete(delete_disks=True)
    await reached.wait()
    await handle.cancel()
    await asyncio.sleep(0.2)
    world.hold["delete-volumes db/disks"].set()
    assert (await handle.result()).state is OperationState.SUCCEEDED
    assert world.empty


async def test_other_facts_than_those_agreed_to_are_refused(desk: Desk, world: FakeWorld) -> None:
    seen = await (await desk.deploy(plan_only=True)).result()
    assert seen.plan is not None
    world.nodes.pop()
    record = await (await desk.deploy(agreed=seen.plan.agreement)).result()
    assert (record.state, world.empty) == (OperationState.REFUSED, True)
    assert "agreed to" in record.explanation
    seen = await (await desk.deploy(plan_only=True)).result()
    assert seen.plan is not None
    record = await (await desk.deploy(agreed=seen.plan.agreement)).result()
    assert record.state is OperationState.SUCCEEDED


async def test_a_delete_is_judged_as_the_tenants_whose_app_it_is(desk: Desk, world: FakeWorld) -> None:
    await (await desk.deploy()).result()
    world.tenant = "search"
    world.policy = demanding(action="refuse", tenants=["search"])
    record = await (await desk.delete()).result()
    assert (record.state, record.tenant) == (OperationState.REFUSED, "search")


async def test_a_cancel_while_one_lane_is_parked_and_another_waits_is_told_as_a_cancel(
    desk: Desk, world: FakeWorld
) -> None:
    world.fail["create-volume db/0/disk/data"] = "no"
    world.flaky["create-volume db/1/disk/data"] = 1000
    handle = await desk.deploy()
    await desk.state(handle, OperationState.PARKED)
    await handle.execute_update("cancel", {"by": "somebody"})
    record = await handle.result()
    assert (record.state, record.explanation) == (OperationState.UNDONE, "cancelled")
    assert world.empty


async def test_a_failed_point_of_no_return_is_not_undone(desk: Desk, world: FakeWorld) -> None:
    """Some disks may be gone: nobody may be told that everything is back."""
    await (await desk.deploy()).result()
    world.fail["delete-volumes"] = "ExpiredToken"
    handle = await desk.delete(delete_disks=True)
    await desk.state(handle, OperationState.PARKED)
    assert "point of no return" in await refusal(handle, "cancel", by="somebody")
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await desk.decide(Decision.ABORT)
    assert "point of no return" in str(refused.value.__cause__)
    del world.fail["delete-volumes"]
    await desk.decide(Decision.RETRY)
    assert (await handle.result()).state is OperationState.SUCCEEDED


async def test_a_point_of_no_return_that_touched_nothing_can_still_be_aborted(
    desk: Desk, world: FakeWorld
) -> None:
    await (await desk.deploy()).result()
    before = (set(world.things), set(world.claims), set(world.records))
    world.fail["delete-volumes"] = "AccessDenied"
    world.untouched.add("delete-volumes")
    handle = await desk.delete(delete_disks=True)
    await desk.state(handle, OperationState.PARKED)
    await desk.decide(Decision.ABORT)
    assert (await handle.result()).state is OperationState.UNDONE
    assert (world.things, world.claims, set(world.records)) == before
    assert len(world.disks) == 2


async def test_what_was_skipped_is_told_as_left_behind(desk: Desk, world: FakeWorld) -> None:
    await (await desk.deploy()).result()
    world.fail["delete-volumes"] = "AccessDenied"
    handle = await desk.delete(delete_disks=True)
    await desk.state(handle, OperationState.PARKED)
    await desk.decide(Decision.SKIP)
    record = await handle.result()
    assert record.state is OperationState.SUCCEEDED
    assert record.left_behind == ["skipped: delete the 2 disks of db for good (AccessDenied)"]


async def test_a_delete_without_a_record_says_that_its_undo_brought_nothing_back(
    desk: Desk, world: FakeWorld
) -> None:
    await (await desk.deploy()).result()
    world.recorded = False
    world.fail["remove-services"] = "no"
    handle = await desk.delete()
    await desk.state(handle, OperationState.PARKED)
    await desk.decide(Decision.ABORT)
    record = await handle.result()
    assert record.state is OperationState.UNDONE_IN_PART
    assert any("cannot be brought back: stop db-0" in left for left in record.left_behind)


async def test_an_undone_delete_sees_its_instances_ready_again(desk: Desk, world: FakeWorld) -> None:
    await (await desk.deploy()).result()
    ready_before = sum(call.startswith("await-ready") for call in world.calls)
    world.fail["remove-services"] = "no"
    handle = await desk.delete()
    await desk.state(handle, OperationState.PARKED)
    await desk.decide(Decision.ABORT)
    assert (await handle.result()).state is OperationState.UNDONE
    assert sum(call.startswith("await-ready") for call in world.calls) == ready_before + 2


async def test_a_change_after_the_first_component_was_made_does_not_undo_it(
    desk: Desk, world: FakeWorld
) -> None:
    app = app_of({"name": "web", "after": ["db"]}, {"name": "db"})
    reached = world.pause("record-release db/release")
    handle = await desk.deploy(app)
    await reached.wait()
    world.nodes.pop()
    world.hold["record-release db/release"].set()
    record = await handle.result()
    assert record.state is OperationState.SUCCEEDED
    assert not any(call.startswith("delete-volume") for call in world.calls)


async def test_a_request_that_names_two_apps_is_invalid(desk: Desk, world: FakeWorld) -> None:
    handle = await desk._start(
        OperationKind.DEPLOY, app="harmless", deploy=DeployRequest(app=app_of(name="guarded"))
    )
    record = await handle.result()
    assert (record.state, world.empty) == (OperationState.INVALID, True)
    assert "asked for app harmless" in record.explanation


async def test_a_plan_says_what_the_policy_will_want(desk: Desk, world: FakeWorld) -> None:
    world.policy = demanding(approvers=["lead"])
    record = await (await desk.deploy(plan_only=True)).result()
    assert record.plan is not None
    assert any("needs an approval by lead" in note for note in record.plan.notes)


def test_an_expired_approval_is_refused_even_before_the_timer_fires() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    record = OperationRecord(
        id="op-1",
        kind=OperationKind.DEPLOY,
        cluster="c",
        app="shop",
        tenant="default",
        requester="somebody",
        reason="",
        state=OperationState.WAITING_FOR_APPROVAL,
        asked_at=now,
        plan=Plan(summary="", components=[]),
        approval=Approval(expires_at=now),
    )
    assert record.plan is not None
    given = Approve(by="lead", reason="yes", plan_hash=record.plan.hash)
    assert "has expired" in why_not_approve(record, given, now)
    assert why_not_approve(record, given, now - timedelta(seconds=1)) == ""
    nobody = given.model_copy(update={"by": " "})
    assert "by whom" in why_not_approve(record, nobody, now - timedelta(seconds=1))


async def test_a_lock_past_the_point_of_no_return_is_freed_when_its_operation_is_ended_by_force(
    desk: Desk, world: FakeWorld
) -> None:
    await (await desk.deploy()).result()
    reached = world.pause("remove-release db/release")
    handle = await desk.delete(delete_disks=True)
    await reached.wait()
    await handle.terminate("by hand")
    world.hold["remove-release db/release"].set()
    lock = desk.client.get_workflow_handle(component_lock(desk.cluster, "shop", "db"))
    assert (await lock.result())["state"] == "done"
    assert world.empty
