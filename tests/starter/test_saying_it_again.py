"""Saying something to an operation once more: the same word is one word, and a second on purpose is a second."""

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta

import pytest
from fake_world import FakeWorld, node
from operation_watch import followed, until
from temporalio.client import Client

from activities.models.policies import Policy, Rule
from starter import answers, watching
from starter.failures import BAD_REQUEST, DECLINED, DONE, PARKED, UNKNOWN, OperationFailed
from starter.operations import Operations
from workflows.ids import operation_workflow_id
from workflows.models.operations import Approve, Cancel, OperationRequest, OperationState
from workflows.models.steps import Decide, Decision

RequestFor = Callable[..., OperationRequest]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SAY_AFTER", timedelta(seconds=0.1))
    monkeypatch.setattr(answers, "ANSWER_WITHIN", timedelta(seconds=0.5))
    monkeypatch.setattr(watching, "QUERY_TIMEOUT", timedelta(seconds=0.2))


@pytest.mark.usefixtures("impatient")
async def test_a_cancel_without_an_answer_may_take_effect_and_is_the_same_when_repeated(
    temporal: Client,
    unattended: Operations,
    worker: Callable,  # type: ignore[type-arg]
    request_for: RequestFor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = request_for()
    await unattended.start(request)
    for _ in range(2):
        with pytest.raises(OperationFailed, match="it may still take effect") as failure:
            await unattended.cancel(request.id, Cancel(by="ada", reason="changed my mind"))
        assert failure.value.category is UNKNOWN
        assert f"supergiant op show {request.id}" in failure.value.help
    gc.collect()
    assert "never retrieved" not in caplog.text  # it would stand on the terminal as a traceback
    monkeypatch.undo()
    async with worker():
        end = await followed(unattended, request.id)
    assert end.category is DECLINED
    history = await temporal.get_workflow_handle(operation_workflow_id(request.id)).fetch_history()
    accepted = [
        e for e in history.events if e.HasField("workflow_execution_update_accepted_event_attributes")
    ]
    assert len(accepted) == 1


@pytest.mark.usefixtures("impatient")
async def test_a_decision_that_no_worker_can_hear_is_not_called_refused(
    unattended: Operations, request_for: RequestFor
) -> None:
    request = request_for()
    await unattended.start(request)
    with pytest.raises(OperationFailed, match="no worker polls") as failure:
        await unattended.decide(request.id, Decide(decision=Decision.RETRY, by="ada"))
    assert failure.value.category is BAD_REQUEST


async def test_a_second_retry_on_purpose_is_a_second_retry(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    world.fail["create-volume"] = "the volume limit is reached"
    request = request_for()
    await operations.start(request)
    retry = Decide(decision=Decision.RETRY, by="ada", reason="mended")
    for tries in (1, 2):
        assert (await followed(operations, request.id)).category is PARKED
        await operations.decide(request.id, retry)
        while world.calls.count("create-volume db/0/disk/data") == tries:
            await asyncio.sleep(0.02)
    assert (await until(operations, request.id, OperationState.PARKED)).parked
    world.fail.clear()
    await operations.decide(request.id, retry)
    assert (await followed(operations, request.id)).category is DONE


async def test_an_approval_that_became_void_can_be_given_again_in_the_same_words(
    operations: Operations, request_for: RequestFor, world: FakeWorld
) -> None:
    world.policy = Policy(rules=[Rule(name="all")])
    before, request = world.nodes, request_for()
    await operations.start(request)
    waiting = await until(operations, request.id, OperationState.WAITING_FOR_APPROVAL)
    assert waiting.record.plan is not None
    approve = Approve(by="eve", reason="fine", plan_hash=waiting.record.plan.hash)
    # The facts are others when the component looks, and as before when the operation plans again.
    world.pause("read-deploy-facts").clear()
    await operations.approve(request.id, approve)
    first, reached = world.hold["read-deploy-facts"], world.reached["read-deploy-facts"]
    await reached.wait()
    world.nodes = [node("us-east-1a", "other")]
    second = world.pause("read-deploy-facts")
    second.clear()
    first.set()
    await second.wait()
    world.nodes = before
    world.hold["read-deploy-facts"].set()
    again = await until(operations, request.id, OperationState.WAITING_FOR_APPROVAL)
    assert again.record.plan is not None
    assert again.record.plan.hash == approve.plan_hash
    del world.hold["read-deploy-facts"]
    await operations.approve(request.id, approve)
    assert (await followed(operations, request.id)).category is DONE
