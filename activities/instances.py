"""One instance of a component on Kubernetes: its disks' claims, its StatefulSet of one, its attachments.

Called by the stories in `workflows`. Each activity looks before it acts and may be run again at any point;
what needs time is waited for by raising NotReadyYet, whose text is what `op show` prints meanwhile.
"""

from typing import Any

from temporalio import activity

from activities.clients import ClusterClients, Clusters
from activities.errors import CameToFail, NotFound, NotOurs, NotReadyYet
from activities.kube import manifests, names, pod_manifests, reading
from activities.kube.base import Kube, Manifest
from activities.kube.instance_status import instance_status
from activities.kube.namespaces import ensure_namespace, namespace_of
from activities.kube.owned import (
    apply_ours,
    create_ours,
    find_same,
    remove_ours,
    require_ours,
    shortly,
    soon,
    still_going,
)
from activities.models.instances import InstanceRequest, InstanceStatus, NamespaceRequest, RemoveInstance
from activities.models.tags import TENANT
from activities.models.volumes import Attachment, AwaitAttached, BindVolume, UnbindVolume


class InstanceActivities:
    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    @activity.defn(name="bind-volume", no_thread_cancel_exception=True)
    def bind_volume(self, request: BindVolume) -> None:
        """Make the PersistentVolume and its claim, each naming the other, and see them bound.

        They are created, never applied: the control plane writes into the same fields of a bound pair.
        """
        clients = self._clusters.get(request.cluster)
        kube, tenant = clients.kube, _tenant(clients, request)
        volume = manifests.persistent_volume(request, tenant, clients.csi_driver, clients.storage_class)
        existing = create_ours(kube, volume) or find_same(kube, volume)
        _require_taken_up(existing, request)
        claim = manifests.claim(request, tenant, clients.storage_class)
        bound = create_ours(kube, claim) or find_same(kube, claim)
        _require_bound(kube, request, bound)

    @activity.defn(name="unbind-volume", no_thread_cancel_exception=True)
    def unbind_volume(self, request: UnbindVolume) -> None:
        """Remove the claim and then its PersistentVolume; the cloud disk stays."""
        kube = self._clusters.get(request.cluster).kube
        labels = names.app_labels(request.app)
        if remove_ours(kube, "PersistentVolumeClaim", request.claim, request.app, labels):
            why = _who_uses(kube, request.app, request.claim)
            raise still_going([f"claim {request.claim}"], request.app, why)
        volume = names.volume_name(request.app, request.claim)
        if remove_ours(kube, "PersistentVolume", volume, None, labels):
            why = _where_attached(kube, volume)
            raise still_going([f"PersistentVolume {volume}"], request.app, why)

    @activity.defn(name="start-instance", no_thread_cancel_exception=True)
    def start_instance(self, request: InstanceRequest) -> None:
        """Make the instance's Service and StatefulSet; a pod of an older template is replaced."""
        kube = self._clusters.get(request.cluster).kube
        if request.is_undo:
            # A delete that removed the namespace as well is being undone.
            ensure_namespace(kube, namespace_of(request))
        apply_ours(kube, manifests.instance_service(request))
        wanted = pod_manifests.stateful_set(request)
        existed = find_same(kube, wanted) is not None
        applied = apply_ours(kube, wanted)
        if existed:
            _replace_outdated_pod(kube, request, applied)

    @activity.defn(name="remove-instance", no_thread_cancel_exception=True)
    def remove_instance(self, request: RemoveInstance) -> None:
        """Remove the StatefulSet and the Service; done when the pod is gone and its disks are detached."""
        kube = self._clusters.get(request.cluster).kube
        labels = names.instance_labels(request.app, request.component, request.instance)
        name = names.instance_name(request.component, request.instance)
        left = [
            f"{kind} {name}"
            for kind in ("Service", "StatefulSet")
            if remove_ours(kube, kind, name, request.app, labels)
        ]
        left += [f"pod {pod['metadata']['name']}" for pod in kube.list("Pod", request.app, labels)]
        volumes = {volume["metadata"]["name"] for volume in kube.list("PersistentVolume", labels=labels)}
        left += [
            f"the attachment of {_attached_volume(attachment)} to node {attachment['spec']['nodeName']}"
            for attachment in kube.list("VolumeAttachment")
            if _attached_volume(attachment) in volumes
        ]
        if left:
            raise still_going(left, f"{request.app}/{name}")

    @activity.defn(name="await-attached", no_thread_cancel_exception=True)
    def await_attached(self, request: AwaitAttached) -> list[Attachment]:
        """Every disk attached, as Kubernetes says and as the cloud itself says."""
        if not request.claims:
            return []
        clients = self._clusters.get(request.cluster)
        kube = clients.kube
        pod = _pod(kube, request.app, request.component, request.instance)
        node = pod["spec"].get("nodeName")
        if not node or names.is_going(pod):
            raise NotReadyYet(reading.why_not_ready(pod), retry_after=soon())
        attachments = {
            _attached_volume(attachment): attachment
            for attachment in kube.list("VolumeAttachment")
            if attachment["spec"]["nodeName"] == node
        }
        machine = _machine(kube, node)
        return [
            _attached(clients, request.app, claim, node, machine, attachments) for claim in request.claims
        ]

    @activity.defn(name="await-ready", no_thread_cancel_exception=True)
    def await_ready(self, request: InstanceRequest) -> InstanceStatus:
        """The pod of our StatefulSet is Ready; until then, NotReadyYet says in plain words why not.

        What looks hopeless, such as a crash loop or an unknown image, stays NotReadyYet: a database may be
        recovering, a registry may come back. The story bounds the wait and parks with the last explanation.
        """
        kube = self._clusters.get(request.cluster).kube
        app, component, number = request.app, request.component.name, request.instance
        name = names.instance_name(component, number)
        stateful_set = kube.get("StatefulSet", name, app)
        if stateful_set is None:
            raise NotFound(
                f"StatefulSet/{name} in namespace {app} is gone; somebody has deleted it",
                help="abort the operation, then ask for it again",
            )
        require_ours(stateful_set, names.instance_labels(app, component, number))
        pod = _pod(kube, app, component, number)
        _require_owner(pod, stateful_set)
        if not reading.is_ready(pod):
            raise NotReadyYet(_explain(kube, pod), retry_after=soon())
        zones = {pod["spec"].get("nodeName", ""): request.zone}
        return instance_status(app, component, number, pod, zones)


def _tenant(clients: ClusterClients, request: BindVolume) -> str:
    """The tenant of the app's namespace; the undo of a delete makes one again that is gone or going."""
    namespace = clients.kube.get("Namespace", request.app)
    if namespace is not None and not (request.is_undo and names.is_going(namespace)):
        return names.label(namespace, names.TENANT)
    if not request.is_undo:
        raise NotFound(
            f"namespace {request.app} is gone; somebody has deleted it",
            help="abort the operation, then ask for it again",
        )
    disk = clients.cloud.get_volume(request.volume.id)
    tenant = (disk.tags if disk else {}).get(TENANT, "default")
    again = NamespaceRequest(
        cluster=request.cluster,
        operation=request.operation,
        step=request.step,
        app=request.app,
        tenant=names.label(namespace, names.TENANT) if namespace else tenant,
        component=request.component,
    )
    ensure_namespace(clients.kube, again)
    return again.tenant


def _who_uses(kube: Kube, app: str, claim: str) -> str:
    """Which pods keep a claim: Kubernetes lets it go only when the last of them has ended."""
    users = [
        pod for pod in kube.list("Pod", app) if claim in reading.claims_of(pod) and not reading.is_over(pod)
    ]
    if not users:
        return ""
    told = ", ".join(reading.whereabouts(pod) for pod in users)
    ours = all(names.has_labels(pod, names.app_labels(app)) for pod in users)
    return f"still in use by {told}" + ("" if ours else ", which somebody else must delete")


def _where_attached(kube: Kube, volume: str) -> str:
    nodes = [
        attachment["spec"]["nodeName"]
        for attachment in kube.list("VolumeAttachment")
        if _attached_volume(attachment) == volume
    ]
    return f"still attached to node {', '.join(nodes)}" if nodes else ""


def _require_same_disk(existing: Manifest, request: BindVolume) -> None:
    handle = existing["spec"].get("csi", {}).get("volumeHandle")
    if handle != request.volume.id:
        raise NotOurs(
            f"{names.title(existing)} stands for disk {handle}, not for {request.volume.id}",
            help="an earlier operation left it behind; abort, remove it, and ask again",
        )


def _require_taken_up(volume: Manifest | None, request: BindVolume) -> None:
    """The control plane must have seen the volume before its claim: a claim that it looks at first is left
    Pending until the next round over all claims, 15 s later (measured, 1 deploy in 20)."""
    if volume is not None:
        _require_same_disk(volume, request)
    if volume is None or (volume.get("status") or {}).get("phase", "Pending") == "Pending":
        raise NotReadyYet(f"the volume of claim {request.claim} is being taken up", retry_after=soon())


def _require_bound(kube: Kube, request: BindVolume, claim: Manifest | None) -> None:
    if claim is None:
        raise NotReadyYet(f"claim {request.claim} was removed while it was being bound", retry_after=soon())
    expected = names.volume_name(request.app, request.claim)
    if claim["spec"].get("volumeName") != expected:
        raise NotOurs(f"{names.title(claim)} is for {claim['spec'].get('volumeName')}, not for {expected}")
    phase = (claim.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        raise CameToFail(
            f"claim {request.claim} has lost its PersistentVolume {expected}",
            help="abort the operation; the disk itself is untouched",
        )
    if phase != "Bound":
        raise NotReadyYet(f"claim {request.claim} is not bound to {expected} yet", retry_after=soon())


def _replace_outdated_pod(kube: Kube, request: InstanceRequest, stateful_set: Manifest) -> None:
    """With OnDelete, Kubernetes leaves a pod of the former template running, or broken, for ever."""
    metadata, status = stateful_set["metadata"], stateful_set.get("status") or {}
    if status.get("observedGeneration") != metadata.get("generation"):
        raise NotReadyYet(f"{names.title(stateful_set)} has not been looked at yet", retry_after=soon())
    labels = names.instance_labels(request.app, request.component.name, request.instance)
    for pod in kube.list("Pod", request.app, labels):
        if names.label(pod, "controller-revision-hash") != status.get("updateRevision"):
            if not names.is_going(pod):
                kube.delete("Pod", pod["metadata"]["name"], request.app, uid=pod["metadata"]["uid"])
            raise NotReadyYet(
                f"pod {pod['metadata']['name']} of the former template is stopping", retry_after=shortly()
            )


def _pod(kube: Kube, app: str, component: str, instance: int) -> Manifest:
    name = names.pod_name(component, instance)
    pod = kube.get("Pod", name, app)
    if pod is None:
        stateful_set = kube.get("StatefulSet", names.instance_name(component, instance), app)
        # When an admission rule or quota refuses the pod, only an event of its StatefulSet says so.
        said = reading.last_warning(_events(kube, app, stateful_set)) if stateful_set else ""
        raise NotReadyYet(
            f"pod {name} has not been made yet" + (f": {said}" if said else ""), retry_after=soon()
        )
    return pod


def _require_owner(pod: Manifest, stateful_set: Manifest) -> None:
    owners = pod["metadata"].get("ownerReferences") or []
    if not any(owner.get("uid") == stateful_set["metadata"]["uid"] for owner in owners):
        raise NotReadyYet(
            f"pod {pod['metadata']['name']} is of a former StatefulSet and must go first",
            retry_after=shortly(),
        )


def _explain(kube: Kube, pod: Manifest) -> str:
    """Why the pod is not ready; asks for attachments and events only if the pod itself does not tell."""
    if not pod["spec"].get("nodeName") or names.is_going(pod):
        return reading.why_not_ready(pod)
    namespace = pod["metadata"]["namespace"]
    volumes = {names.volume_name(namespace, claim) for claim in reading.claims_of(pod)}
    errors = []
    if volumes and (pod.get("status") or {}).get("phase") == "Pending":
        errors = [
            message
            for attachment in kube.list("VolumeAttachment")
            if _attached_volume(attachment) in volumes and (message := _attach_error(attachment))
        ]
    events = _events(kube, namespace, pod)
    return reading.why_not_ready(pod, errors, events)


def _events(kube: Kube, namespace: str, about: Manifest) -> list[Manifest]:
    return kube.list("Event", namespace, fields={"involvedObject.uid": about["metadata"]["uid"]})


def _attached_volume(attachment: Manifest) -> str:
    return str(attachment["spec"]["source"].get("persistentVolumeName", ""))


def _attach_error(attachment: Manifest) -> str:
    status: dict[str, Any] = attachment.get("status") or {}
    return str((status.get("attachError") or {}).get("message", ""))


def _machine(kube: Kube, node: str) -> str:
    for found in kube.list("Node", fields={"metadata.name": node}):
        return reading.machine(found)
    raise NotReadyYet(f"node {node} has just gone; the pod must find another", retry_after=shortly())


def _attached(
    clients: ClusterClients,
    app: str,
    claim: str,
    node: str,
    machine: str,
    attachments: dict[str, Manifest],
) -> Attachment:
    attachment = attachments.get(names.volume_name(app, claim))
    if attachment is None:
        raise NotReadyYet(f"the disk of {claim} is not being attached to node {node} yet", retry_after=soon())
    if error := _attach_error(attachment):
        raise NotReadyYet(
            f"the disk of {claim} cannot be attached to node {node}: {error}", retry_after=shortly()
        )
    if not (attachment.get("status") or {}).get("attached"):
        raise NotReadyYet(f"the disk of {claim} is being attached to node {node}", retry_after=soon())
    volume = clients.kube.get("PersistentVolume", names.volume_name(app, claim))
    if volume is None:
        raise NotFound(f"PersistentVolume {names.volume_name(app, claim)} is gone")
    disk = volume["spec"]["csi"]["volumeHandle"]
    seen = clients.cloud.get_volume(disk)
    if seen is None:
        raise NotFound(f"disk {disk} of {claim} is gone from the cloud", help="abort the operation")
    if not seen.attached or seen.machine != machine:
        where = f"on machine {seen.machine}" if seen.machine else "not attached"
        raise NotReadyYet(
            f"Kubernetes says that disk {disk} is attached to {machine}, the cloud says it is {where}",
            retry_after=shortly(),
        )
    return Attachment(claim=claim, volume=disk, machine=machine, node=node)
