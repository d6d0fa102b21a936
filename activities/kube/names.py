"""What our objects are called and how they are labelled: pure, used by manifests, activities and views."""

from datetime import UTC, datetime

from activities.kube.base import Manifest
from activities.models import tags
from activities.models.common import StepRequest

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "supergiant"
TENANT = tags.TENANT
ZONE = "topology.kubernetes.io/zone"

#: Annotation of a namespace: the components that use it, with commas between.
USERS = "supergiant.io/users"

#: Objects and disks carry the same words, the former as labels and annotations, the latter as tags.
APP = tags.APP
COMPONENT = tags.COMPONENT
INSTANCE = tags.INSTANCE
OPERATION = tags.OPERATION
STEP = tags.STEP
VOLUME = tags.VOLUME

SECRET_KEY = "value"  # noqa: S105 (the name of a key, not a secret)


def app_labels(app: str) -> dict[str, str]:
    """Selects everything of one app."""
    return {MANAGED_BY: MANAGER, APP: app}


def component_labels(app: str, component: str) -> dict[str, str]:
    return {**app_labels(app), COMPONENT: component}


def instance_labels(app: str, component: str, instance: int) -> dict[str, str]:
    return {**component_labels(app, component), INSTANCE: str(instance)}


def annotations(request: StepRequest) -> dict[str, str]:
    return {OPERATION: request.operation, STEP: request.step}


def instance_name(component: str, instance: int) -> str:
    """Of the StatefulSet and of the instance's own Service."""
    return f"{component}-{instance}"


def pod_name(component: str, instance: int) -> str:
    return f"{component}-{instance}-0"


def headless_name(component: str) -> str:
    return f"{component}-all"


def secret_name(component: str, secret: str) -> str:
    """With a dot, which no component or secret has, so that "a-b" and "c" never meet "a" and "b-c"."""
    return f"{component}.{secret}"


def volume_name(app: str, claim: str) -> str:
    """PersistentVolumes have no namespace, so the app is part of the name."""
    return f"{app}-{claim}"


def pointer_name(component: str) -> str:
    return f"component-{component}"


def release_name(component: str, release: int) -> str:
    return f"release-{component}-{release}"


def instance_address(app: str, component: str, instance: int) -> str:
    return f"{instance_name(component, instance)}.{app}.svc"


def title(manifest: Manifest) -> str:
    """How messages name an object: "Service/db in namespace shop"."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    return f"{manifest['kind']}/{metadata['name']}" + (f" in namespace {namespace}" if namespace else "")


def label(manifest: Manifest, key: str) -> str:
    return str((manifest["metadata"].get("labels") or {}).get(key, ""))


def operation_of(manifest: Manifest) -> str:
    return str((manifest["metadata"].get("annotations") or {}).get(OPERATION, ""))


def users_of(namespace: Manifest) -> set[str]:
    text = str((namespace["metadata"].get("annotations") or {}).get(USERS, ""))
    return {user for user in text.split(",") if user}


def instance_of(manifest: Manifest) -> int | None:
    text = label(manifest, INSTANCE)
    return int(text) if text.isdecimal() else None


def has_labels(manifest: Manifest, labels: dict[str, str]) -> bool:
    found = manifest["metadata"].get("labels") or {}
    return all(found.get(key) == value for key, value in labels.items())


def is_going(manifest: Manifest) -> bool:
    """Whether somebody has asked for its deletion."""
    return bool(manifest["metadata"].get("deletionTimestamp"))


def time_of(text: str | None) -> datetime | None:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
