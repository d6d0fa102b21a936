"""The doors over the fake world: real workflows on a dev server, operations asked as the CLI asks them."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from fake_world import FakeWorld
from temporalio.client import Client
from temporalio.worker import Worker

from activities.locks import LockActivities
from activities.models.apps import App
from starter.operations import Operations
from workers.runner import WORKFLOWS, workflow_runner
from workflows.models.operations import DeployRequest, OperationKind, OperationRequest

WorkerOf = Callable[..., AbstractAsyncContextManager[Worker]]


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


@pytest.fixture
def notes() -> list[str]:
    """What was said to whoever waits."""
    return []


@pytest.fixture
def queue() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def unattended(temporal: Client, queue: str, notes: list[str]) -> Operations:
    """Operations on a task queue that no worker polls yet."""
    return Operations(temporal, notes.append, task_queue=queue)


@pytest.fixture
def worker(temporal: Client, queue: str, world: FakeWorld) -> WorkerOf:
    """Starts a worker of the queue, with activities of the test's own beside the world's."""

    @asynccontextmanager
    async def start(*more: Callable[..., Any]) -> AsyncIterator[Worker]:
        locks = LockActivities(temporal)
        async with Worker(
            temporal,
            task_queue=queue,
            workflows=WORKFLOWS,
            activities=[*world.activities, locks.await_lock, locks.read_lock, *more],
            workflow_runner=workflow_runner(),
        ) as running:
            try:
                yield running
            finally:
                # A worker waits for its activities, so a test that failed must not leave one held.
                for held in world.hold.values():
                    held.set()

    return start


@pytest.fixture
async def operations(unattended: Operations, worker: WorkerOf) -> AsyncIterator[Operations]:
    async with worker():
        yield unattended


@pytest.fixture
def request_for() -> Callable[..., OperationRequest]:
    """A deploy of one component with a disk, on a cluster of the test's own."""

    def make(**fields: Any) -> OperationRequest:
        app = App.model_validate(
            {
                "app": "shop",
                "components": [
                    {
                        "name": "db",
                        "containers": [{"name": "main", "image": "redis:7"}],
                        "volumes": [{"name": "data", "size": "10Gi"}],
                    }
                ],
            },
            extra="forbid",
        )
        unique = uuid.uuid4().hex[:8]
        values = {
            "id": f"op-{unique}",
            "kind": OperationKind.DEPLOY,
            "cluster": f"c{unique}",
            "app": "shop",
            "requester": "ada",
            "deploy": DeployRequest(app=app),
        }
        return OperationRequest.model_validate({**values, **fields})

    return make
