"""Anything that an operation relies on may be killed while it runs: it goes on and ends the same."""

import asyncio
import os
import random

import pytest

from tests.e2e.pictures import disks, disks_made, final_state, leftovers
from tests.e2e.stage import Stage, marks, small_app
from tests.e2e.undisturbed import Undisturbed
from tests.e2e.victims import INSTANCES
from workflows.models.operations import Cancel, OperationState

pytestmark = marks(pytest.mark.crash)

WORKER = "worker"
#: Another number makes another order of kills: SUPERGIANT_CHAOS_SEED=7 make test
SEED = int(os.environ.get("SUPERGIANT_CHAOS_SEED", "20260"))
CHAOS_SECONDS = 30.0
PAUSE_SECONDS = 2.0


@pytest.mark.parametrize("step", ["db/0/disk/data", "db/1/attached"])
@pytest.mark.parametrize("process", ["kube-apiserver", "aws", "temporal"])
async def test_a_deploy_outlives_the_death_of(
    stage: Stage, undisturbed: Undisturbed, process: str, step: str
) -> None:
    app = f"no-{process}-{step.split('/')[2]}"
    operation = await stage.bench.deploy(small_app(app, INSTANCES), f"deploy-{app}")
    await _at_work(stage, app, step)
    assert stage.sandbox.kill(process)
    await asyncio.to_thread(stage.sandbox.start, process)
    await _as_undisturbed(stage, undisturbed, app, operation)
    await stage.clear(app)


async def test_a_cloud_that_dies_over_making_a_disk_makes_it_once(
    stage: Stage, undisturbed: Undisturbed
) -> None:
    admin = stage.sandbox.admin
    fault = admin.add_fault("crash", action="CreateVolume", resource="half-made", when="after")
    operation = await stage.bench.deploy(small_app("half-made", INSTANCES), "deploy-half-made")
    async with asyncio.timeout(60):
        while any(one.name == "aws" and one.pid for one in stage.sandbox.processes()):
            await asyncio.sleep(0.1)
    await asyncio.to_thread(stage.sandbox.start, "aws")
    assert [one["hits"] for one in admin.faults() if one["id"] == fault["id"]] == [1]
    await _as_undisturbed(stage, undisturbed, "half-made", operation)
    await stage.clear("half-made")


async def test_all_settles_after_anything_was_killed_again_and_again(
    stage: Stage, undisturbed: Undisturbed
) -> None:
    chance = random.Random(SEED)
    print(f"SUPERGIANT_CHAOS_SEED={SEED}")
    bench, sandbox = stage.bench, stage.sandbox
    gone, kept = "chaos-gone", "chaos-kept"
    before = [await bench.deploy(small_app(app, INSTANCES), f"deploy-{app}") for app in (gone, kept)]
    await bench.all_ended(before)

    born = [f"chaos-born-{n}" for n in range(4)]
    deploys = [await bench.deploy(small_app(app, INSTANCES), f"deploy-{app}") for app in born]
    undone = await bench.deploy(small_app("chaos-undone", INSTANCES), "deploy-chaos-undone")
    deletes = [
        await bench.delete(gone, f"delete-{gone}"),
        await bench.delete(kept, f"delete-{kept}", delete_disks=False),
    ]
    # Before its first step an operation may end with "cannot be reached" and nothing touched; not after it.
    for operation in (*deploys, undone, *deletes):
        await bench.until(operation, lambda seen: any(step.started_at for _, step in seen.steps))
    await bench.operations.cancel(undone, Cancel(by="tester"))

    killed = await _chaos(stage, chance)
    print(f"killed: {', '.join(killed)}")
    records = await bench.all_ended([*deploys, undone, *deletes])
    for app, operation in zip(born, deploys, strict=True):
        await _as_undisturbed(stage, undisturbed, app, operation)
    assert (records[undone].state, records[undone].cancelled) == (OperationState.UNDONE, True)
    assert leftovers(sandbox, "chaos-undone") == []
    assert [records[one].state for one in deletes] == [OperationState.SUCCEEDED] * 2
    assert leftovers(sandbox, gone) == []
    assert [disk["State"] for disk in disks(sandbox, kept)] == ["available"] * INSTANCES
    kinds = {thing.split()[0] for thing in leftovers(sandbox, kept)}
    assert kinds == {"disk", "Namespace", "Secret"}, "a kept disk needs its password, and nothing else"
    await stage.clear(*born)


async def _chaos(stage: Stage, chance: random.Random) -> list[str]:
    """Kill one or two at a time for half a minute, each time start again what is dead; who was killed."""
    processes = [one.name for one in await asyncio.to_thread(stage.sandbox.processes)]
    killed: list[str] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + CHAOS_SECONDS
    while loop.time() < end:
        victims = chance.sample([*processes, WORKER], chance.choice([1, 1, 2]))
        for victim in victims:
            if victim == WORKER:
                stage.worker.kill()
            else:
                stage.sandbox.kill(victim)
        killed += victims
        await asyncio.sleep(chance.uniform(0.2, PAUSE_SECONDS))
        await asyncio.to_thread(stage.sandbox.up)
        if not stage.worker.runs:
            await stage.worker.start()
    return killed


async def _at_work(stage: Stage, app: str, step: str) -> None:
    async with asyncio.timeout(60):
        while step not in await stage.bench.at_work(app, "db"):
            await asyncio.sleep(0.02)


async def _as_undisturbed(stage: Stage, undisturbed: Undisturbed, app: str, operation: str) -> None:
    record = await stage.bench.ended(operation)
    assert record.state is OperationState.SUCCEEDED, record.explanation
    assert final_state(stage.sandbox, app, operation) == undisturbed.state
    made = disks_made(stage.sandbox, app)
    assert sorted(made) == sorted(disk["VolumeId"] for disk in disks(stage.sandbox, app))
    assert len(made) == INSTANCES
