"""A Kubernetes API in memory for tests of activities: what the control plane does by itself, it does at once.

It refuses calls that `activities.kube.kinds` does not allow, and remembers those that were made. The hooks
`before_change` and `after_change` get the number of the change and may raise; `held` are objects whose
deletion does not finish.
"""

import copy
import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any

from activities.clients import ClusterClients
from activities.errors import Conflict, InvalidSpec, NotFound, NotReadyYet
from activities.kube.base import Manifest
from activities.kube.kinds import allowed_kind
from tests.fakes_cloud import FakeCloud

DRIVER = "ebs.csi.aws.com"
ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]

Key = tuple[str, str, str]


class FakeKube:
    def __init__(self) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.used: set[tuple[str, str]] = set()
        self.calls: list[str] = []
        self.changes = 0
        self.held: set[tuple[str, str]] = set()
        self.missing: tuple[str, ...] = ()
        self.makes_pods = True
        self.binds = True
        self.before_change: Callable[[int], None] = lambda number: None
        self.after_change: Callable[[int], None] = lambda number: None
        self._counter = itertools.count(1)
        for number, zone in enumerate(ZONES):
            self.add_node(f"n-{number}", zone)

    # What tests say

    def put(self, manifest: Manifest) -> Manifest:
        """Place an object as somebody else would."""
        stored = copy.deepcopy(manifest)
        stored["metadata"].setdefault("uid", f"uid-{next(self._counter)}")
        stored["metadata"]["resourceVersion"] = str(next(self._counter))
        self.objects[_key(stored)] = stored
        return stored

    def the(self, kind: str, name: str, namespace: str = "") -> Manifest:
        return self.objects[kind, namespace, name]

    def has(self, kind: str, name: str, namespace: str = "") -> bool:
        return (kind, namespace, name) in self.objects

    def add_node(self, name: str, zone: str, **spec: Any) -> None:
        amounts = {"cpu": "8", "memory": "32Gi", "pods": "110"}
        self.put(
            {
                "kind": "Node",
                "metadata": {
                    "name": name,
                    "labels": {
                        "topology.kubernetes.io/zone": zone,
                        "node.kubernetes.io/instance-type": "m7i.2xlarge",
                    },
                },
                "spec": {"providerID": f"aws:///{zone}/i-{name}", **spec},
                "status": {"allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
            }
        )
        driver = {"name": DRIVER, "nodeID": f"i-{name}", "allocatable": {"count": 31}}
        self.put({"kind": "CSINode", "metadata": {"name": name}, "spec": {"drivers": [driver]}})

    def finish(self) -> None:
        """Let held deletions end."""
        self.held.clear()
        for key, stored in list(self.objects.items()):
            if stored["metadata"].get("deletionTimestamp"):
                self._remove(key)

    # The API

    def apply(self, manifest: Manifest) -> Manifest:
        self._called("patch", manifest["kind"], manifest["metadata"]["name"])
        if _key(manifest) not in self.objects:
            self.used.add((manifest["kind"], "create"))
        stored: Manifest = self._changed(lambda: self._store(manifest))
        return stored

    def create(self, manifest: Manifest) -> bool:
        self._called("create", manifest["kind"], manifest["metadata"]["name"])
        if _key(manifest) in self.objects:
            return False
        self._changed(lambda: self._store(manifest))
        return True

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        known = self._called("get", kind, name)
        found = self.objects.get((kind, namespace or "", name))
        return _shown(found, known.metadata_only) if found else None

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: dict[str, str] | None = None,
        fields: dict[str, str] | None = None,
    ) -> list[Manifest]:
        known = self._called("list", kind, namespace or "")
        return [
            _shown(stored, known.metadata_only)
            for (stored_kind, place, _), stored in sorted(self.objects.items())
            if stored_kind == kind
            and (namespace is None or place == namespace)
            and (labels or {}).items() <= (stored["metadata"].get("labels") or {}).items()
            and all(_field(stored, path) == value for path, value in (fields or {}).items())
        ]

    def replace(self, manifest: Manifest) -> Manifest:
        self._called("update", manifest["kind"], manifest["metadata"]["name"])
        stored = self.objects.get(_key(manifest))
        if stored is None:
            raise NotFound("not found")
        if stored["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        replaced: Manifest = self._changed(lambda: self._store(manifest))
        return replaced

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        uid: str | None = None,
        version: str | None = None,
    ) -> None:
        self._called("delete", kind, name)
        key = (kind, namespace or "", name)
        stored = self.objects.get(key)
        if stored is None or (uid and stored["metadata"]["uid"] != uid):
            return
        if version and stored["metadata"]["resourceVersion"] != version:
            raise Conflict("the object has been modified")
        self._changed(lambda: self._begin_removal(key))

    def server_version(self) -> str:
        return "v1.37.2"

    def missing_permissions(self) -> tuple[str, ...]:
        return self.missing

    # The control plane

    def _called(self, verb: str, kind: str, name: str) -> Any:
        known = allowed_kind(kind, verb)
        self.used.add((kind, verb))
        self.calls.append(f"{verb} {kind}/{name}")
        return known

    def _changed(self, change: Callable[[], Any]) -> Any:
        self.changes += 1
        number = self.changes
        self.before_change(number)
        result = change()
        self.after_change(number)
        return copy.deepcopy(result)

    def _store(self, manifest: Manifest) -> Manifest:
        key = _key(manifest)
        namespace = manifest["metadata"].get("namespace")
        if namespace and ("Namespace", "", namespace) not in self.objects:
            raise NotFound(f'namespaces "{namespace}" not found')
        if namespace and self.the("Namespace", namespace)["metadata"].get("deletionTimestamp"):
            raise NotReadyYet(f"namespace {namespace} is being terminated")
        existing = self.objects.get(key)
        if existing and existing.get("immutable") and existing.get("data") != manifest.get("data"):
            raise InvalidSpec("field is immutable")
        if existing and existing.get("spec") == manifest.get("spec") and "data" not in manifest:
            merged = existing["metadata"] | manifest["metadata"]
            if merged != existing["metadata"]:
                merged["resourceVersion"] = str(next(self._counter))
            existing["metadata"] = merged
            return existing
        stored = copy.deepcopy(manifest)
        old = (existing or {}).get("metadata", {})
        stored["metadata"]["uid"] = old.get("uid", f"uid-{next(self._counter)}")
        stored["metadata"]["resourceVersion"] = str(next(self._counter))
        stored["metadata"]["generation"] = old.get("generation", 0) + 1
        self.objects[key] = stored
        self._react(stored)
        return stored

    def _react(self, stored: Manifest) -> None:
        kind = stored["kind"]
        if kind == "StatefulSet":
            template = json.dumps(stored["spec"]["template"], sort_keys=True)
            revision = hashlib.sha256(template.encode()).hexdigest()[:8]
            generation = stored["metadata"]["generation"]
            stored["status"] = {"observedGeneration": generation, "updateRevision": revision}
            if self.makes_pods:
                self.make_pod(stored)
        if kind in ("PersistentVolume", "PersistentVolumeClaim") and self.binds:
            for other in self.objects.values():
                if other["kind"] in ("PersistentVolume", "PersistentVolumeClaim"):
                    other["status"] = {"phase": "Bound"}

    def make_pod(self, stateful_set: Manifest) -> None:
        """The pod of a set, scheduled, attached and ready, unless there is one already."""
        metadata = stateful_set["metadata"]
        name, namespace = f"{metadata['name']}-0", metadata["namespace"]
        if self.has("Pod", name, namespace):
            return
        template = copy.deepcopy(stateful_set["spec"]["template"])
        zone = _zone_wanted(template["spec"])
        node = next(
            key[2]
            for key, stored in sorted(self.objects.items())
            if key[0] == "Node" and stored["metadata"]["labels"]["topology.kubernetes.io/zone"] == zone
        )
        self.put(
            {
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {
                        **template["metadata"]["labels"],
                        "controller-revision-hash": stateful_set["status"]["updateRevision"],
                    },
                    "ownerReferences": [{"uid": metadata["uid"]}],
                },
                "spec": {**template["spec"], "nodeName": node},
                "status": ready_status(template["spec"]),
            }
        )
        for volume in template["spec"]["volumes"]:
            claim = volume["persistentVolumeClaim"]["claimName"]
            self.put(
                {
                    "kind": "VolumeAttachment",
                    "metadata": {"name": f"csi-{namespace}-{claim}"},
                    "spec": {
                        "attacher": DRIVER,
                        "nodeName": node,
                        "source": {"persistentVolumeName": f"{namespace}-{claim}"},
                    },
                    "status": {"attached": True},
                }
            )

    def _begin_removal(self, key: Key) -> None:
        kind, _, name = key
        if (kind, name) in self.held:
            self.objects[key]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            self._remove(key)

    def _remove(self, key: Key) -> None:
        kind, namespace, name = key
        self.objects.pop(key, None)
        if kind == "StatefulSet":
            self._remove(("Pod", namespace, f"{name}-0"))
        if kind == "Pod":
            claim_part = f"csi-{namespace}-{name.removesuffix('-0')}-"
            for other in list(self.objects):
                if other[0] == "VolumeAttachment" and other[2].startswith(claim_part):
                    del self.objects[other]
            owner = self.objects.get(("StatefulSet", namespace, name.removesuffix("-0")))
            if owner is not None and self.makes_pods:
                self.make_pod(owner)
        if kind == "Namespace":
            for other in [k for k in self.objects if k[1] == name]:
                del self.objects[other]


def ready_status(spec: dict[str, Any], since: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "Ready", "status": "True", "lastTransitionTime": since},
        ],
        "containerStatuses": [
            {"name": container["name"], "restartCount": 0, "state": {"running": {"startedAt": since}}}
            for container in spec["containers"]
        ],
    }


class OneCluster:
    """A registry of one cluster, over fakes."""

    def __init__(self, kube: Any, cloud: Any = None) -> None:
        self.clients = ClusterClients(
            name="prod",
            cloud_name="aws",
            region="us-east-1",
            account="111122223333",
            zones=ZONES,
            kube=kube,
            cloud=cloud or FakeCloud(),
            retention_seconds=604_800,
            csi_driver=DRIVER,
            storage_class="gp3",
        )

    def get(self, name: str) -> ClusterClients:
        if name != self.clients.name:
            raise InvalidSpec(f"no cluster named {name!r}; known: {self.clients.name}")
        return self.clients

    def names(self) -> list[str]:
        return [self.clients.name]


def _key(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _shown(stored: Manifest, metadata_only: bool) -> Manifest:
    if metadata_only:
        return copy.deepcopy({"kind": stored["kind"], "metadata": stored["metadata"]})
    return copy.deepcopy(stored)


def _field(stored: Manifest, path: str) -> Any:
    found: Any = stored
    for part in path.split("."):
        found = (found or {}).get(part)
    return found


def _zone_wanted(spec: dict[str, Any]) -> str:
    affinity = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(affinity["nodeSelectorTerms"][0]["matchExpressions"][0]["values"][0])
