"""An instance as its pod shows it; used by health checks, waits and views."""

from collections.abc import Mapping

from activities.kube import names, reading
from activities.kube.base import Manifest
from activities.models.instances import InstanceStatus


def instance_status(
    app: str, component: str, instance: int, pod: Manifest | None, zones: Mapping[str, str], message: str = ""
) -> InstanceStatus:
    """`zones` by node name. Without a message of its own, a pod that is not ready says why."""
    address = names.instance_address(app, component, instance)
    if pod is None:
        return InstanceStatus(
            app=app,
            component=component,
            instance=instance,
            ready=False,
            address=address,
            message=message or "it has no pod",
        )
    ready = reading.is_ready(pod)
    node = pod["spec"].get("nodeName", "")
    return InstanceStatus(
        app=app,
        component=component,
        instance=instance,
        ready=ready,
        node=node,
        zone=zones.get(node, ""),
        address=address,
        pod_ip=(pod.get("status") or {}).get("podIP", ""),
        restarts=reading.restarts(pod),
        message=message or ("" if ready else reading.why_not_ready(pod)),
    )
