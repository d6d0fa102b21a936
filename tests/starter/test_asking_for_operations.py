"""`Operations` against real workflows on a dev server: what a door may rely on."""

import asyncio
from collections.abc import Callable

import pytest
from fake_world import FakeWorld
from operation_watch import followed, until
from pydantic import ValidationError
from temporalio import activity
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.models.policies import Policy, Rule
from activities.models.views import AppList, AppView, AskApps
from starter import answers
from starter.failures import BAD_REQUEST, DECLINED, DONE, PARKED, REFUSED, UNKNOWN, OperationFailed
from starter.operations import Operations
from workflows.ids import operation_workflow_id
from workflows.models.operations import Approve, Cancel, OperationRequest, OperationState, Reject
from workflows.models.steps import Decide, Decision, StepState

RequestFor = Callable[..., OperationRequest]


async def test_a_watched_deploy_ends_done_with_every_step_done(
    operations: Operations, request_for: RequestFor
) -> None:
    request = request_for()
    assert await operations.start(request)
    end = await followed(operations, request.id)
    assert end.category is DONE
    assert {step.state for _, step in end.steps} == {StepState.DONE}


async def test_an_ended_operation_shows_and_exports_its_steps_in_full(
    operations: Operations, request_for: RequestFor
) -> None:
    request = request_for()
    await operations.start(request)
    end = await followed(operations, request.id)
    assert end.record.plan is not None
    (run,) = end.record.components
    assert {step.step.title for step in run.steps} == {""}  # the record repeats no words of the plan
    assert [step.step for _, step in end.steps] == end.record.plan.steps
    exported = (await operations.export(request.id))["operation"]["components"][0]["steps"]
    assert [step["step"]["title"] for step in exported] == [step.title for step in end.record.plan.steps]


async def test_an_operation_that_cannot_read_the_facts_says_so_while_it_tries(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    world.flaky["read-deploy-facts"] = 2
    request = request_for()
    await operations.start(request)
    while not (snapshot := await operations.look(request.id)).attempts:
        await asyncio.sleep(0.02)
    (attempt,) = snapshot.loose_attempts
    assert (attempt.activity, attempt.failure, attempt.number) == ("read-deploy-facts", "try again", 2)
    assert attempt.next_at is not None or attempt.running
    assert snapshot.record.state is OperationState.PLANNING
    assert (await followed(operations, request.id)).category is DONE


async def test_an_operation_in_the_queue_has_nothing_to_say_of_how_it_waits(
    temporal: Client, operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    reached = world.pause("start-instance")
    first = request_for()
    await operations.start(first)
    await reached.wait()
    second = first.model_copy(update={"id": f"{first.id}-2"})
    await operations.start(second)
    await until(operations, second.id, OperationState.QUEUED)
    outer = temporal.get_workflow_handle(operation_workflow_id(second.id))
    while not any(p.attempt > 1 for p in (await outer.describe()).raw_description.pending_activities):
        await asyncio.sleep(0.05)
    queued = await operations.look(second.id)
    assert (queued.record.behind, queued.attempts) == (first.id, [])
    world.hold["start-instance"].set()
    await followed(operations, first.id)
    await followed(operations, second.id)


async def test_the_same_request_twice_is_one_operation(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    request = request_for()
    assert await operations.start(request)
    assert not await operations.start(request)
    await followed(operations, request.id)
    assert not await operations.start(request)
    assert len(world.disks) == 1


async def test_what_was_agreed_to_on_the_way_and_what_a_newer_version_knows_make_no_other_request(
    operations: Operations, request_for: RequestFor
) -> None:
    class Newer(OperationRequest):
        added_in_an_upgrade: str = "as before"

    request = request_for()
    assert not await operations.known(request)
    assert await operations.start(request.model_copy(update={"agreed": "0123456789abcdef"}))
    assert await operations.known(request)
    assert not await operations.start(request)
    assert not await operations.start(Newer.model_validate(request.model_dump()))


async def test_another_request_under_a_used_id_is_refused(
    operations: Operations, request_for: RequestFor
) -> None:
    request = request_for()
    await operations.start(request)
    with pytest.raises(OperationFailed, match="was used for another request") as refusal:
        await operations.start(request.model_copy(update={"reason": "another"}))
    assert refusal.value.category is BAD_REQUEST


async def test_the_steps_are_seen_while_they_run(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    reached = world.pause("bind-volume")
    request = request_for()
    await operations.start(request)
    await reached.wait()
    snapshot = await until(operations, request.id, OperationState.RUNNING)
    states = {step.step.id: step.state for _, step in snapshot.steps}
    assert states["db/0/disk/data"] is StepState.DONE
    assert states["db/0/claim/data"] is StepState.RUNNING
    assert "delete disk data of db-0" in snapshot.cancel_would
    world.hold["bind-volume"].set()
    assert (await followed(operations, request.id)).category is DONE


async def test_a_struggling_step_shows_its_attempts_and_their_failure(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    world.flaky["create-volume"] = 2
    request = request_for()
    await operations.start(request)
    while not (snapshot := await operations.look(request.id)).attempts:
        await asyncio.sleep(0.02)
    (attempt,) = snapshot.attempts
    assert (attempt.step, attempt.failure) == ("db/0/disk/data", "try again")
    assert attempt.number >= 2


async def test_a_parked_operation_ends_the_watch_and_goes_on_after_a_retry(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    world.fail["create-volume"] = "the volume limit is reached"
    request = request_for()
    await operations.start(request)
    parked = await followed(operations, request.id)
    assert parked.category is PARKED
    assert [step.error for _, step in parked.parked] == ["the volume limit is reached"]
    world.fail.clear()
    retry = Decide(decision=Decision.RETRY, by="ada")
    assert len(await operations.decide(request.id, retry)) == 1
    assert (await followed(operations, request.id)).category is DONE


async def test_a_decision_about_what_is_not_parked_is_refused(
    operations: Operations, request_for: RequestFor
) -> None:
    request = request_for()
    await operations.start(request)
    await followed(operations, request.id)
    with pytest.raises(OperationFailed, match="nothing is parked") as refusal:
        await operations.decide(request.id, Decide(decision=Decision.RETRY, by="ada"))
    assert refusal.value.category is REFUSED


async def test_a_cancelled_operation_is_undone_and_counts_as_declined(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    reached = world.pause("start-instance")
    request = request_for()
    await operations.start(request)
    await reached.wait()
    await operations.cancel(request.id, Cancel(by="ada", reason="changed my mind"))
    world.hold["start-instance"].set()
    end = await followed(operations, request.id)
    assert (end.record.state, end.category) == (OperationState.UNDONE, DECLINED)
    assert world.empty
    with pytest.raises(OperationFailed, match="has ended already: undone"):
        await operations.cancel(request.id, Cancel(by="ada"))


async def test_an_approval_of_another_plan_is_refused_and_of_this_one_is_taken(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    world.policy = Policy(rules=[Rule(name="all")])
    request = request_for()
    await operations.start(request)
    waiting = await until(operations, request.id, OperationState.WAITING_FOR_APPROVAL)
    assert waiting.record.plan is not None
    with pytest.raises(OperationFailed, match="look at it again") as refusal:
        await operations.approve(request.id, Approve(by="eve", reason="fine", plan_hash="0" * 16))
    assert refusal.value.category is REFUSED
    plan_hash = waiting.record.plan.hash
    await operations.approve(request.id, Approve(by="eve", reason="fine", plan_hash=plan_hash))
    assert (await followed(operations, request.id)).category is DONE


async def test_a_rejected_operation_is_declined(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    world.policy = Policy(rules=[Rule(name="all")])
    request = request_for()
    await operations.start(request)
    await until(operations, request.id, OperationState.WAITING_FOR_APPROVAL)
    await operations.reject(request.id, Reject(by="eve", reason="too dear"))
    end = await followed(operations, request.id)
    assert end.category is DECLINED
    assert "too dear" in end.record.explanation


async def test_lists_come_from_search_attributes_and_filter(
    operations: Operations, request_for: RequestFor
) -> None:
    request = request_for()
    await operations.start(request)
    await followed(operations, request.id)
    # What is visible in lists follows a moment after the workflow.
    while not (rows := await operations.list_operations(cluster=request.cluster, state="succeeded")):
        await asyncio.sleep(0.05)
    (row,) = rows
    assert (row.id, row.kind, row.app, row.components) == (request.id, "deploy", "shop", ("db",))
    assert row.requester == "ada"
    assert await operations.list_operations(cluster=request.cluster, state="parked") == []


async def test_a_filter_cannot_reach_beyond_its_value(operations: Operations) -> None:
    with pytest.raises(OperationFailed, match="leave out quotes"):
        await operations.list_operations(app="x' OR WorkflowId != '")


async def test_an_unknown_operation_is_said_to_be_unknown(operations: Operations) -> None:
    with pytest.raises(OperationFailed, match="there is no operation 'nope'"):
        await operations.look("nope")
    with pytest.raises(OperationFailed, match="there is no operation 'nope'"):
        await operations.cancel("nope", Cancel(by="ada"))


async def test_without_a_worker_the_operation_is_still_shown(
    unattended: Operations, request_for: RequestFor
) -> None:
    request = request_for()
    await unattended.start(request)
    snapshot = await unattended.look(request.id)
    assert "no worker polls the task queue" in snapshot.note
    assert (snapshot.record.app, snapshot.record.requester) == ("shop", "ada")
    assert snapshot.record.state is OperationState.PLANNING
    assert not await unattended.worker_there()


async def test_an_export_holds_the_record_and_both_histories(
    operations: Operations, request_for: RequestFor
) -> None:
    request = request_for()
    await operations.start(request)
    await followed(operations, request.id)
    export = await operations.export(request.id)
    assert export["operation"]["state"] == "succeeded"
    lock = f"component/{request.cluster}/shop/db"
    assert set(export["histories"]) == {f"op/{request.id}", lock}
    assert all(history for history in export["histories"].values())


async def test_a_start_without_an_answer_may_take_effect_and_a_look_without_one_may_not(
    operations: Operations, request_for: RequestFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*args: object, **kwargs: object) -> None:
        raise RPCError("connection lost", RPCStatusCode.UNAVAILABLE, b"")

    request = request_for()
    monkeypatch.setattr(operations._client, "start_workflow", silent)
    with pytest.raises(OperationFailed, match="it may still take effect") as failure:
        await operations.start(request)
    assert failure.value.category is UNKNOWN
    assert f"--id {request.id}" in failure.value.help
    with pytest.raises(OperationFailed, match="did not answer: connection lost") as failure:
        await operations.ask("view-apps", AskApps(cluster="east"), AppList)
    assert failure.value.category is BAD_REQUEST


async def test_who_says_something_must_have_a_name(
    temporal: Client, operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    world.policy = Policy(rules=[Rule(name="all")])
    request = request_for()
    await operations.start(request)
    waiting = await until(operations, request.id, OperationState.WAITING_FOR_APPROVAL)
    assert waiting.record.plan is not None
    told = {"by": " ", "reason": "fine", "plan_hash": waiting.record.plan.hash}
    outer = temporal.get_workflow_handle(operation_workflow_id(request.id))
    for update in ("approve", "reject", "cancel"):
        with pytest.raises(WorkflowUpdateFailedError):
            await outer.execute_update(update, told)
    await operations.cancel(request.id, Cancel(by="ada"))
    assert (await followed(operations, request.id)).category is DECLINED


@pytest.mark.parametrize("nobody", ["", " "])
def test_nobody_may_stay_unnamed(request_for: RequestFor, nobody: str) -> None:
    for message, fields in (
        (Approve, {"reason": "fine", "plan_hash": "0"}),
        (Reject, {"reason": "no"}),
        (Cancel, {}),
        (Decide, {"decision": "retry"}),
    ):
        with pytest.raises(ValidationError, match="by"):
            message.model_validate({"by": nobody, **fields})
    with pytest.raises(ValidationError, match="requester"):
        request_for(requester=nobody)


async def test_a_question_is_answered_by_the_worker(unattended: Operations, worker: Callable) -> None:  # type: ignore[type-arg]
    @activity.defn(name="view-apps")
    async def view(ask: AskApps) -> AppList:
        return AppList(apps=[AppView(app=ask.cluster, tenant="t", components=[], disks=[])])

    async with worker(view):
        answer = await unattended.ask("view-apps", AskApps(cluster="east"), AppList)
    assert [app.app for app in answer.apps] == ["east"]


async def test_a_question_that_fails_says_why_and_what_to_do(
    unattended: Operations,
    worker: Callable,  # type: ignore[type-arg]
) -> None:
    @activity.defn(name="view-apps")
    async def view(ask: AskApps) -> AppList:
        raise ApplicationError(
            "the credentials have expired", {"help": "renew them"}, type="AccessDenied", non_retryable=True
        )

    async with worker(view):
        with pytest.raises(OperationFailed, match="the credentials have expired") as failure:
            await unattended.ask("view-apps", AskApps(cluster="east"), AppList)
    assert (failure.value.category, failure.value.help) == (BAD_REQUEST, "renew them")


async def test_whoever_waits_without_a_worker_is_told_so(
    unattended: Operations, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "SAY_AFTER", answers.SAY_AFTER / 30)
    monkeypatch.setattr(answers, "ANSWER_WITHIN", answers.ANSWER_WITHIN / 60)
    with pytest.raises(OperationFailed, match="no worker answered") as failure:
        await unattended.ask("view-apps", AskApps(cluster="east"), AppList)
    assert failure.value.category is BAD_REQUEST  # it changes nothing, so nothing may have come of it
    assert any("no worker polls the task queue" in note for note in notes)


async def test_missing_search_attributes_are_found(operations: Operations) -> None:
    wanted = {"SupergiantKind": "Keyword", "SupergiantComponents": "KeywordList", "NotThere": "Keyword"}
    assert await operations.missing_search_attributes(wanted) == ["NotThere"]
