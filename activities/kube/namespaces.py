"""The namespace of an app: made for the first component that comes, removed after the last that leaves. Used by
the activities of components and instances.

Components come and go at the same time, and Kubernetes lets a namespace be deleted while somebody is about to
put something into it. So the namespace lists its users; every change of the list is guarded by its
resourceVersion, and its deletion by that of the list it was decided on.
"""

from activities.errors import Conflict, NotFound, NotOurs, NotReadyYet
from activities.idempotency import check_time_to_act
from activities.kube import manifests, names, reading
from activities.kube.base import Kube, Manifest
from activities.kube.owned import create_ours, require_ours, soon, still_going
from activities.models.instances import ComponentRequest, NamespaceRequest

#: Every built-in kind that somebody puts into a namespace; what Kubernetes derives from these (events,
#: endpoints, revisions, leases) is left out.
_CONTENTS = (
    "StatefulSet",
    "Pod",
    "PersistentVolumeClaim",
    "Service",
    "Secret",
    "ConfigMap",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Ingress",
    "Job",
    "LimitRange",
    "PodTemplate",
    "ReplicaSet",
    "ReplicationController",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "ServiceAccount",
)
#: Kubernetes puts these into every namespace by itself.
_SELF_MADE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
#: On the token of a service account, which comes and goes with the account.
_TOKEN_OF = "kubernetes.io/service-account.name"  # noqa: S105 (the name of an annotation)


def namespace_of(request: ComponentRequest) -> NamespaceRequest:
    return NamespaceRequest(
        cluster=request.cluster,
        operation=request.operation,
        step=request.step,
        app=request.app,
        tenant=request.tenant,
        component=request.component.name,
    )


def ensure_namespace(kube: Kube, request: NamespaceRequest) -> None:
    """The namespace is there, is the tenant's, and knows the component as a user. One that is going is waited
    for, and made again."""
    existing = kube.get("Namespace", request.app) or create_ours(kube, manifests.namespace(request))
    if existing is None:
        return
    require_ours(existing, names.app_labels(request.app))
    tenant = names.label(existing, names.TENANT)
    if tenant != request.tenant:
        raise NotOurs(
            f"app {request.app} belongs to tenant {tenant or 'unknown'}, not to {request.tenant}",
            help="give the app another name",
        )
    users = names.users_of(existing)
    if request.component and request.component not in users:
        _write_users(kube, existing, users | {request.component})


def remove_namespace(kube: Kube, request: NamespaceRequest) -> None:
    """Take the component from the namespace's users, and remove the namespace after the last of them, if it is
    ours and empty. The undo of a deploy removes only one that its own operation made.

    Custom resources are not seen: knowing them takes the right to read everything. The last user stays on the
    list while something is in the namespace, so that a later delete finds it by that component.
    """
    found = kube.get("Namespace", request.app)
    if found is None or not names.has_labels(found, names.app_labels(request.app)):
        return
    if not names.is_going(found):
        users = names.users_of(found)
        if others := users - {request.component}:
            if request.component in users:
                _write_users(kube, found, others)
            return
        if request.is_undo and names.operation_of(found) != request.operation:
            return
        if _has_contents(kube, request.app):
            return
        _delete(kube, found)
    raise still_going(["the namespace"], request.app, reading.what_remains(found))


def _write_users(kube: Kube, namespace: Manifest, users: set[str]) -> None:
    metadata = namespace["metadata"]
    annotations = {**(metadata.get("annotations") or {}), names.USERS: ",".join(sorted(users))}
    check_time_to_act()
    try:
        kube.replace({**namespace, "metadata": {**metadata, "annotations": annotations}})
    except (Conflict, NotFound) as error:
        raise _changed_meanwhile(namespace) from error


def _delete(kube: Kube, namespace: Manifest) -> None:
    metadata = namespace["metadata"]
    check_time_to_act()
    try:
        kube.delete("Namespace", metadata["name"], uid=metadata["uid"], version=metadata["resourceVersion"])
    except Conflict as error:
        raise _changed_meanwhile(namespace) from error


def _changed_meanwhile(namespace: Manifest) -> NotReadyYet:
    return NotReadyYet(
        f"namespace {namespace['metadata']['name']} was changed by somebody else meanwhile; looking again",
        retry_after=soon(),
    )


def _has_contents(kube: Kube, namespace: str) -> bool:
    return any(_is_content(thing) for kind in _CONTENTS for thing in kube.list(kind, namespace))


def _is_content(thing: Manifest) -> bool:
    annotations = thing["metadata"].get("annotations") or {}
    if thing["kind"] == "Secret" and _TOKEN_OF in annotations:
        return False
    return (thing["kind"], thing["metadata"]["name"]) not in _SELF_MADE
