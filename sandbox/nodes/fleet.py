"""All real nodes of a sandbox at once: what `sandbox.lifecycle` does before they start and after they have ended."""

import time
from datetime import datetime
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.kubernetes.api import Api
from sandbox.layout import Layout
from sandbox.nodes import cgroups, images, links, loops
from sandbox.nodes.machine import machines
from sandbox.progress import Progress

_PATIENCE_SECONDS = 15.0
_PERIOD_SECONDS = 0.05
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_CSI_NODES = "/apis/storage.k8s.io/v1/csinodes"


def prepare(layout: Layout, progress: Progress) -> None:
    """Before the hypervisor looks: images are there, and what was broken on purpose is whole again."""
    for archive in images.standard_images(progress):
        if not _same(archive, layout.images / archive.name):
            images.keep(archive, layout.images)
    for folder in (layout.nodes, layout.volumes):
        folder.mkdir(mode=0o700, exist_ok=True)
    for machine in machines(layout):
        with machine.alone():
            machine.mend()


def not_serving(layout: Layout, api: Api) -> dict[str, str]:
    """The nodes that do not do their work (yet), by name, with the reason. Kubernetes alone cannot tell: it believes
    for 40 seconds that a dead node is Ready."""
    reports = _last_reports(api)
    having_driver = {it["metadata"]["name"] for it in api.items(_CSI_NODES) if it["spec"]["drivers"]}
    found = dict[str, str]()
    for machine in machines(layout):
        name, since = machine.plan.name, machine.on_since()
        if since is None:
            found[name] = f"it has no power; see {machine.log}"
        elif not machine.kubelet_answers():
            found[name] = f"its kubelet does not answer; see {machine.plan.log('kubelet')}"
        elif reports.get(name, 0.0) < int(since):
            found[name] = f"its kubelet does not report; see {machine.plan.log('kubelet')}"
        elif name not in having_driver:
            found[name] = f"its CSI driver is not known yet; see {machine.plan.log('csi')}"
    return found


def why_silent(layout: Layout, name: str) -> str:
    """What keeps a node from reaching the API server; empty if nothing does. Too slow to ask again and again."""
    return next((one.why_silent() for one in machines(layout) if one.plan.name == name), "")


def _last_reports(api: Api) -> dict[str, float]:
    """When each node's kubelet was last heard of, in seconds since the epoch: by its lease, which is first made some
    seconds after its start, or by what it says of its node, which is told in whole seconds."""
    told = [(it["metadata"]["name"], it["spec"].get("renewTime")) for it in api.items(_LEASES)]
    for node in api.items("/api/v1/nodes"):
        ready = [it for it in node["status"].get("conditions", []) if it["type"] == "Ready"]
        told += [(node["metadata"]["name"], it.get("lastHeartbeatTime")) for it in ready]
    found = dict[str, float]()
    for name, moment in told:
        if moment:
            found[name] = max(found.get(name, 0.0), datetime.fromisoformat(moment).timestamp())
    return found


def switch_off(layout: Layout) -> None:
    """End every node, whatever state it is in."""
    for machine in machines(layout):
        machine.kill()


def clear_up(layout: Layout) -> None:
    """After every process has ended: leave no disk, link or cgroup of the sandbox on the machine."""
    # Not by what the sandbox remembers, which may be damaged: the link to its switch says whose it is.
    if layout.nodes.exists():
        for network in links.networks_of(layout.folder):
            cgroups.remove(network.cgroup_prefix, whole_name=False)
            links.remove_all(network)
    _await_no_disks(layout.volumes)


def _await_no_disks(volumes: Path) -> None:
    # The kernel takes the mounts of a dead node down in its own time.
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := loops.below(volumes):
        if time.monotonic() > deadline:
            names = ", ".join(f"/dev/loop{loop.number}" for loop in left)
            raise SandboxError(
                f"{names} are still in use after all nodes have ended.", "Look with `losetup -a`."
            )
        time.sleep(_PERIOD_SECONDS)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and (one.stat().st_size, one.stat().st_mtime_ns) == (
        other.stat().st_size,
        other.stat().st_mtime_ns,
    )
