"""What exists of an app, seen from outside: asked of the API server and of EC2 without the product's code.

`final_state` is the same for two apps that were made by the same document, whatever happened meanwhile;
`leftovers` names everything that carries the app's label or tag.
"""

import json
import re
from typing import Any

from sandbox.kubernetes.api import Json
from tests.sandboxes import Sandbox

APP_LABEL = "supergiant.io/app"

_NAMESPACED = {
    "ConfigMap": "/api/v1/{}configmaps",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/{}networkpolicies",
    "PersistentVolumeClaim": "/api/v1/{}persistentvolumeclaims",
    "Pod": "/api/v1/{}pods",
    "PodDisruptionBudget": "/apis/policy/v1/{}poddisruptionbudgets",
    "Secret": "/api/v1/{}secrets",
    "Service": "/api/v1/{}services",
    "StatefulSet": "/apis/apps/v1/{}statefulsets",
}
_CLUSTER_WIDE = {"Namespace": "/api/v1/namespaces", "PersistentVolume": "/api/v1/persistentvolumes"}
_ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
_MADE_BY_KUBERNETES = {"kube-root-ca.crt"}

#: What the server fills in by chance or by the clock.
_CHANCE = {
    *("clusterIP", "clusterIPs", "creationTimestamp", "generation", "managedFields", "resourceVersion"),
    *("recorded_at", "selfLink", "uid", "finalizers", "nodePort"),
}


def leftovers(sandbox: Sandbox, app: str) -> list[str]:
    """Everything of the app in the cluster and the cloud, by label or tag; nothing when it never existed."""
    selector = f"{APP_LABEL}={app}"
    found = [
        f"{kind} {thing['metadata']['name']}"
        for kind, path in (*_NAMESPACED.items(), *_CLUSTER_WIDE.items())
        for thing in sandbox.api.items(path.format(""), labelSelector=selector)
    ]
    found += [f"VolumeAttachment of {volume}" for volume in _attached(sandbox, app)]
    return sorted(found + [f"disk {disk['VolumeId']} ({disk['State']})" for disk in disks(sandbox, app)])


def disks(sandbox: Sandbox, app: str) -> list[Any]:
    """The disks of EC2 with the app's tag, as EC2 describes them."""
    pages = sandbox.ec2.get_paginator("describe_volumes").paginate(
        Filters=[{"Name": f"tag:{APP_LABEL}", "Values": [app]}]
    )
    return sorted(
        (disk for page in pages for disk in page["Volumes"] if disk["State"] != "deleted"),
        key=lambda disk: (tags_of(disk)["supergiant.io/instance"], tags_of(disk)["supergiant.io/volume"]),
    )


def tags_of(disk: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in disk["Tags"]}


def disks_made(sandbox: Sandbox, app: str) -> list[str]:
    """The ids of all disks that were ever created for the app, also of those that are gone again."""
    made: dict[str, None] = {}
    for call in sandbox.admin.calls(action="CreateVolume"):
        if app in call["params"].values():
            made |= dict.fromkeys(call["made"])
    return list(made)


def secret_values(sandbox: Sandbox, app: str) -> list[str]:
    """The secrets of the app as the API server stores them, in base64."""
    found = sandbox.api.items(_NAMESPACED["Secret"].format(f"namespaces/{app}/"))
    return [value for secret in found for value in secret["data"].values()]


def final_state(sandbox: Sandbox, app: str, operation: str) -> Json:
    """What exists of the app, without what chance and the clock decide, and with its own names replaced."""
    words: dict[str, str] = {}
    found = disks(sandbox, app)
    for disk in found:
        place = f"{tags_of(disk)['supergiant.io/instance']}-{tags_of(disk)['supergiant.io/volume']}"
        words[disk["VolumeId"]] = f"DISK-{place}"
        words.setdefault(disk["AvailabilityZone"], f"ZONE-{tags_of(disk)['supergiant.io/instance']}")
        for attachment in disk["Attachments"]:
            words[attachment["InstanceId"]] = f"MACHINE-{place}"
    picture: Json = {"Disk": [_disk(disk) for disk in found]}
    for kind, path in _NAMESPACED.items():
        things = sandbox.api.items(path.format(f"namespaces/{app}/"))
        picture[kind] = _by_name(_object(kind, thing) for thing in things)
    for kind, path in _CLUSTER_WIDE.items():
        things = sandbox.api.items(path, labelSelector=f"{APP_LABEL}={app}")
        picture[kind] = _by_name(_object(kind, thing) for thing in things)
    picture["VolumeAttachment"] = _attached(sandbox, app)
    return _in_words(picture, {operation: "OPERATION", app: "APP", **words})


def _attached(sandbox: Sandbox, app: str) -> dict[str, bool]:
    """Whether each PersistentVolume of the app that Kubernetes wants attached is so."""
    return {
        name: bool((thing.get("status") or {}).get("attached"))
        for thing in sandbox.api.items(_ATTACHMENTS)
        for name in [str(thing["spec"]["source"].get("persistentVolumeName", ""))]
        if re.match(rf"{app}-[a-z]+-\d+-", name)
    }


def _disk(disk: Any) -> Json:
    kept = ("AvailabilityZone", "Iops", "Size", "State", "Throughput", "VolumeId", "VolumeType")
    attached = [f"{one['InstanceId']} {one['State']}" for one in disk["Attachments"]]
    return {**{key: disk.get(key) for key in kept}, "tags": tags_of(disk), "attached": attached}


def _object(kind: str, thing: Json) -> Json:
    kept: Json = {"metadata": _metadata(thing["metadata"])}
    if kind == "Pod":
        # Of a pod only what the instance is: the rest is Kubernetes' own.
        conditions = {one["type"]: one["status"] for one in thing["status"].get("conditions", [])}
        kept["metadata"]["annotations"] = {}
        return kept | {"ready": conditions.get("Ready"), "phase": thing["status"]["phase"]}
    if kind == "Secret":
        return kept | {"lengths": {key: len(value) for key, value in thing["data"].items()}}
    if kind == "ConfigMap" and thing["metadata"]["name"] not in _MADE_BY_KUBERNETES:
        data = {key: json.loads(value or "null") for key, value in thing["data"].items()}
        return kept | {"data": _without_chance(data), "immutable": thing.get("immutable")}
    if kind in ("PersistentVolume", "PersistentVolumeClaim"):
        kept["phase"] = thing["status"]["phase"]
    if kind == "StatefulSet":
        kept["ready"] = thing["status"].get("readyReplicas")
    return kept | {"spec": _without_chance(thing.get("spec"))}


def _metadata(metadata: Json) -> Json:
    # Which of a pair that name each other was seen first is chance, and Kubernetes notes it down.
    annotations = {k: v for k, v in metadata.get("annotations", {}).items() if not k.startswith("pv.kuber")}
    return {"name": metadata["name"], "labels": metadata.get("labels", {}), "annotations": annotations}


def _by_name(things: Any) -> Json:
    return {thing["metadata"]["name"]: thing for thing in things}


def _without_chance(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_chance(one) for key, one in value.items() if key not in _CHANCE}
    return [_without_chance(one) for one in value] if isinstance(value, list) else value


def _in_words(picture: Json, words: dict[str, str]) -> Json:
    text = json.dumps(picture, sort_keys=True)
    for name, word in words.items():
        text = re.sub(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", word, text)
    text = re.sub(r"(db-\d+-[a-z]+)-[0-9a-f]{6}\b", r"\1-HASH", text)
    # The revision of a pod's template is a hash over it, and so over the claim's name: a number of 32 bits with other
    # digits, mostly ten of them and now and then fewer.
    text = re.sub(r"(db-\d+)-[bcdf4-9]{4,10}\b", r"\1-REVISION", text)
    replaced: Json = json.loads(text)
    return replaced
