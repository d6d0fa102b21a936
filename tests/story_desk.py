"""An operations desk for story tests: asks, watches and decides as people would."""

import asyncio
import uuid
from typing import Any

from fake_world import FakeWorld
from temporalio.client import Client, WorkflowHandle

from activities.models.apps import App
from workflows.ids import component_lock, operation_workflow_id
from workflows.models.operations import (
    DeleteRequest,
    DeployRequest,
    OperationKind,
    OperationRecord,
    OperationRequest,
    OperationState,
)
from workflows.models.steps import Decide, Decision
from workflows.operation import OperationWorkflow

Handle = WorkflowHandle[OperationWorkflow, OperationRecord]


def app_of(*components: dict[str, Any], name: str = "shop") -> App:
    parts = components or ({},)
    return App.model_validate(
        {
            "app": name,
            "components": [
                {
                    "name": "db",
                    "instances": 2,
                    "containers": [{"name": "main", "image": "redis:7"}],
                    "volumes": [{"name": "data", "size": "10Gi"}],
                    **part,
                }
                for part in parts
            ],
        },
        extra="forbid",
    )


class Desk:
    """Asks for operations as a person would; every test has a cluster name, and so locks, of its own."""

    def __init__(self, client: Client, world: FakeWorld, task_queue: str) -> None:
        self.client, self.world, self.task_queue = client, world, task_queue
        self.cluster = f"c{uuid.uuid4().hex[:8]}"

    async def deploy(self, app: App | None = None, **fields: Any) -> Handle:
        app = app or app_of()
        return await self._start(
            OperationKind.DEPLOY, app=app.app, tenant=app.tenant, deploy=DeployRequest(app=app), **fields
        )

    async def delete(self, app: str = "shop", **fields: Any) -> Handle:
        what = DeleteRequest(app=app, delete_disks=fields.pop("delete_disks", False))
        return await self._start(OperationKind.DELETE, app=app, delete=what, **fields)

    async def _start(self, kind: OperationKind, **fields: Any) -> Handle:
        identity = fields.pop("id", f"op-{uuid.uuid4().hex[:8]}")
        request = OperationRequest(
            id=identity, kind=kind, cluster=self.cluster, **{"requester": "somebody", **fields}
        )
        return await self.client.start_workflow(
            OperationWorkflow.run, request, id=operation_workflow_id(identity), task_queue=self.task_queue
        )

    async def state(self, handle: Handle, *wanted: OperationState) -> OperationRecord:
        """Wait until the operation is in one of the states."""
        while True:
            record = await handle.query(OperationWorkflow.record)
            if record.state in wanted:
                return record
            assert not record.state.ended, f"ended {record.state}: {record.explanation}"
            await asyncio.sleep(0.02)

    async def decide(self, decision: Decision, component: str = "db", app: str = "shop") -> None:
        lock = self.client.get_workflow_handle(component_lock(self.cluster, app, component))
        await lock.execute_update("decide", Decide(decision=decision, by="somebody"))

    async def progress(self, component: str = "db", app: str = "shop") -> Any:
        lock = self.client.get_workflow_handle(component_lock(self.cluster, app, component))
        return await lock.query("progress")
