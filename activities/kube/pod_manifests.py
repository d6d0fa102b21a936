"""The StatefulSet of one instance and its pod: pure functions from a request to a manifest."""

from typing import Any

from activities.errors import InvalidSpec
from activities.kube import names
from activities.kube.base import Manifest
from activities.models.apps import Container, Probe, SecretKey
from activities.models.instances import InstanceRequest
from activities.models.quantities import seconds

_NO_PRIVILEGES = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def stateful_set(request: InstanceRequest) -> Manifest:
    """A set of one: each instance is started, stopped, moved and given another disk alone, and Kubernetes
    still promises that at most one pod of it runs."""
    component = request.component
    labels = names.instance_labels(request.app, component.name, request.instance)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": names.instance_name(component.name, request.instance),
            "namespace": request.app,
            "labels": {**labels, names.TENANT: request.tenant},
            "annotations": names.annotations(request),
        },
        "spec": {
            # Ordered management would wait for a broken pod to become ready before replacing it.
            "podManagementPolicy": "Parallel",
            "replicas": 1,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": labels},
            "serviceName": names.headless_name(component.name),
            # The operation's identity stays out of the template, else every operation would replace the pod.
            "template": {
                "metadata": {"labels": {**labels, names.TENANT: request.tenant}},
                "spec": _pod_spec(request),
            },
            "updateStrategy": {"type": "OnDelete"},
        },
    }


def _pod_spec(request: InstanceRequest) -> dict[str, Any]:
    component = request.component
    security: dict[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
    if component.run_as is not None:
        security |= {
            "fsGroup": component.run_as,
            # Changing the owner of every file of a full disk takes hours; once is enough.
            "fsGroupChangePolicy": "OnRootMismatch",
            "runAsGroup": component.run_as,
            "runAsNonRoot": True,
            "runAsUser": component.run_as,
        }
    return {
        "affinity": _affinity(request),
        "automountServiceAccountToken": False,
        "containers": [_container(request, container) for container in component.containers],
        # Kubernetes would add REDIS_PORT=tcp://… for every Service, which some software takes for settings.
        "enableServiceLinks": False,
        "securityContext": security,
        "terminationGracePeriodSeconds": seconds(component.termination_grace),
        "volumes": [
            {"name": blueprint.name, "persistentVolumeClaim": {"claimName": _claim(request, blueprint.name)}}
            for blueprint in component.volumes
        ],
    }


def _affinity(request: InstanceRequest) -> dict[str, Any]:
    here = {"key": names.ZONE, "operator": "In", "values": [request.zone]}
    others = {"matchLabels": names.component_labels(request.app, request.component.name)}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [here]}]
            }
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {"labelSelector": others, "topologyKey": "kubernetes.io/hostname"},
                }
            ]
        },
    }


def _container(request: InstanceRequest, container: Container) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "name": container.name,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(request, container),
        "resources": _resources(container),
        "securityContext": _NO_PRIVILEGES,
    }
    if container.command:
        manifest["command"] = container.command
    if container.args:
        manifest["args"] = container.args
    if container.ports:
        manifest["ports"] = [
            {"name": port.name, "containerPort": port.port, "protocol": port.protocol}
            for port in container.ports
        ]
    if container.mounts:
        manifest["volumeMounts"] = [
            {"name": mount.volume, "mountPath": mount.path, "readOnly": mount.read_only}
            for mount in container.mounts
        ]
    if container.ready is not None:
        manifest["readinessProbe"] = _probe(container.ready)
    return manifest


def _environment(request: InstanceRequest, container: Container) -> list[dict[str, Any]]:
    # Ours come first, because $(NAME) refers only to what is defined above it.
    component = request.component
    ours = {
        "SUPERGIANT_APP": request.app,
        "SUPERGIANT_COMPONENT": component.name,
        "SUPERGIANT_INSTANCE": str(request.instance),
        "SUPERGIANT_INSTANCES": str(component.instances),
    }
    entries: list[dict[str, Any]] = [
        {"name": key, "value": value} for key, value in ours.items() if key not in container.env
    ]
    for key, value in container.env.items():
        if isinstance(value, SecretKey):
            source = {"name": names.secret_name(component.name, value.secret), "key": names.SECRET_KEY}
            entries.append({"name": key, "valueFrom": {"secretKeyRef": source}})
        else:
            entries.append({"name": key, "value": value})
    return entries


def _resources(container: Container) -> dict[str, Any]:
    memory = container.memory
    limits = {"memory": memory.limit or memory.request}
    if container.cpu.limit is not None:
        limits["cpu"] = container.cpu.limit
    return {"requests": {"cpu": container.cpu.request, "memory": memory.request}, "limits": limits}


def _probe(probe: Probe) -> dict[str, Any]:
    timing = {"periodSeconds": seconds(probe.period), "timeoutSeconds": seconds(probe.timeout)}
    if probe.exec is not None:
        return {"exec": {"command": probe.exec}, **timing}
    if probe.tcp is not None:
        return {"tcpSocket": {"port": probe.tcp}, **timing}
    port, _, path = (probe.http or "").removeprefix(":").partition("/")
    return {"httpGet": {"port": int(port), "path": f"/{path}"}, **timing}


def _claim(request: InstanceRequest, blueprint: str) -> str:
    claim = request.claims.get(blueprint)
    if claim is None:
        name = names.instance_name(request.component.name, request.instance)
        raise InvalidSpec(f"no claim is planned for disk {blueprint!r} of instance {name}")
    return claim
