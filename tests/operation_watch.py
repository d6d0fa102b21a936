"""How tests of the starter wait for an operation: until its end, or until it has come to a state."""

import asyncio

from starter.operations import Operations
from starter.snapshots import Snapshot
from workflows.models.operations import OperationState


async def followed(operations: Operations, operation: str) -> Snapshot:
    snapshots = [snapshot async for snapshot in operations.watch(operation)]
    return snapshots[-1]


async def until(operations: Operations, operation: str, state: OperationState) -> Snapshot:
    while True:
        snapshot = await operations.look(operation)
        if snapshot.record.state is state:
            return snapshot
        assert not snapshot.ended, snapshot.record.explanation
        await asyncio.sleep(0.02)
