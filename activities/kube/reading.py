"""What raw objects of the API mean: capacity, readiness and, in plain words, why a pod is not ready.

Pure functions over manifests, used by the instance, facts and view activities.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from activities.kube import names
from activities.kube.base import Manifest
from activities.models.facts import NodeFacts

_UNITS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
#: A driver that declares no limit has none; no machine of any cloud takes this many disks.
_NO_ATTACH_LIMIT = 1_000


def quantity(text: str | int) -> Decimal:
    """A quantity as the API writes it ("7910m", "32Gi", "1e3"), which allows more than an app document."""
    text = str(text)
    for length in (2, 1):
        if text[-length:] in _UNITS:
            return Decimal(text[:-length]) * _UNITS[text[-length:]]
    return Decimal(text)


def pod_requests(pod: Manifest) -> tuple[int, int]:
    """CPU in millicores and memory in bytes that the scheduler counts for a pod."""
    spec = pod["spec"]
    cpu = memory = Decimal(0)
    for container in spec.get("containers") or []:
        requests = _requests(container)
        cpu, memory = cpu + requests[0], memory + requests[1]
    first_cpu = first_memory = Decimal(0)
    for container in spec.get("initContainers") or []:
        requests = _requests(container)
        if container.get("restartPolicy") == "Always":  # a sidecar runs beside the others
            cpu, memory = cpu + requests[0], memory + requests[1]
        else:
            first_cpu, first_memory = max(first_cpu, requests[0]), max(first_memory, requests[1])
    overhead = _amounts(spec.get("overhead") or {})
    cpu, memory = max(cpu, first_cpu) + overhead[0], max(memory, first_memory) + overhead[1]
    return int(cpu * 1000), int(memory)


def node_facts(
    node: Manifest, csi_node: Manifest | None, pods: Iterable[Manifest], disks: int, csi_driver: str
) -> NodeFacts:
    """`pods` are those on the node; `disks` those attached to it, or promised to a pod on it."""
    spec, status = node["spec"], node.get("status") or {}
    labels = node["metadata"].get("labels") or {}
    allocatable = status.get("allocatable") or {}
    cpu, memory = _amounts(allocatable)
    free_cpu, free_memory, free_pods = int(cpu * 1000), int(memory), int(quantity(allocatable.get("pods", 0)))
    for pod in pods:
        if is_over(pod):
            continue
        pod_cpu, pod_memory = pod_requests(pod)
        free_cpu, free_memory, free_pods = free_cpu - pod_cpu, free_memory - pod_memory, free_pods - 1
    return NodeFacts(
        name=node["metadata"]["name"],
        machine=machine(node),
        zone=labels.get(names.ZONE, ""),
        type=labels.get("node.kubernetes.io/instance-type", ""),
        schedulable=_is_schedulable(node, spec),
        free_cpu_millicores=free_cpu,
        free_memory_bytes=free_memory,
        free_pods=free_pods,
        attach_limit=_attach_limit(csi_node, csi_driver),
        attached=disks,
    )


def machine(node: Manifest) -> str:
    """The cloud's id of the machine: the end of "aws:///eu-west-1a/i-0abc"."""
    return str(node["spec"].get("providerID", "")).rpartition("/")[2]


def claims_of(pod: Manifest) -> list[str]:
    return [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"].get("volumes") or []
        if "persistentVolumeClaim" in volume
    ]


def whereabouts(pod: Manifest) -> str:
    """ "pod db-0-0 on node n-0", as messages name one that is in the way."""
    node = pod["spec"].get("nodeName")
    return f"pod {pod['metadata']['name']}" + (f" on node {node}" if node else "")


def is_over(pod: Manifest) -> bool:
    """Whether the pod has ended and holds nothing of its node any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Manifest) -> bool:
    return condition(pod, "Ready").get("status") == "True" and not names.is_going(pod)


def condition(thing: Manifest, kind: str) -> dict[str, Any]:
    """The condition of that type; an empty one if there is none."""
    for found in (thing.get("status") or {}).get("conditions") or []:
        if found.get("type") == kind:
            return dict(found)
    return {}


def what_remains(namespace: Manifest) -> str:
    """What Kubernetes says is in the way of a namespace's deletion; "" if nothing is."""
    conditions = (namespace.get("status") or {}).get("conditions") or []
    told = [found for found in conditions if found.get("status") == "True" and found.get("message")]
    # The remaining content names objects; the finalizers only repeat why those stay.
    told.sort(key=lambda found: found.get("type") != "NamespaceContentRemaining")
    return str(told[0]["message"]) if told else ""


def restarts(pod: Manifest) -> int:
    return sum(status.get("restartCount", 0) for status in _container_statuses(pod))


def ready_since(pod: Manifest) -> datetime | None:
    """Since when a ready pod has been ready without a restart of any container."""
    times = [names.time_of(condition(pod, "Ready").get("lastTransitionTime"))]
    for status in _container_statuses(pod):
        times.append(names.time_of(((status.get("state") or {}).get("running") or {}).get("startedAt")))
    return max((time for time in times if time is not None), default=None)


def why_not_ready(pod: Manifest, attach_errors: Iterable[str] = (), events: Iterable[Manifest] = ()) -> str:
    """The most telling reason, in a sentence: nearest to the cause first."""
    name = pod["metadata"]["name"]
    if names.is_going(pod):
        return f"the former pod {name} is still stopping"
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"pod {name} finds no node: {scheduled.get('message') or scheduled.get('reason', '')}"
    if not pod["spec"].get("nodeName"):
        return f"pod {name} waits for the scheduler"
    for error in attach_errors:
        return f"a disk of pod {name} cannot be attached: {error}"
    if stopped := _stopped_container(pod):
        return stopped
    warning = last_warning(events)
    if (pod.get("status") or {}).get("phase") == "Pending":
        return warning or f"pod {name} is starting on node {pod['spec']['nodeName']}"
    return warning or f"pod {name} runs but is not ready yet"


def _requests(container: dict[str, Any]) -> tuple[Decimal, Decimal]:
    return _amounts((container.get("resources") or {}).get("requests") or {})


def _amounts(amounts: dict[str, Any]) -> tuple[Decimal, Decimal]:
    return quantity(amounts.get("cpu", 0)), quantity(amounts.get("memory", 0))


def _is_schedulable(node: Manifest, spec: dict[str, Any]) -> bool:
    repelled = any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in spec.get("taints") or [])
    ready = condition(node, "Ready").get("status") == "True"
    return ready and not spec.get("unschedulable") and not repelled and not names.is_going(node)


def _attach_limit(csi_node: Manifest | None, csi_driver: str) -> int:
    for driver in (csi_node or {}).get("spec", {}).get("drivers") or []:
        if driver["name"] == csi_driver:
            count = (driver.get("allocatable") or {}).get("count")
            return _NO_ATTACH_LIMIT if count is None else int(count)
    return 0  # without the driver the node takes no disk at all


def _container_statuses(pod: Manifest) -> list[dict[str, Any]]:
    return list((pod.get("status") or {}).get("containerStatuses") or [])


def _stopped_container(pod: Manifest) -> str:
    """Why a container does not run, if Kubernetes says more than that it is being created."""
    for status in _container_statuses(pod):
        state = status.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
        reason = waiting.get("reason", "")
        if reason == "CrashLoopBackOff" or state.get("terminated"):
            cause = f"exit code {ended.get('exitCode', 'unknown')}"
            if ended.get("reason") not in (None, "Error", "Completed"):
                cause += f", {ended['reason']}"
            return (
                f"container {status['name']} keeps stopping ({cause}, "
                f"{status.get('restartCount', 0)} restarts); see its log"
            )
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            detail = waiting.get("message", "")
            return f"container {status['name']} does not start: {reason}" + (f": {detail}" if detail else "")
    return ""


def last_warning(events: Iterable[Manifest]) -> str:
    warnings = [event for event in events if event.get("type") == "Warning"]
    if not warnings:
        return ""
    last = max(warnings, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return f"{last.get('reason', '')}: {' '.join(str(last.get('message', '')).split())}"
