"""The kinds of Kubernetes objects we touch, where the API keeps them, and what we may do to them.

`client` refuses a call whose verb is not in this table, and `rbac` writes the cluster role from it, so the
permissions that an administrator is asked for are those that the code uses.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`metadata_only`: reads ask the server for metadata alone, so that contents never reach the worker.
    `propagation`: how deletion treats what the object owns."""

    name: str
    api_version: str
    plural: str
    verbs: frozenset[str]
    namespaced: bool = True
    metadata_only: bool = False
    propagation: str = "Background"

    @property
    def group(self) -> str:
        return self.api_version.partition("/")[0] if "/" in self.api_version else ""

    @property
    def resource(self) -> str:
        """As permission reviews and error messages write it: "statefulsets.apps", "pods"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None, name: str = "") -> str:
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{place}/{self.plural}" + (f"/{name}" if name else "")


def _kind(name: str, api_version: str, plural: str, verbs: str, **more: bool | str) -> Kind:
    return Kind(name, api_version, plural, frozenset(verbs.split()), **more)  # type: ignore[arg-type]


def _seen(name: str, api_version: str, plural: str) -> Kind:
    return _kind(name, api_version, plural, "list", metadata_only=True)


#: Applying is "create patch"; a Secret is never patched, and its value never read.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("CSIDriver", "storage.k8s.io/v1", "csidrivers", "get", namespaced=False),
        _kind("CSINode", "storage.k8s.io/v1", "csinodes", "list", namespaced=False),
        _kind("ConfigMap", "v1", "configmaps", "create delete get list update"),
        _kind("Event", "v1", "events", "list"),
        _kind("Namespace", "v1", "namespaces", "create delete get list update", namespaced=False),
        _kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies", "create delete get list patch"),
        _kind("Node", "v1", "nodes", "list", namespaced=False),
        _kind("PersistentVolume", "v1", "persistentvolumes", "create delete get list", namespaced=False),
        _kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims", "create delete get list"),
        _kind("Pod", "v1", "pods", "delete get list"),
        _kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", "create delete get list patch"),
        _kind("Secret", "v1", "secrets", "create delete get list", metadata_only=True),
        _kind("Service", "v1", "services", "create delete get list patch"),
        # Foreground: the set stays visible until its pod is gone, so that "gone" means both.
        _kind(
            "StatefulSet",
            "apps/v1",
            "statefulsets",
            "create delete get list patch",
            propagation="Foreground",
        ),
        _kind("StorageClass", "storage.k8s.io/v1", "storageclasses", "get", namespaced=False),
        _kind("VolumeAttachment", "storage.k8s.io/v1", "volumeattachments", "list", namespaced=False),
        # Only to see whether a namespace is empty before it is removed.
        _seen("CronJob", "batch/v1", "cronjobs"),
        _seen("DaemonSet", "apps/v1", "daemonsets"),
        _seen("Deployment", "apps/v1", "deployments"),
        _seen("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers"),
        _seen("Ingress", "networking.k8s.io/v1", "ingresses"),
        _seen("Job", "batch/v1", "jobs"),
        _seen("LimitRange", "v1", "limitranges"),
        _seen("PodTemplate", "v1", "podtemplates"),
        _seen("ReplicaSet", "apps/v1", "replicasets"),
        _seen("ReplicationController", "v1", "replicationcontrollers"),
        _seen("ResourceQuota", "v1", "resourcequotas"),
        _seen("Role", "rbac.authorization.k8s.io/v1", "roles"),
        _seen("RoleBinding", "rbac.authorization.k8s.io/v1", "rolebindings"),
        _seen("ServiceAccount", "v1", "serviceaccounts"),
    )
}


def allowed_kind(name: str, verb: str) -> Kind:
    """The kind, if the table lets us do `verb` to it; a LookupError is a mistake in our own code."""
    kind = KINDS.get(name)
    if kind is None or verb not in kind.verbs:
        raise LookupError(
            f"activities.kube.kinds does not let us {verb} {name}; add it there if it is needed"
        )
    return kind
