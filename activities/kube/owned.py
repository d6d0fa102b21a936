"""Making and removing objects that are ours, and refusing to touch those that are not; used by activities."""

from collections.abc import Mapping
from datetime import timedelta

from temporalio import activity

from activities.errors import NotOurs, NotReadyYet
from activities.idempotency import check_time_to_act
from activities.kube import names
from activities.kube.base import Kube, Manifest

_IDENTITY = (names.MANAGED_BY, names.APP, names.COMPONENT, names.INSTANCE)


def apply_ours(kube: Kube, manifest: Manifest) -> Manifest:
    """Make the object what the manifest says, if the name is free or the object there is ours."""
    existing = find_same(kube, manifest)
    if existing is not None:
        require_ours(existing, identity(manifest))
    check_time_to_act()
    return kube.apply(manifest)


def create_ours(kube: Kube, manifest: Manifest) -> Manifest | None:
    """Create the object, or return the one of ours that is already there (None: it was created now)."""
    check_time_to_act()
    if kube.create(manifest):
        return None
    existing = find_same(kube, manifest)
    if existing is None:
        raise NotReadyYet(f"{names.title(manifest)} was there and is gone again", retry_after=soon())
    require_ours(existing, identity(manifest))
    return existing


def remove_ours(kube: Kube, kind: str, name: str, namespace: str | None, labels: Mapping[str, str]) -> bool:
    """Ask for deletion of the object if it carries the labels; whether it is still there."""
    existing = kube.get(kind, name, namespace)
    if existing is None or not names.has_labels(existing, dict(labels)):
        return False
    if not names.is_going(existing):
        kube.delete(kind, name, namespace, uid=existing["metadata"]["uid"])
        existing = kube.get(kind, name, namespace)
    return existing is not None and names.has_labels(existing, dict(labels))


def require_ours(existing: Manifest, labels: Mapping[str, str]) -> None:
    """NotOurs for an object of somebody else or of another component; NotReadyYet for one that is going."""
    if not names.has_labels(existing, {names.MANAGED_BY: names.MANAGER}):
        raise NotOurs(
            f"{names.title(existing)} exists and was not made by Supergiant",
            help="delete or rename it, or give the app or component another name",
        )
    if not names.has_labels(existing, dict(labels)):
        owner = "/".join(filter(None, (names.label(existing, key) for key in (names.APP, names.COMPONENT))))
        raise NotOurs(
            f"{names.title(existing)} belongs to {owner or 'another component'}",
            help="give one of the two another name",
        )
    if names.is_going(existing):
        raise NotReadyYet(f"{names.title(existing)} is still being deleted", retry_after=shortly())


def soon() -> timedelta:
    """The delay before looking again at what usually takes well under a second."""
    return _pace(0.2)


def shortly() -> timedelta:
    """The delay before looking again at what takes seconds: attachments, namespaces, pods that stop."""
    return _pace(0.7)


def identity(manifest: Manifest) -> dict[str, str]:
    """The labels by which an object is known to belong to the same app, component and instance."""
    labels = manifest["metadata"].get("labels") or {}
    return {key: labels[key] for key in _IDENTITY if key in labels}


def find_same(kube: Kube, manifest: Manifest) -> Manifest | None:
    metadata = manifest["metadata"]
    return kube.get(manifest["kind"], metadata["name"], metadata.get("namespace"))


def still_going(what: list[str], where: str, why: str = "") -> NotReadyYet:
    text = f"waiting until {', '.join(what)} of {where} is gone"
    return NotReadyYet(text + (f"; {why}" if why else ""), retry_after=shortly())


def _pace(first_seconds: float) -> timedelta:
    # The stories count attempts: looking every 0.2 s to the end would use up ten minutes' patience in one.
    attempt = activity.info().attempt if activity.in_activity() else 1
    return timedelta(seconds=min(3.0, first_seconds * 1.15 ** min(attempt - 1, 50)))
