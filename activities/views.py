"""What runs, read from the cluster and the cloud at the moment of asking: `app list|show`, `disk list`,
`cluster list|check`. Changes nothing."""

from collections import defaultdict

from temporalio import activity

from activities.clients import ClusterClients, Clusters
from activities.errors import SupergiantError
from activities.kube import names, reading
from activities.kube.base import Kube, Manifest
from activities.kube.checks import check_cluster
from activities.kube.instance_status import instance_status
from activities.kube.records import current_release, instances_of, parse_release
from activities.models import tags
from activities.models.clusters import Check, ClusterReport, ClusterSummary
from activities.models.views import (
    AppList,
    AppView,
    AskApps,
    AskCluster,
    AskClusters,
    ComponentView,
    DiskView,
)
from activities.models.volumes import Volume, VolumeState

_OF_COMPONENTS = ("ConfigMap", "Pod", "Service", "StatefulSet")


class ViewActivities:
    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    @activity.defn(name="view-apps", no_thread_cancel_exception=True)
    def view_apps(self, request: AskApps) -> AppList:
        """Apps by name. One of which only kept disks are left has no components and no tenant."""
        clients = self._clusters.get(request.cluster)
        kube = clients.kube
        labels = names.app_labels(request.app) if request.app else {names.MANAGED_BY: names.MANAGER}
        tenants = {
            names.label(namespace, names.APP): names.label(namespace, names.TENANT)
            for namespace in kube.list("Namespace", labels=labels)
        }
        nodes = kube.list("Node")
        components = _components(kube, request.app, labels, nodes)
        disks = _disks(clients, request.app, labels, nodes)
        return AppList(
            apps=[
                AppView(
                    app=app,
                    tenant=tenants.get(app, ""),
                    components=components.get(app, []),
                    disks=disks.get(app, []),
                )
                for app in sorted(set(tenants) | set(components) | set(disks))
            ]
        )

    @activity.defn(name="list-clusters", no_thread_cancel_exception=True)
    def list_clusters(self, request: AskClusters) -> list[ClusterSummary]:
        return [self._summary(name) for name in self._clusters.names()]

    @activity.defn(name="check-cluster", no_thread_cancel_exception=True)
    def check_cluster(self, request: AskCluster) -> ClusterReport:
        """Looks at everything a deploy will need; what cannot be reached is a failed check, not an error."""
        try:
            clients = self._clusters.get(request.cluster)
        except SupergiantError as error:
            if request.cluster not in self._clusters.names():
                raise
            problem = Check(name="settings", ok=False, detail=str(error), help=error.help)
            return ClusterReport(cluster=request.cluster, checks=[problem])
        return ClusterReport(cluster=clients.name, checks=check_cluster(clients))

    def _summary(self, name: str) -> ClusterSummary:
        try:
            clients = self._clusters.get(name)
        except SupergiantError as error:
            # One cluster whose files are missing must not hide the others.
            return ClusterSummary(name=name, cloud="", region="", account="", zones=[], problem=str(error))
        return ClusterSummary(
            name=clients.name,
            cloud=clients.cloud_name,
            region=clients.region,
            account=clients.account,
            zones=clients.zones,
        )


def _components(
    kube: Kube, app: str | None, labels: dict[str, str], nodes: list[Manifest]
) -> dict[str, list[ComponentView]]:
    zones = {node["metadata"]["name"]: names.label(node, names.ZONE) for node in nodes}
    things: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
    for kind in _OF_COMPONENTS:
        for thing in kube.list(kind, app, labels):
            things[names.label(thing, names.APP), names.label(thing, names.COMPONENT)].append(thing)
    views: dict[str, list[ComponentView]] = defaultdict(list)
    for (owner, component), found in sorted(things.items()):
        if component:
            views[owner].append(_component(owner, component, found, zones))
    return views


def _component(app: str, component: str, things: list[Manifest], zones: dict[str, str]) -> ComponentView:
    by_name = {(thing["kind"], thing["metadata"]["name"]): thing for thing in things}
    release = current_release(by_name.get(("ConfigMap", names.pointer_name(component))), app, component)
    recorded = by_name.get(("ConfigMap", names.release_name(component, release)))
    record = parse_release(recorded) if recorded else None
    sets = [thing for thing in things if thing["kind"] == "StatefulSet"]
    operations = [names.operation_of(thing) for thing in things]
    # A recorded instance whose StatefulSet somebody has deleted must be seen to be missing.
    numbers = set(instances_of(sets)) | set(range(record.component.instances if record else 0))
    return ComponentView(
        component=component,
        release=release,
        operation=record.operation if record else max(operations, default=""),
        instances=[
            instance_status(
                app, component, number, by_name.get(("Pod", names.pod_name(component, number))), zones
            )
            for number in sorted(numbers)
        ],
        addresses=_addresses(app, component, by_name.get(("Service", component))),
    )


def _addresses(app: str, component: str, service: Manifest | None) -> dict[str, str]:
    """By port name, as programs inside the cluster reach the component."""
    ports = service["spec"].get("ports") or [] if service else []
    return {port["name"]: f"{component}.{app}.svc:{port['port']}" for port in ports}


def _disks(
    clients: ClusterClients, app: str | None, labels: dict[str, str], nodes: list[Manifest]
) -> dict[str, list[DiskView]]:
    claims = {
        volume["spec"]["csi"]["volumeHandle"]: volume["spec"]["claimRef"]["name"]
        for volume in clients.kube.list("PersistentVolume", labels=labels)
    }
    node_of = {reading.machine(node): node["metadata"]["name"] for node in nodes}
    ours = {tags.CLUSTER: clients.name} | ({tags.APP: app} if app else {})
    views: dict[str, list[DiskView]] = defaultdict(list)
    for disk in clients.cloud.find_volumes(ours):
        view = _disk(disk, node_of.get(disk.machine, ""), claims.get(disk.id, ""))
        # A disk on its way out would show an app that has just been deleted.
        if view.app and disk.state is not VolumeState.DELETING:
            views[view.app].append(view)
    for found in views.values():
        found.sort(key=lambda v: (v.component, -1 if v.instance is None else v.instance, v.blueprint, v.id))
    return views


def _disk(disk: Volume, node: str, claim: str) -> DiskView:
    number = disk.tags.get(names.INSTANCE, "")
    return DiskView(
        id=disk.id,
        app=disk.tags.get(names.APP, ""),
        component=disk.tags.get(names.COMPONENT, ""),
        instance=int(number) if number.isdecimal() else None,
        blueprint=disk.tags.get(names.VOLUME, ""),
        size_gib=disk.size_gib,
        type=disk.type,
        zone=disk.zone,
        state=disk.state.value,
        machine=disk.machine,
        node=node,
        claim=claim,
        keep_until=tags.kept_until(disk.tags),
    )
