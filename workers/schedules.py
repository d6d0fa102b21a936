"""Keeps the schedules that workers own: create or update, so that a new version's settings take effect."""

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

SWEEP = "sweep-kept-disks"


async def keep_schedules(client: Client, clusters: list[str]) -> None:
    """One sweep an hour over all clusters; a missed one is not made up for, because the next does the same."""
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            "sweep-kept-disks", Sweep(clusters=clusters), id=SWEEP, task_queue=TASK_QUEUE
        ),
        spec=ScheduleSpec(
            intervals=[ScheduleIntervalSpec(every=timedelta(hours=1))], jitter=timedelta(minutes=5)
        ),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=10)),
    )
    try:
        await client.create_schedule(SWEEP, schedule)
    except ScheduleAlreadyRunningError:

        def replace(seen: ScheduleUpdateInput) -> ScheduleUpdate:
            # A person may have paused it; that must survive a restart of the worker.
            schedule.state = seen.description.schedule.state
            return ScheduleUpdate(schedule=schedule)

        await client.get_schedule_handle(SWEEP).update(replace)
