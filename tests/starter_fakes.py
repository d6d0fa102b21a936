"""Operations as the commands see them, with answers that a test gives; what nobody told it, it refuses."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from starter.listing import OperationRow
from starter.snapshots import Snapshot
from workflows.models.operations import OperationKind, OperationRecord, OperationRequest, OperationState
from workflows.models.plans import ComponentPlan, Plan
from workflows.models.steps import PlannedStep

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def a_plan(**fields: Any) -> Plan:
    steps = [
        PlannedStep(id="db/namespace", title="make namespace shop", undo="delete namespace shop"),
        PlannedStep(id="db/0/disk/data", title="create disk data of db-0", undo="delete disk data of db-0"),
    ]
    component = ComponentPlan(app="shop", component="db", steps=steps, facts="f")
    values: dict[str, Any] = {"summary": "deploy shop", "components": [component], "cost_after": 2.4}
    return Plan.model_validate({**values, **fields})


def a_record(state: OperationState, **fields: Any) -> OperationRecord:
    values: dict[str, Any] = {
        "id": "op-1",
        "kind": OperationKind.DEPLOY,
        "cluster": "east",
        "app": "shop",
        "tenant": "default",
        "requester": "ada",
        "reason": "",
        "state": state,
        "asked_at": NOW,
        "ended_at": NOW + timedelta(seconds=5) if state.ended else None,
        "plan": a_plan(),
    }
    return OperationRecord.model_validate({**values, **fields})


class FakeOperations:
    """`records` are what a watch sees, the last of them its end; `answers` are by activity, `said` is what
    was told to operations."""

    def __init__(self) -> None:
        self.records: list[OperationRecord] = [a_record(OperationState.SUCCEEDED)]
        self.plan: OperationRecord = a_record(OperationState.PLANNED)
        self.rows: list[OperationRow] = []
        self.answers: dict[str, BaseModel] = {}
        self.fail: Exception | None = None
        self.started: list[OperationRequest] = []
        self.said: list[tuple[str, str, BaseModel]] = []
        self.asked_before = False
        self.interrupt = False

    async def start(self, request: OperationRequest) -> bool:
        if self.fail:
            raise self.fail
        self.started.append(request)
        return not self.asked_before

    async def known(self, request: OperationRequest) -> bool:
        if self.fail:
            raise self.fail
        return self.asked_before

    async def get(self, operation: str) -> OperationRecord:
        return (await self.look(operation)).record

    async def look(self, operation: str) -> Snapshot:
        if self.fail:
            raise self.fail
        return Snapshot(self.records[-1])

    async def watch(self, operation: str) -> AsyncIterator[Snapshot]:
        planned = [request for request in self.started if request.id == operation and request.plan_only]
        for record in [self.plan] if planned else self.records:
            if self.interrupt and not planned:
                raise KeyboardInterrupt
            yield Snapshot(record)

    async def list_operations(self, **filters: Any) -> list[OperationRow]:
        if self.fail:
            raise self.fail
        return self.rows

    async def ask(self, activity: str, argument: BaseModel, answer: type[BaseModel]) -> BaseModel:
        if self.fail:
            raise self.fail
        return self.answers[activity]

    async def approve(self, operation: str, message: BaseModel) -> str:
        return self._told(operation, "approve", message)

    async def reject(self, operation: str, message: BaseModel) -> str:
        return self._told(operation, "reject", message)

    async def cancel(self, operation: str, message: BaseModel) -> str:
        return self._told(operation, "cancel", message)

    async def decide(self, operation: str, message: BaseModel) -> list[str]:
        return [self._told(operation, "decide", message)]

    async def address(self) -> str:
        return "127.0.0.1:7233, namespace default"

    async def missing_search_attributes(self, wanted: dict[str, str]) -> list[str]:
        return []

    async def worker_there(self) -> bool:
        return True

    def _told(self, operation: str, what: str, message: BaseModel) -> str:
        if self.fail:
            raise self.fail
        self.said.append((operation, what, message))
        return f"{what} heard"
