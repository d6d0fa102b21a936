"""Each cluster has a sweep of its own, which only workers that serve it touch."""

import uuid
from typing import Any

import pytest
from temporalio.client import Client, ScheduleActionStartWorkflow

from workers.schedules import keep_schedules


@pytest.fixture
def cluster() -> str:
    return f"c{uuid.uuid4().hex[:8]}"


async def swept(client: Client, cluster: str) -> Any:
    described = await client.get_schedule_handle(f"sweep-kept-disks/{cluster}").describe()
    action = described.schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    (request,) = await client.data_converter.decode(action.args)
    return request["clusters"]


async def test_a_worker_of_other_clusters_leaves_a_sweep_as_it_is(temporal: Client, cluster: str) -> None:
    await keep_schedules(temporal, [cluster])
    await keep_schedules(temporal, [f"{cluster}-2", f"{cluster}-3"])
    for name in (cluster, f"{cluster}-2", f"{cluster}-3"):
        assert await swept(temporal, name) == [name]


async def test_a_sweep_that_somebody_paused_stays_paused(temporal: Client, cluster: str) -> None:
    await keep_schedules(temporal, [cluster])
    handle = temporal.get_schedule_handle(f"sweep-kept-disks/{cluster}")
    await handle.pause(note="an incident")
    await keep_schedules(temporal, [cluster])
    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "an incident")
