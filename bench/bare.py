"""The lower bound of a deploy: the same objects that the product made, applied with kubectl onto disks that are
ready. Used by `bench/deploy.py`.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.harness import Place, Unmeasured
from sandbox.kubernetes.cloud import ec2_client
from sandbox.services import cloud_environment

if TYPE_CHECKING:
    from sandbox.kubernetes.api import Api

Manifest = dict[str, Any]

#: In the order in which a hand-written file would hold them, so that nothing waits for what comes later.
_KINDS = (
    "secrets",
    "configmaps",
    "services",
    "networkpolicies",
    "poddisruptionbudgets",
    "persistentvolumeclaims",
    "statefulsets",
)
_SERVERS_FIELDS = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
_PATIENCE_SECONDS = 120.0
_PERIOD_SECONDS = 0.02


class Bare:
    """Applies copies of an app's objects without the product."""

    def __init__(self, place: Place, api: "Api") -> None:
        # Plain boto3, as the sandbox's own parts use it, is told by the environment where to call.
        os.environ.update(cloud_environment(place.layout, place.memory))
        self._cloud = ec2_client()
        self._api = api
        self._folder = place.layout.folder
        self._kubectl = [
            place.memory.programs["kubectl"],
            f"--kubeconfig={place.layout.kubeconfig}",
            f"--cache-dir={place.layout.folder / 'kubectl-cache'}",
        ]

    def seconds(self, app: str, copy: str) -> float:
        """Copy `app` as `copy` onto fresh disks; the seconds from `kubectl apply` until every pod is Ready."""
        objects = self._objects(app)
        volumes = [one for one in objects if one["kind"] == "PersistentVolume"]
        disks = {one["spec"]["csi"]["volumeHandle"]: self._disk(one) for one in volumes}
        self._cloud.get_waiter("volume_available").wait(
            VolumeIds=list(disks.values()), WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        file = self._folder / f"{copy}.json"
        items = [copied(one, app, copy, disks) for one in objects]
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        pods = sum(one["kind"] == "StatefulSet" for one in objects)
        return self._applied(file, copy, pods)

    def _applied(self, file: Path, namespace: str, pods: int) -> float:
        asked = time.monotonic()
        applying = subprocess.Popen(
            [*self._kubectl, "apply", "-f", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            while self._ready(namespace) < pods:
                if applying.poll():
                    assert applying.stderr is not None
                    raise Unmeasured(f"kubectl apply: {applying.stderr.read().strip()}")
                if time.monotonic() - asked > _PATIENCE_SECONDS:
                    raise Unmeasured(f"the bare pods are not ready after {_PATIENCE_SECONDS:.0f} s")
                time.sleep(_PERIOD_SECONDS)
            return time.monotonic() - asked
        finally:
            applying.communicate()

    def _ready(self, namespace: str) -> int:
        return sum(
            condition["type"] == "Ready" and condition["status"] == "True"
            for pod in self._api.items(f"/api/v1/namespaces/{namespace}/pods")
            for condition in pod["status"].get("conditions", [])
        )

    def _objects(self, app: str) -> list[Manifest]:
        ours = f"app.kubernetes.io/managed-by=supergiant,supergiant.io/app={app}"
        found = self._get("namespace", app)
        found += self._get("persistentvolumes", "-l", ours)
        for kind in _KINDS:
            found += self._get(kind, "-n", app, "-l", ours)
        if not {"Namespace", "PersistentVolume", "StatefulSet", "Service"} <= {one["kind"] for one in found}:
            raise Unmeasured(f"the objects of {app} are not those of a deployed app")
        return found

    def _get(self, *what: str) -> list[Manifest]:
        result = subprocess.run(
            [*self._kubectl, "get", *what, "-o", "json"], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise Unmeasured(f"kubectl get: {result.stderr.strip()}")
        answer: Manifest = json.loads(result.stdout)
        return list(answer["items"]) if answer["kind"] == "List" else [answer]

    def _disk(self, volume: Manifest) -> str:
        terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        made = self._cloud.create_volume(
            AvailabilityZone=terms[0]["matchExpressions"][0]["values"][0],
            Size=int(volume["spec"]["capacity"]["storage"].removesuffix("Gi")),
            VolumeType="gp3",
        )
        return made["VolumeId"]


def copied(manifest: Manifest, app: str, copy: str, disks: dict[str, str]) -> Manifest:
    """The object as somebody would have written it, under another app's name and on other disks."""
    plain: Manifest = _renamed({key: value for key, value in manifest.items() if key != "status"}, app, copy)
    metadata = plain["metadata"]
    for field in _SERVERS_FIELDS:
        metadata.pop(field, None)
    annotations = metadata.get("annotations", {})
    metadata["annotations"] = {
        key: value for key, value in annotations.items() if not key.startswith("pv.kubernetes.io/")
    }
    spec = plain.get("spec", {})
    if plain["kind"] == "Namespace":
        metadata["labels"].pop("kubernetes.io/metadata.name", None)
        spec.pop("finalizers", None)
    if plain["kind"] == "Service" and spec.get("clusterIP") != "None":
        for field in ("clusterIP", "clusterIPs"):
            spec.pop(field, None)
    if plain["kind"] == "PersistentVolume":
        spec["csi"]["volumeHandle"] = disks[spec["csi"]["volumeHandle"]]
        for field in ("resourceVersion", "uid"):
            spec["claimRef"].pop(field, None)
    return plain


def _renamed(value: Any, app: str, copy: str) -> Any:
    """Everything that is the app's name, or begins with it as the names of its PersistentVolumes do."""
    if isinstance(value, dict):
        return {key: _renamed(one, app, copy) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, app, copy) for one in value]
    if isinstance(value, str) and (value == app or value.startswith(f"{app}-")):
        return copy + value.removeprefix(app)
    return value
