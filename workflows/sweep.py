"""Deletes the disks whose retention has ended; started by a schedule that the worker keeps."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.models.volumes import SweepVolumes, SweptVolumes
from activities.volumes import VolumeActivities
from workflows.explain import explain
from workflows.models.sweeps import Sweep, SweepReport
from workflows.patience import LOOK


@workflow.defn(name="sweep-kept-disks")
class SweepWorkflow:
    @workflow.run
    async def run(self, sweep: Sweep) -> SweepReport:
        deleted: dict[str, list[str]] = {}
        failed: dict[str, str] = {}
        for cluster in sweep.clusters:
            request = SweepVolumes(cluster=cluster, now=workflow.now())
            try:
                swept: SweptVolumes = await workflow.execute_activity_method(
                    VolumeActivities.sweep_volumes, request, **LOOK
                )
                deleted[cluster] = swept.deleted
            except ActivityError as failure:
                # One cluster that does not answer must not stop the others; the next sweep tries again.
                failed[cluster] = explain(failure)
        return SweepReport(deleted=deleted, failed=failed)
