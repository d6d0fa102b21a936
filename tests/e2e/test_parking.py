"""A failure that no trying mends parks: it says what, why and who must act, and goes on from there."""

import itertools
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.e2e.pictures import disks, disks_made, leftovers
from tests.e2e.stage import Stage, marks, small_app
from workflows.models.operations import OnFailure, OperationState
from workflows.models.steps import StepState

pytestmark = marks()

#: What "at once" means to somebody who waits at a terminal.
AT_ONCE = timedelta(seconds=10)
_numbers = itertools.count(1)


@pytest.fixture
def full_quota(stage: Stage) -> Iterator[str]:
    """From the second disk of the app on, the account may have no more. The app's name."""
    app = f"over-quota-{next(_numbers)}"
    stage.sandbox.admin.add_fault(
        "error",
        action="CreateVolume",
        resource=f"{app}/db-1-",
        code="VolumeLimitExceeded",
        message="You have exceeded the maximum number of volumes.",
        count=None,
    )
    yield app
    stage.sandbox.admin.clear_faults()


async def test_a_full_quota_parks_and_a_retry_finishes(stage: Stage, full_quota: str) -> None:
    operation = await stage.bench.deploy(small_app(full_quota), "parked")
    watched = await stage.cli("op", "watch", operation)
    assert watched.code == 3, watched.out
    assert "exceeded the maximum number of volumes" in watched.out
    assert f"supergiant op retry {operation}" in watched.out

    snapshot = await stage.bench.operations.look(operation)
    [(_, parked)] = snapshot.parked
    assert parked.step.id == "db/1/disk/data"
    assert parked.started_at is not None
    parked_at = next(event.at for event in snapshot.record.history if event.what == "parked")
    assert parked_at - parked.started_at < AT_ONCE

    # What could be done is done and stays: parking loses nothing.
    await stage.bench.until(
        operation,
        lambda seen: any(s.step.id == "db/0/ready" and s.state is StepState.DONE for _, s in seen.steps),
    )
    begun = {step.step.id: step.started_at for _, step in snapshot.steps if step.state is StepState.DONE}
    made_before = disks_made(stage.sandbox, full_quota)
    assert len(made_before) == 1
    calls = stage.sandbox.admin.health()["last_call"]

    stage.sandbox.admin.clear_faults()
    retried = await stage.cli("op", "retry", operation, "--reason", "the quota is raised", "-w")
    assert retried.code == 0, retried.out + retried.err
    record = await stage.bench.ended(operation)
    [run] = record.components
    assert begun.items() <= {step.step.id: step.started_at for step in run.steps}.items(), (
        "a step is repeated"
    )
    since = stage.sandbox.admin.calls(since=calls, action="CreateVolume")
    assert len({call["token"] for call in since}) == len(since) == 1, "only the disk that lacked is asked for"
    made = disks_made(stage.sandbox, full_quota)
    assert made[:1] == made_before
    assert sorted(made) == sorted(disk["VolumeId"] for disk in disks(stage.sandbox, full_quota))
    await stage.clear(full_quota)


async def test_an_abort_of_a_parked_deploy_undoes_it(stage: Stage, full_quota: str) -> None:
    operation = await stage.bench.deploy(small_app(full_quota), "aborted")
    await stage.bench.until(operation, lambda seen: seen.stands_still)
    aborted = await stage.cli("op", "abort", operation, "--reason", "another day", "-w")
    assert aborted.code == 1
    assert "exceeded the maximum number of volumes" in aborted.out, "it still says why"
    assert (await stage.bench.ended(operation)).state is OperationState.UNDONE
    assert leftovers(stage.sandbox, full_quota) == []


async def test_an_unattended_deploy_undoes_itself(stage: Stage, full_quota: str) -> None:
    operation = await stage.bench.deploy(small_app(full_quota), "unattended", on_failure=OnFailure.UNDO)
    record = await stage.bench.ended(operation)
    assert (record.state, record.cancelled) == (OperationState.UNDONE, False)
    assert "exceeded the maximum number of volumes" in record.explanation
    assert leftovers(stage.sandbox, full_quota) == []


async def test_a_step_that_is_not_safe_to_skip_is_not_skipped(stage: Stage, full_quota: str) -> None:
    operation = await stage.bench.deploy(small_app(full_quota), "not-skipped")
    await stage.bench.until(operation, lambda seen: seen.stands_still)
    skipped = await stage.cli("op", "skip", operation)
    assert skipped.code == 4
    assert "cannot be skipped safely" in skipped.err
    await stage.cli("op", "abort", operation, "-w")
    assert leftovers(stage.sandbox, full_quota) == []
