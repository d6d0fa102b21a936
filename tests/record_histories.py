"""Records the histories of finished runs over the fake world, for the replay tests: run it when a workflow has
changed on purpose, and say so in the change. `python tests/record_histories.py`"""

import asyncio
import os
import pathlib
import re
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from conftest import BIN, attribute_keys
from fake_world import FakeWorld
from story_desk import Desk, Handle
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.boundary import Boundary
from activities.locks import LockActivities
from activities.models.policies import Policy, Rule
from workers.runner import WORKFLOWS, workflow_runner
from workflows.models.operations import OperationState
from workflows.models.steps import Decision

#: Workers and clients sign with their process and host, which nobody else needs to know.
HERE = re.compile(r"\d+@" + re.escape(socket.gethostname()))

#: Nor where this machine keeps its files.
TRACE = re.compile(r'"stackTrace": "(?:[^"\\]|\\.)*"')

FOLDER = pathlib.Path(__file__).parent / "histories"


async def succeeded(desk: Desk, world: FakeWorld) -> Handle:
    return await desk.deploy()


async def parked_and_retried(desk: Desk, world: FakeWorld) -> Handle:
    world.fail["create-volume db/1/disk/data"] = "no"
    handle = await desk.deploy()
    await desk.state(handle, OperationState.PARKED)
    del world.fail["create-volume db/1/disk/data"]
    await desk.decide(Decision.RETRY)
    return handle


async def cancelled(desk: Desk, world: FakeWorld) -> Handle:
    reached = world.pause("start-instance db/1/start")
    handle = await desk.deploy()
    await reached.wait()
    await handle.execute_update("cancel", {"by": "somebody"})
    world.hold["start-instance db/1/start"].set()
    return handle


async def approved(desk: Desk, world: FakeWorld) -> Handle:
    world.policy = Policy(rules=[Rule(name="all")])
    handle = await desk.deploy()
    record = await desk.state(handle, OperationState.WAITING_FOR_APPROVAL)
    assert record.plan is not None
    answer = {"by": "approver", "reason": "yes", "plan_hash": record.plan.hash}
    await handle.execute_update("approve", answer)
    return handle


async def deleted(desk: Desk, world: FakeWorld) -> Handle:
    await (await desk.deploy()).result()
    return await desk.delete(delete_disks=True)


CASES: dict[str, Callable[[Desk, FakeWorld], Awaitable[Handle]]] = {
    "approved": approved,
    "cancelled": cancelled,
    "deleted": deleted,
    "parked-and-retried": parked_and_retried,
    "succeeded": succeeded,
}


async def run_case(name: str, client: Client) -> dict[str, str]:
    """Play a case to its end; the histories of its outer and inner workflow as JSON, by file name."""
    world, queue = FakeWorld(), str(uuid.uuid4())
    locks = LockActivities(client)
    async with Worker(
        client,
        task_queue=queue,
        workflows=WORKFLOWS,
        activities=[*world.activities, locks.await_lock, locks.read_lock],
        interceptors=[Boundary()],
        workflow_runner=workflow_runner(),
    ):
        handle = await CASES[name](Desk(client, world, queue), world)
        record = await handle.result()
        inner = client.get_workflow_handle(
            record.components[0].workflow_id, run_id=record.components[0].run_id
        )
        return {
            f"operation-{name}.json": (await handle.fetch_history()).to_json(),
            f"component-{name}.json": (await inner.fetch_history()).to_json(),
        }


async def main() -> None:
    async with await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        dev_server_existing_path=str(BIN / "temporal"),
        search_attributes=attribute_keys(),
    ) as environment:
        for name in CASES:
            for file, text in (await run_case(name, environment.client)).items():
                text = TRACE.sub('"stackTrace": ""', HERE.sub("somewhere", text))
                (FOLDER / file).write_text(text + "\n")


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)  # A process with living Temporal threads may crash on its way out (sdk-python#300).
