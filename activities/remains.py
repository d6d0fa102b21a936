"""All that there is of an app, component by component: what a delete has to take, whoever left it behind.

Read by `facts`. Objects are found by label, PersistentVolumes and disks without the namespace too, since that may
have been deleted by hand, or by somebody who did not know of the disks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from activities.clients import ClusterClients
from activities.kube import names
from activities.kube.base import Kube, Manifest
from activities.kube.records import instances_of, read_pointer, read_release
from activities.models import tags
from activities.models.facts import ComponentFacts, ExistingDisk
from activities.models.volumes import Volume, VolumeState

_KINDS = (
    "StatefulSet",
    "PersistentVolumeClaim",
    "Service",
    "ConfigMap",
    "Secret",
    "NetworkPolicy",
    "PodDisruptionBudget",
)
#: Listed under a name of their own; a Service of an instance goes with that.
_TOLD_APART = ("StatefulSet", "PersistentVolumeClaim", "Secret")


@dataclass(frozen=True)
class Remains:
    """`tenant` is whose the app is, "default" when nothing says it."""

    tenant: str
    components: dict[str, ComponentFacts]


def remains_of(clients: ClusterClients, app: str) -> Remains:
    kube, labels = clients.kube, names.app_labels(app)
    found = kube.get("Namespace", app)
    namespace = found if found and names.has_labels(found, labels) else None
    things = [thing for kind in _KINDS for thing in kube.list(kind, app, labels)]
    volumes = kube.list("PersistentVolume", labels=labels)
    disks = clients.cloud.find_volumes({tags.CLUSTER: clients.name, tags.APP: app})
    tenant = _tenant([*([namespace] if namespace else []), *things, *volumes], disks)
    # An app of the same name that another tenant had before may have left disks: those are not this one's.
    volumes = [volume for volume in volumes if names.label(volume, names.TENANT) in ("", tenant)]
    claims = {v["spec"]["csi"]["volumeHandle"]: v["spec"]["claimRef"]["name"] for v in volumes}
    disks = [
        disk
        for disk in disks
        if disk.state is not VolumeState.DELETING
        and (disk.id in claims or disk.tags.get(tags.TENANT, tenant) == tenant)
    ]
    known = {names.label(thing, names.COMPONENT) for thing in (*things, *volumes)}
    known |= {disk.tags.get(tags.COMPONENT, "") for disk in disks}
    known |= names.users_of(namespace) if namespace else set()
    return Remains(
        tenant,
        {
            component: _facts(
                kube,
                app,
                component,
                [thing for thing in things if names.label(thing, names.COMPONENT) == component],
                [volume for volume in volumes if names.label(volume, names.COMPONENT) == component],
                [
                    _existing_disk(disk, claims)
                    for disk in disks
                    if disk.tags.get(tags.COMPONENT) == component
                ],
            )
            for component in known - {""}
        },
    )


def _tenant(objects: list[Manifest], disks: list[Volume]) -> str:
    """As the first object says that names one, the namespace before all; else as the disks say: those in use
    before those that are kept, the newest first."""
    for thing in objects:
        if tenant := names.label(thing, names.TENANT):
            return tenant
    newest_last = sorted(disks, key=lambda disk: (tags.KEEP_UNTIL not in disk.tags, str(disk.created_at)))
    told = [disk.tags[tags.TENANT] for disk in newest_last if disk.tags.get(tags.TENANT)]
    return told[-1] if told else "default"


def _facts(
    kube: Kube,
    app: str,
    component: str,
    things: list[Manifest],
    volumes: list[Manifest],
    disks: list[ExistingDisk],
) -> ComponentFacts:
    release = read_pointer(kube, app, component)
    # Without its namespace, a claim is known by the PersistentVolume that was made for it.
    claims = set(_names(things, "PersistentVolumeClaim")) | {v["spec"]["claimRef"]["name"] for v in volumes}
    return ComponentFacts(
        component=component,
        # A Service of an instance is made before its StatefulSet, so it may be alone.
        instances=sorted(set(instances_of(t for t in things if t["kind"] in ("StatefulSet", "Service")))),
        claims=sorted(claims),
        disks=sorted(disks, key=lambda disk: (disk.instance, disk.blueprint, disk.id)),
        record=read_release(kube, app, component, release) if release else None,
        secrets=sorted(_names(things, "Secret")),
        objects=sorted(_title(thing) for thing in things if _is_other(thing)),
    )


def _names(things: Iterable[Manifest], kind: str) -> list[str]:
    return [thing["metadata"]["name"] for thing in things if thing["kind"] == kind]


def _is_other(thing: Manifest) -> bool:
    return thing["kind"] not in _TOLD_APART and names.instance_of(thing) is None


def _title(thing: Manifest) -> str:
    return f"{thing['kind']}/{thing['metadata']['name']}"


def _existing_disk(disk: Volume, claims: dict[str, str]) -> ExistingDisk:
    number = disk.tags.get(names.INSTANCE, "")
    return ExistingDisk(
        id=disk.id,
        instance=int(number) if number.isdecimal() else 0,
        blueprint=disk.tags.get(names.VOLUME, ""),
        claim=claims.get(disk.id, ""),
        zone=disk.zone,
        size_gib=disk.size_gib,
        type=disk.type,
        iops=disk.iops,
        throughput=disk.throughput,
        kept=disk.id not in claims and _is_kept(disk),
    )


def _is_kept(disk: Volume) -> bool:
    """Kept for a time. A mark without an end is of a delete that did not get to its own."""
    until = tags.kept_until(disk.tags)
    return tags.KEEP_UNTIL in disk.tags and (until is None or tags.has_end(until))
