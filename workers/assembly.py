"""Builds everything a worker hosts: the only place that makes real clients. Called by `workers.main`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Lock
from typing import Any

from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from activities.boundary import Boundary
from activities.clients import ClusterClients, Clusters
from activities.clouds import registry
from activities.components import ComponentActivities
from activities.errors import InvalidSpec
from activities.facts import FactsActivities
from activities.instances import InstanceActivities
from activities.kube import client as kube
from activities.locks import LockActivities
from activities.models.settings import ClusterSettings, Settings, WorkerSettings
from activities.policies import PolicyActivities
from activities.views import ViewActivities
from activities.volumes import VolumeActivities
from workers.runner import WORKFLOWS, workflow_runner
from workflows.connection import TASK_QUEUE

#: The CSI driver that attaches a cloud's disks; the name is the vendor's.
CSI_DRIVERS = {"aws": "ebs.csi.aws.com"}


class ConfiguredClusters:
    """The clusters of the settings. Clients are made at first use, so that one cluster whose files are missing
    does not keep the worker from serving the others."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[str, ClusterClients] = {}
        self._lock = Lock()

    def names(self) -> list[str]:
        return sorted(self._settings.clusters)

    def get(self, name: str) -> ClusterClients:
        cluster = self._settings.clusters.get(name)
        if cluster is None:
            known = ", ".join(self.names()) or "none"
            raise InvalidSpec(
                f"no cluster named {name!r}; known: {known}",
                help="clusters are named in the worker's settings file",
            )
        with self._lock:
            if name not in self._made:
                self._made[name] = _clients(cluster, self._settings.worker)
            return self._made[name]


def activities(settings: Settings, client: Client, clusters: Clusters) -> list[Callable[..., Any]]:
    """Every activity, bound to its clients."""
    components, instances = ComponentActivities(clusters), InstanceActivities(clusters)
    facts, locks = FactsActivities(clusters), LockActivities(client)
    policies, views, volumes = (
        PolicyActivities(settings.policy.file),
        ViewActivities(clusters),
        VolumeActivities(clusters),
    )
    return [
        components.check_health,
        components.ensure_namespace,
        components.ensure_secrets,
        components.ensure_services,
        components.record_release,
        components.remove_namespace,
        components.remove_release,
        components.remove_secrets,
        components.remove_services,
        facts.read_delete_facts,
        facts.read_deploy_facts,
        instances.await_attached,
        instances.await_ready,
        instances.bind_volume,
        instances.remove_instance,
        instances.start_instance,
        instances.unbind_volume,
        locks.await_lock,
        locks.read_lock,
        policies.read_policy,
        views.check_cluster,
        views.list_clusters,
        views.view_apps,
        volumes.create_volume,
        volumes.delete_volume,
        volumes.delete_volumes,
        volumes.keep_volumes,
        volumes.sweep_volumes,
    ]


def build_worker(settings: Settings, client: Client, clusters: Clusters | None = None) -> Worker:
    """A worker for every workflow and activity."""
    threads = settings.worker.max_activities
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=WORKFLOWS,
        activities=activities(settings, client, clusters or ConfiguredClusters(settings)),
        activity_executor=ThreadPoolExecutor(threads, thread_name_prefix="activity"),
        max_concurrent_activities=threads,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(initial=4, maximum=20),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(initial=4, maximum=20),
        interceptors=[Boundary()],
        workflow_runner=workflow_runner(),
        graceful_shutdown_timeout=settings.worker.graceful_shutdown,
        # A workflow task that sticks to a killed worker waits exactly this long for it.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        # A beat must reach the server well within the heartbeat timeout, or a busy worker looks dead.
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
    )


def _clients(cluster: ClusterSettings, worker: WorkerSettings) -> ClusterClients:
    return ClusterClients(
        name=cluster.name,
        cloud_name=cluster.cloud,
        region=cluster.region,
        account=cluster.account,
        zones=list(cluster.zones),
        kube=kube.connect(cluster.kubeconfig, cluster.context),
        cloud=registry.connect(cluster.cloud, cluster.region, cluster.cloud_options),
        retention_seconds=int((cluster.retention or worker.retention).total_seconds()),
        csi_driver=CSI_DRIVERS[cluster.cloud],
        storage_class=cluster.storage_class,
    )
