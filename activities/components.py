"""What a component has as a whole on Kubernetes: namespace, secrets, services, release record, health.

Called by the stories in `workflows`. Each activity looks before it acts and may be run again at any point.
"""

import secrets
import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.clients import Clusters
from activities.errors import NotOurs, NotReadyYet
from activities.kube import manifests, names, reading
from activities.kube.base import Kube, Manifest
from activities.kube.instance_status import instance_status
from activities.kube.namespaces import ensure_namespace, namespace_of, remove_namespace
from activities.kube.owned import (
    apply_ours,
    create_ours,
    remove_ours,
    shortly,
    still_going,
)
from activities.kube.records import is_same_release, point_at, point_back, record_of, release_number
from activities.models.instances import (
    ComponentRequest,
    InstanceStatus,
    NamespaceRequest,
    RecordRelease,
    RemoveComponent,
    RemoveRelease,
)
from activities.models.quantities import seconds

_ALPHABET = string.ascii_letters + string.digits


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ComponentActivities:
    def __init__(self, clusters: Clusters, now: Callable[[], datetime] = _utc_now) -> None:
        self._clusters = clusters
        self._now = now

    @activity.defn(name="ensure-namespace", no_thread_cancel_exception=True)
    def ensure_namespace(self, request: NamespaceRequest) -> None:
        ensure_namespace(self._kube(request.cluster), request)

    @activity.defn(name="remove-namespace", no_thread_cancel_exception=True)
    def remove_namespace(self, request: NamespaceRequest) -> None:
        remove_namespace(self._kube(request.cluster), request)

    @activity.defn(name="ensure-secrets", no_thread_cancel_exception=True)
    def ensure_secrets(self, request: ComponentRequest) -> None:
        """Make the secrets that lack; one that exists keeps its value, which its disks depend on."""
        kube = self._kube(request.cluster)
        ensure_namespace(kube, namespace_of(request))
        for secret in request.component.secrets:
            value = "".join(secrets.choice(_ALPHABET) for _ in range(secret.length))
            create_ours(kube, manifests.secret(request, secret.name, value))

    @activity.defn(name="remove-secrets", no_thread_cancel_exception=True)
    def remove_secrets(self, request: RemoveComponent) -> None:
        kube = self._kube(request.cluster)
        labels = names.component_labels(request.app, request.component)
        for secret in kube.list("Secret", request.app, labels):
            if request.all or names.operation_of(secret) == request.operation:
                metadata = secret["metadata"]
                if remove_ours(kube, "Secret", metadata["name"], request.app, labels):
                    raise still_going([names.title(secret)], request.app)

    @activity.defn(name="ensure-services", no_thread_cancel_exception=True)
    def ensure_services(self, request: ComponentRequest) -> None:
        kube = self._kube(request.cluster)
        ensure_namespace(kube, namespace_of(request))
        for manifest in manifests.component_objects(request):
            apply_ours(kube, manifest)

    @activity.defn(name="remove-services", no_thread_cancel_exception=True)
    def remove_services(self, request: RemoveComponent) -> None:
        """Remove the component's own Services, budget and policy; those of instances go with the instance."""
        kube = self._kube(request.cluster)
        labels = names.component_labels(request.app, request.component)
        left = []
        for kind, name in (
            ("Service", request.component),
            ("Service", names.headless_name(request.component)),
            ("PodDisruptionBudget", request.component),
            ("NetworkPolicy", request.component),
        ):
            if remove_ours(kube, kind, name, request.app, labels):
                left.append(f"{kind}/{name}")
        if left:
            raise still_going(left, request.app)

    @activity.defn(name="record-release", no_thread_cancel_exception=True)
    def record_release(self, request: RecordRelease) -> None:
        """Write the record first and then the pointer, so that the pointer never names a missing record."""
        kube = self._kube(request.cluster)
        if request.is_undo:
            # A delete that removed the namespace as well is being undone.
            ensure_namespace(kube, namespace_of(request))
        record = record_of(request, self._now())
        existing = create_ours(kube, manifests.release(request, record))
        if existing is not None and not is_same_release(existing, record):
            raise NotOurs(
                f"release {request.release} of {request.app}/{request.component.name} is already recorded, "
                f"with another content, by operation {names.operation_of(existing) or 'unknown'}",
                help="look at it with 'supergiant app show'",
            )
        point_at(kube, request)

    @activity.defn(name="remove-release", no_thread_cancel_exception=True)
    def remove_release(self, request: RemoveRelease) -> None:
        """Move the pointer first, for the same reason."""
        kube = self._kube(request.cluster)
        labels = names.component_labels(request.app, request.component)
        records = {
            number: record
            for record in kube.list("ConfigMap", request.app, labels)
            if (number := release_number(record, request.component)) is not None
        }
        going = (
            sorted(records) if request.all else [number for number in records if number == request.release]
        )
        if not request.all:
            going = [n for n in going if names.operation_of(records[n]) == request.operation]
        kept = set(records) - set(going)
        point_back(kube, request, max(kept, default=None))
        for number in going:
            name = names.release_name(request.component, number)
            if remove_ours(kube, "ConfigMap", name, request.app, labels):
                raise still_going([f"release record {number}"], f"{request.app}/{request.component}")

    @activity.defn(name="check-health", no_thread_cancel_exception=True)
    def check_health(self, request: ComponentRequest) -> list[InstanceStatus]:
        """Every instance ready for `health.settle` without a restart; NotReadyYet names one that is not."""
        kube = self._kube(request.cluster)
        component = request.component
        pods = {
            pod["metadata"]["name"]: pod
            for pod in kube.list("Pod", request.app, names.component_labels(request.app, component.name))
        }
        zones = {n["metadata"]["name"]: names.label(n, names.ZONE) for n in kube.list("Node")}
        settle = timedelta(seconds=seconds(component.health.settle))
        statuses = []
        for number in range(component.instances):
            pod = pods.get(names.pod_name(component.name, number))
            if pod is None or not reading.is_ready(pod):
                why = reading.why_not_ready(pod) if pod else "it has no pod"
                instance = names.instance_name(component.name, number)
                raise NotReadyYet(f"instance {instance} is not ready: {why}", retry_after=shortly())
            self._require_settled(pod, settle)
            statuses.append(instance_status(request.app, component.name, number, pod, zones))
        return statuses

    def _require_settled(self, pod: Manifest, settle: timedelta) -> None:
        since = reading.ready_since(pod)
        if since is None or not settle:
            return
        left = since + settle - self._now()
        if left > timedelta(0):
            raise NotReadyYet(
                f"pod {pod['metadata']['name']} is ready, and must stay so for {left.total_seconds():.0f} s",
                # In steps, so that a restart is seen early; in growing ones, since attempts are counted.
                retry_after=min(left, max(left / 10, timedelta(seconds=5))),
            )

    def _kube(self, cluster: str) -> Kube:
        return self._clusters.get(cluster).kube
