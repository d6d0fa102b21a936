"""Operations over the fake world, on a Temporal dev server."""

import uuid
from collections.abc import AsyncIterator

import pytest
from fake_world import FakeWorld
from story_desk import Desk
from temporalio.client import Client
from temporalio.worker import Worker

from activities.boundary import Boundary
from activities.locks import LockActivities
from workers.runner import WORKFLOWS, workflow_runner


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
async def desk(temporal: Client, world: FakeWorld) -> AsyncIterator[Desk]:
    queue = str(uuid.uuid4())
    locks = LockActivities(temporal)
    worker = Worker(
        temporal,
        task_queue=queue,
        workflows=WORKFLOWS,
        activities=[*world.activities, locks.await_lock, locks.read_lock],
        interceptors=[Boundary()],
        workflow_runner=workflow_runner(),
    )
    async with worker:
        yield Desk(temporal, world, queue)
        for event in world.hold.values():
            event.set()  # A test that failed has not; the worker would wait for its activities for ever.
