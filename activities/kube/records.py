"""Release records and the pointers to them: the cluster is the record of what runs.

A record is an immutable ConfigMap, a pointer a small one guarded by its resourceVersion. Used by activities.
"""

from collections.abc import Iterable
from datetime import datetime

from pydantic import ValidationError

from activities.errors import NotOurs, NotReadyYet
from activities.idempotency import check_time_to_act
from activities.kube import manifests, names
from activities.kube.base import Kube, Manifest
from activities.kube.owned import create_ours, remove_ours, soon
from activities.models.instances import RecordRelease, ReleaseRecord, RemoveRelease


def read_pointer(kube: Kube, app: str, component: str) -> int:
    """The current release of a component; 0 when none is recorded."""
    return current_release(kube.get("ConfigMap", names.pointer_name(component), app), app, component)


def current_release(pointer: Manifest | None, app: str, component: str) -> int:
    if pointer is None or not names.has_labels(pointer, names.component_labels(app, component)):
        return 0
    text = str((pointer.get("data") or {}).get("current", ""))
    return int(text) if text.isdecimal() else 0


def read_release(kube: Kube, app: str, component: str, release: int) -> ReleaseRecord | None:
    """The record; None when it is missing or is not one of ours."""
    found = kube.get("ConfigMap", names.release_name(component, release), app)
    return None if found is None else parse_release(found)


def parse_release(found: Manifest) -> ReleaseRecord | None:
    text = (found.get("data") or {}).get("release.json", "")
    try:
        return ReleaseRecord.model_validate_json(text)
    except ValidationError:
        # Somebody wrote over it: then there is no record to rely on, and planning says so.
        return None


def instances_of(stateful_sets: Iterable[Manifest]) -> list[int]:
    numbers = (names.instance_of(stateful_set) for stateful_set in stateful_sets)
    return sorted(number for number in numbers if number is not None)


def record_of(request: RecordRelease, now: datetime) -> ReleaseRecord:
    return ReleaseRecord(
        release=request.release,
        operation=request.operation,
        requester=request.requester,
        recorded_at=now.isoformat(timespec="seconds"),
        tenant=request.tenant,
        component=request.component,
        zones=request.zones,
        claims=request.claims,
        volumes=request.volumes,
    )


def is_same_release(existing: Manifest, record: ReleaseRecord) -> bool:
    """Same content; who recorded it and when may differ, since undoing a delete records it again."""
    circumstances = {"operation", "requester", "recorded_at"}
    found = parse_release(existing)
    return found is not None and found.model_dump(exclude=circumstances) == record.model_dump(
        exclude=circumstances
    )


def release_number(record: Manifest, component: str) -> int | None:
    number = str(record["metadata"]["name"]).removeprefix(names.release_name(component, 0)[:-1])
    return int(number) if number.isdecimal() else None


def point_at(kube: Kube, request: RecordRelease) -> None:
    wanted = manifests.pointer(request)
    existing = create_ours(kube, wanted)
    if existing is None or existing.get("data") == wanted["data"]:
        return
    current = current_release(existing, request.app, request.component.name)
    if current > request.release:
        raise NotOurs(
            f"{request.app}/{request.component.name} is at release {current} already, "
            f"so release {request.release} cannot become its current one"
        )
    check_time_to_act()
    kube.replace({**existing, "data": wanted["data"]})


def point_back(kube: Kube, request: RemoveRelease, release: int | None) -> None:
    """Let the pointer name the newest release that stays; without one, remove it."""
    name = names.pointer_name(request.component)
    labels = names.component_labels(request.app, request.component)
    existing = kube.get("ConfigMap", name, request.app)
    if existing is None or not names.has_labels(existing, labels):
        return
    if release is None:
        if remove_ours(kube, "ConfigMap", name, request.app, labels):
            raise NotReadyYet(f"waiting until {names.title(existing)} is gone", retry_after=soon())
        return
    data = {"current": str(release), "target": ""}
    if existing.get("data") != data:
        kube.replace({**existing, "data": data})
