"""Requests about one component, "shop/db": builders with defaults for tests of activities."""

from typing import Any, TypeVar

from activities.models.apps import Component
from activities.models.common import StepRequest
from activities.models.instances import (
    ComponentRequest,
    InstanceRequest,
    NamespaceRequest,
    RecordRelease,
    RemoveComponent,
    RemoveInstance,
    RemoveRelease,
)
from activities.models.volumes import AwaitAttached, BindVolume, UnbindVolume, Volume, VolumeState
from tests.fakes_kube import ZONES

Request = TypeVar("Request", bound=StepRequest)


def component(name: str = "db", **changes: Any) -> Component:
    document: dict[str, Any] = {
        "name": name,
        "instances": 2,
        "containers": [
            {
                "name": "redis",
                "image": "redis:7",
                "env": {"PASSWORD": {"secret": "password"}, "MODE": "cluster"},
                "ports": [{"name": "redis", "port": 6379}],
                "mounts": [{"volume": "data", "path": "/data"}],
                "cpu": {"request": "250m"},
                "memory": {"request": "512Mi"},
                "ready": {"exec": ["redis-cli", "ping"]},
            }
        ],
        "volumes": [{"name": "data", "size": "10Gi"}],
        "secrets": [{"name": "password", "length": 24}],
        "termination_grace": "20s",
        "run_as": 999,
    }
    return Component.model_validate({**document, **changes})


def key(step: str, operation: str = "op-1", app: str = "shop") -> dict[str, Any]:
    return {"cluster": "prod", "operation": operation, "step": step, "app": app}


def namespace(
    operation: str = "op-1", tenant: str = "default", component: str = "db", undo: bool = False
) -> NamespaceRequest:
    step = "namespace/undo" if undo else "namespace"
    return NamespaceRequest(**key(step, operation), tenant=tenant, component=component)


def undoing(request: Request) -> Request:
    """The same, asked for by the undo of a delete."""
    return request.model_copy(update={"step": f"{request.step}/undo", "operation": "op-delete"})


def of_component(operation: str = "op-1", name: str = "db", **changes: Any) -> ComponentRequest:
    return ComponentRequest(
        **key("component", operation), tenant="default", component=component(name, **changes)
    )


def claim(instance: int = 0) -> str:
    return f"db-{instance}-data-abc123"


def disk(instance: int = 0) -> Volume:
    tags = {
        "supergiant.io/cluster": "prod",
        "supergiant.io/app": "shop",
        "supergiant.io/component": "db",
        "supergiant.io/instance": str(instance),
        "supergiant.io/volume": "data",
    }
    return Volume(
        id=f"vol-{instance}",
        zone=ZONES[instance],
        size_gib=10,
        type="gp3",
        state=VolumeState.AVAILABLE,
        tags=tags,
    )


def bind(instance: int = 0, **changes: Any) -> BindVolume:
    request: dict[str, Any] = {
        **key("claim"),
        "component": "db",
        "instance": instance,
        "blueprint": "data",
        "claim": claim(instance),
        "volume": disk(instance),
        "file_system": "ext4",
    }
    return BindVolume(**{**request, **changes})


def unbind(instance: int = 0) -> UnbindVolume:
    return UnbindVolume(**key("claim/undo"), claim=claim(instance))


def of_instance(instance: int = 0, operation: str = "op-1", **changes: Any) -> InstanceRequest:
    return InstanceRequest(
        **key("start", operation),
        tenant="default",
        component=component(**changes),
        instance=instance,
        zone=ZONES[instance],
        claims={"data": claim(instance)},
    )


def stop(instance: int = 0) -> RemoveInstance:
    return RemoveInstance(**key("start/undo"), component="db", instance=instance)


def attached(instance: int = 0) -> AwaitAttached:
    return AwaitAttached(**key("attached"), component="db", instance=instance, claims=[claim(instance)])


def record(release: int = 1, operation: str = "op-1", **changes: Any) -> RecordRelease:
    return RecordRelease(
        **key("release", operation),
        tenant="default",
        component=component(**changes),
        release=release,
        requester="somebody",
        zones=ZONES[:2],
        claims=[{"data": claim(0)}, {"data": claim(1)}],
        volumes=[{"data": "vol-0"}, {"data": "vol-1"}],
    )


def unrecord(release: int = 1, operation: str = "op-1", all: bool = False) -> RemoveRelease:
    return RemoveRelease(**key("release/undo", operation), component="db", release=release, all=all)


def remove(operation: str = "op-1", name: str = "db", all: bool = False) -> RemoveComponent:
    return RemoveComponent(**key("undo", operation), component=name, all=all)
