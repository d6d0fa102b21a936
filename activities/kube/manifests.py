"""The objects of a component, but for its pods (`pod_manifests`): pure functions from request to manifest."""

from typing import Any

from activities.kube import names
from activities.kube.base import Manifest
from activities.models.apps import Component, Port
from activities.models.common import StepRequest
from activities.models.instances import (
    ComponentRequest,
    InstanceRequest,
    NamespaceRequest,
    RecordRelease,
    ReleaseRecord,
)
from activities.models.volumes import BindVolume

_GIB_SUFFIX = "Gi"


def namespace(request: NamespaceRequest) -> Manifest:
    labels = {
        **names.app_labels(request.app),
        names.TENANT: request.tenant,
        # Our pods ask for less than "baseline" allows; this keeps others from bringing privileged ones.
        "pod-security.kubernetes.io/enforce": "baseline",
    }
    made = _object("v1", "Namespace", request.app, None, labels, request)
    if request.component:
        made["metadata"]["annotations"][names.USERS] = request.component
    return made


def secret(request: ComponentRequest, name: str, value: str) -> Manifest:
    return {
        **_of_component("v1", "Secret", names.secret_name(request.component.name, name), request),
        "type": "Opaque",
        "immutable": True,
        "stringData": {names.SECRET_KEY: value},
    }


def component_objects(request: ComponentRequest) -> list[Manifest]:
    """Services, disruption budget and network policy of a component."""
    component = request.component
    services = [_service(request, names.headless_name(component.name), headless=True)]
    if _ports(component):
        services.append(_service(request, component.name, headless=False))
    return [*services, _disruption_budget(request), _network_policy(request)]


def instance_service(request: InstanceRequest) -> Manifest:
    """The stable address of one instance; headless when the component has no ports, since a cluster address
    needs one."""
    name = names.instance_name(request.component.name, request.instance)
    service = _service(request, name, headless=not _ports(request.component))
    service["metadata"]["labels"][names.INSTANCE] = str(request.instance)
    service["spec"]["selector"][names.INSTANCE] = str(request.instance)
    # Members of a cluster must find each other before they are ready.
    service["spec"]["publishNotReadyAddresses"] = True
    return service


def persistent_volume(request: BindVolume, tenant: str, csi_driver: str, storage_class: str) -> Manifest:
    """Bound beforehand to its claim, and retained: deleting the claim must never delete the disk."""
    name = names.volume_name(request.app, request.claim)
    volume = request.volume
    return {
        **_object("v1", "PersistentVolume", name, None, _disk_labels(request, tenant), request),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": f"{volume.size_gib}{_GIB_SUFFIX}"},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": request.app,
                "name": request.claim,
            },
            "csi": {"driver": csi_driver, "volumeHandle": volume.id, "fsType": request.file_system},
            "nodeAffinity": {
                "required": {"nodeSelectorTerms": [{"matchExpressions": [_in_zone(volume.zone)]}]}
            },
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": storage_class,
            "volumeMode": "Filesystem",
        },
    }


def claim(request: BindVolume, tenant: str, storage_class: str) -> Manifest:
    labels = _disk_labels(request, tenant)
    return {
        **_object("v1", "PersistentVolumeClaim", request.claim, request.app, labels, request),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": f"{request.volume.size_gib}{_GIB_SUFFIX}"}},
            "storageClassName": storage_class,
            "volumeMode": "Filesystem",
            "volumeName": names.volume_name(request.app, request.claim),
        },
    }


def release(request: RecordRelease, record: ReleaseRecord) -> Manifest:
    name = names.release_name(request.component.name, request.release)
    return {
        **_of_component("v1", "ConfigMap", name, request),
        "immutable": True,
        "data": {"release.json": record.model_dump_json()},
    }


def pointer(request: RecordRelease) -> Manifest:
    return {
        **_of_component("v1", "ConfigMap", names.pointer_name(request.component.name), request),
        "data": {"current": str(request.release), "target": ""},
    }


def _object(
    api_version: str,
    kind: str,
    name: str,
    namespace: str | None,
    labels: dict[str, str],
    request: StepRequest,
) -> Manifest:
    metadata: dict[str, Any] = {
        "name": name,
        "labels": labels,
        "annotations": names.annotations(request),
    }
    if namespace is not None:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _of_component(api_version: str, kind: str, name: str, request: ComponentRequest) -> Manifest:
    labels = {**names.component_labels(request.app, request.component.name), names.TENANT: request.tenant}
    return _object(api_version, kind, name, request.app, labels, request)


def _disk_labels(request: BindVolume, tenant: str) -> dict[str, str]:
    labels = names.instance_labels(request.app, request.component, request.instance)
    return {**labels, names.TENANT: tenant, names.VOLUME: request.blueprint}


def _service(request: ComponentRequest, name: str, headless: bool) -> Manifest:
    spec: dict[str, Any] = {
        "selector": names.component_labels(request.app, request.component.name),
        "type": "ClusterIP",
    }
    if headless:
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    if ports := _ports(request.component):
        spec["ports"] = [
            {"name": p.name, "port": p.port, "protocol": p.protocol, "targetPort": p.port} for p in ports
        ]
    return {**_of_component("v1", "Service", name, request), "spec": spec}


def _disruption_budget(request: ComponentRequest) -> Manifest:
    return {
        **_of_component("policy/v1", "PodDisruptionBudget", request.component.name, request),
        "spec": {"maxUnavailable": 1, "selector": _pods_of(request)},
    }


def _network_policy(request: ComponentRequest) -> Manifest:
    """The declared ports are open to the app's own namespace; a component without ports is open to nobody."""
    ports = [{"port": port.port, "protocol": port.protocol} for port in _ports(request.component)]
    ingress = [{"from": [{"podSelector": {}}], "ports": ports}] if ports else []
    return {
        **_of_component("networking.k8s.io/v1", "NetworkPolicy", request.component.name, request),
        "spec": {"podSelector": _pods_of(request), "policyTypes": ["Ingress"], "ingress": ingress},
    }


def _pods_of(request: ComponentRequest) -> dict[str, Any]:
    return {"matchLabels": names.component_labels(request.app, request.component.name)}


def _ports(component: Component) -> list[Port]:
    return [port for container in component.containers for port in container.ports]


def _in_zone(zone: str) -> dict[str, Any]:
    return {"key": names.ZONE, "operator": "In", "values": [zone]}
