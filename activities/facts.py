"""What planning looks at: machines, what exists of the components, limits, prices. Changes nothing."""

import re
from collections import defaultdict

from temporalio import activity

from activities.clients import Clusters
from activities.kube import names, reading
from activities.kube.base import Kube, Manifest
from activities.kube.records import instances_of, read_pointer, read_release
from activities.models.facts import (
    DeleteFacts,
    DeployFacts,
    ExistingComponent,
    NodeFacts,
    ReadDeleteFacts,
    ReadDeployFacts,
)
from activities.remains import remains_of

#: Kinds whose presence means that a component was deployed here; secrets outlive one on purpose, and a policy or
#: budget that was left behind is simply applied again.
_TRACES = ("StatefulSet", "PersistentVolumeClaim", "Service")


class FactsActivities:
    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    @activity.defn(name="read-deploy-facts", no_thread_cancel_exception=True)
    def read_deploy_facts(self, request: ReadDeployFacts) -> DeployFacts:
        clients = self._clusters.get(request.cluster)
        # Credentials that are wrong or of another account show here, while nothing has been touched.
        clients.checked_account()
        kube = clients.kube
        namespace = kube.get("Namespace", request.app)
        components: list[ExistingComponent] = []
        foreign: list[str] = []
        if namespace is not None:
            components = _existing(kube, request.app, request.components)
            foreign = _foreign(kube, request.app, request.components)
        return DeployFacts(
            cluster=clients.name,
            cloud=clients.cloud_name,
            zones=clients.zones,
            nodes=_nodes(kube, clients.csi_driver),
            namespace_owner=None if namespace is None else _owner(namespace, request.app),
            components=components,
            foreign_objects=foreign,
            quota=clients.cloud.volume_quota(),
            prices=clients.cloud.disk_prices(),
            priced_on=clients.cloud.priced_on,
        )

    @activity.defn(name="read-delete-facts", no_thread_cancel_exception=True)
    def read_delete_facts(self, request: ReadDeleteFacts) -> DeleteFacts:
        """Asks for every component when none is named; one of which nothing is there is left out. The namespace
        need not be there: disks are found by their tags."""
        clients = self._clusters.get(request.cluster)
        clients.checked_account()
        remains = remains_of(clients, request.app)
        wanted = set(request.components) or set(remains.components)
        return DeleteFacts(
            app=request.app,
            tenant=remains.tenant,
            components=[facts for name, facts in sorted(remains.components.items()) if name in wanted],
            retention_seconds=clients.retention_seconds,
            prices=clients.cloud.disk_prices(),
            priced_on=clients.cloud.priced_on,
        )


def _owner(namespace: Manifest, app: str) -> str:
    """The tenant, or "" for a namespace that is not ours."""
    return names.label(namespace, names.TENANT) if names.has_labels(namespace, names.app_labels(app)) else ""


def _nodes(kube: Kube, csi_driver: str) -> list[NodeFacts]:
    pods: dict[str, list[Manifest]] = defaultdict(list)
    for pod in kube.list("Pod"):
        if node := pod["spec"].get("nodeName"):
            pods[node].append(pod)
    csi_nodes = {csi_node["metadata"]["name"]: csi_node for csi_node in kube.list("CSINode")}
    disks = _disks_by_node(kube, csi_driver, pods)
    return sorted(
        (
            reading.node_facts(node, csi_nodes.get(name), pods[name], len(disks[name]), csi_driver)
            for node in kube.list("Node")
            for name in [node["metadata"]["name"]]
        ),
        key=lambda facts: facts.name,
    )


def _disks_by_node(kube: Kube, csi_driver: str, pods: dict[str, list[Manifest]]) -> dict[str, set[str]]:
    """PersistentVolumes attached to a node, and those of pods that were given to it but not attached yet."""
    disks: dict[str, set[str]] = defaultdict(set)
    for attachment in kube.list("VolumeAttachment"):
        if attachment["spec"]["attacher"] == csi_driver:
            source = attachment["spec"]["source"].get("persistentVolumeName")
            disks[attachment["spec"]["nodeName"]].add(source or attachment["metadata"]["name"])
    claims = {
        (claim["metadata"]["namespace"], claim["metadata"]["name"]): claim["spec"].get("volumeName")
        for claim in kube.list("PersistentVolumeClaim")
    }
    of_driver = {
        volume["metadata"]["name"]
        for volume in kube.list("PersistentVolume")
        if volume["spec"].get("csi", {}).get("driver") == csi_driver
    }
    for node, running in pods.items():
        for pod in running:
            for claim in reading.claims_of(pod):
                bound = claims.get((pod["metadata"]["namespace"], claim))
                if bound in of_driver and not reading.is_over(pod):
                    disks[node].add(str(bound))
    return disks


def _existing(kube: Kube, app: str, components: list[str]) -> list[ExistingComponent]:
    traces = [thing for kind in _TRACES for thing in kube.list(kind, app, names.app_labels(app))]
    found = []
    for component in components:
        of_component = [thing for thing in traces if names.label(thing, names.COMPONENT) == component]
        pointer = read_pointer(kube, app, component)
        if not of_component and not pointer:
            continue
        record = read_release(kube, app, component, pointer) if pointer else None
        operations = [names.operation_of(thing) for thing in of_component]
        found.append(
            ExistingComponent(
                component=component,
                release=pointer,
                instances=instances_of(t for t in of_component if t["kind"] == "StatefulSet"),
                operation=record.operation if record else max(operations, default=""),
                spec=record.component if record else None,
            )
        )
    return found


def _foreign(kube: Kube, app: str, components: list[str]) -> list[str]:
    """Objects under names that a deploy would take, which are not of that component."""
    taken = []
    for component in components:
        labels = names.component_labels(app, component)
        for kind, pattern in _names_taken(component):
            taken += [
                names.title(thing)
                for thing in kube.list(kind, app)
                if re.fullmatch(pattern, thing["metadata"]["name"]) and not names.has_labels(thing, labels)
            ]
    return sorted(taken)


def _names_taken(component: str) -> list[tuple[str, str]]:
    name = re.escape(component)
    return [
        ("ConfigMap", rf"component-{name}|release-{name}-\d+"),
        ("NetworkPolicy", name),
        ("PodDisruptionBudget", name),
        ("Secret", rf"{name}\.[a-z0-9-]+"),
        ("Service", rf"{name}(-all|-\d+)?"),
        ("StatefulSet", rf"{name}-\d+"),
    ]
