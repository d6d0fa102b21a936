"""Keeps the schedules that workers own: create or update, so that a new version's settings take effect."""

from collections.abc import Iterable
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from workflows.connection import TASK_QUEUE
from workflows.models.sweeps import Sweep


async def keep_schedules(client: Client, clusters: Iterable[str]) -> None:
    """One schedule for each cluster, because workers of one namespace need not serve the same clusters. What
    belongs to others is left alone, also what a cluster leaves that is in no settings any more."""
    for cluster in clusters:
        await _keep_sweep(client, cluster)


async def _keep_sweep(client: Client, cluster: str) -> None:
    """A sweep an hour; a missed one is not made up for, because the next does the same."""
    name = f"sweep-kept-disks/{cluster}"
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            "sweep-kept-disks", Sweep(clusters=[cluster]), id=name, task_queue=TASK_QUEUE
        ),
        spec=ScheduleSpec(
            intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))], jitter=timedelta(minutes=5)
        ),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=10)),
    )
    try:
        await client.create_schedule(name, schedule)
    except ScheduleAlreadyRunningError:

        def replace(seen: ScheduleUpdateInput) -> ScheduleUpdate:
            # A person may have paused it; that must survive a restart of the worker.
            schedule.state = seen.description.schedule.state
            return ScheduleUpdate(schedule=schedule)

        await client.get_schedule_handle(name).update(replace)
