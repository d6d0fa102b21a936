"""A workflow that runs one activity by name, for the tests of the boundary."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType


@workflow.defn(name="probe")
class Probe:
    @workflow.run
    async def run(self, asked: dict[str, Any]) -> Any:
        return await workflow.execute_activity(
            asked["activity"],
            {"cluster": "prod", "operation": "deploy-1", "step": "db/0/disk/data"},
            start_to_close_timeout=timedelta(seconds=asked.get("start_to_close_seconds", 20)),
            heartbeat_timeout=timedelta(seconds=asked.get("heartbeat_seconds", 5)),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=asked.get("initial_seconds", 30)),
                maximum_attempts=asked.get("most_attempts", 0),
            ),
        )
