"""Marks pods whose volumes are all attached, so that kwok lets them start.

On a real node the kubelet waits for the attachment; on a simulated one a kwok stage does, and looks for
this mark. The machines stand-in calls it a few times a second.
"""

from sandbox.kubernetes.api import Api, ApiError, Json

MARK = "sim/volumes-attached"
_PENDING = "status.phase=Pending"


def mark_attached_pods(api: Api) -> int:
    """Mark what can be marked, and return how many that were."""
    pods = api.items("/api/v1/pods", fieldSelector=_PENDING, resourceVersion="0")
    waiting = [pod for pod in pods if _waits(pod)]
    if not waiting:
        return 0
    attachments = api.items("/apis/storage.k8s.io/v1/volumeattachments", resourceVersion="0")
    claims = api.items("/api/v1/persistentvolumeclaims", resourceVersion="0")
    marked = 0
    for pod in attached_pods(waiting, claims, attachments):
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        # The uid keeps the mark from a successor of the same name.
        mark = {"metadata": {"uid": pod["metadata"]["uid"], "annotations": {MARK: "true"}}}
        try:
            api.patch(path, mark)
            marked += 1
        except ApiError as error:
            if error.status not in (404, 409):
                raise
    return marked


def attached_pods(pods: list[Json], claims: list[Json], attachments: list[Json]) -> list[Json]:
    """Those of the pods whose every claim is bound to a volume that is attached to the pod's node."""
    bound = {
        (claim["metadata"]["namespace"], claim["metadata"]["name"]): claim["spec"].get("volumeName")
        for claim in claims
    }
    attached = {
        (it["spec"]["source"].get("persistentVolumeName"), it["spec"]["nodeName"])
        for it in attachments
        if it.get("status", {}).get("attached") and "deletionTimestamp" not in it["metadata"]
    }
    return [
        pod
        for pod in pods
        if all(
            (bound.get((pod["metadata"]["namespace"], claim)), pod["spec"]["nodeName"]) in attached
            for claim in _claims(pod)
        )
    ]


def _waits(pod: Json) -> bool:
    return bool(
        pod["spec"].get("nodeName")
        and _claims(pod)
        and MARK not in pod["metadata"].get("annotations", {})
        and "deletionTimestamp" not in pod["metadata"]
    )


def _claims(pod: Json) -> list[str]:
    return [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes", [])
        if "persistentVolumeClaim" in volume
    ]
