"""One instance: its claims, its StatefulSet, and the waits that explain themselves."""

from collections.abc import Callable
from typing import Any

import pytest

from activities.components import ComponentActivities
from activities.errors import CameToFail, NotFound, NotOurs, NotReadyYet
from activities.instances import InstanceActivities
from activities.models.volumes import Attachment
from tests import kube_requests as ask
from tests.fakes_cloud import FakeCloud
from tests.fakes_kube import FakeKube

Break = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def namespace(components: ComponentActivities) -> None:
    components.ensure_namespace(ask.namespace())


@pytest.fixture
def started(instances: InstanceActivities, cloud: FakeCloud) -> None:
    cloud.put(ask.disk(0))
    cloud.attach("vol-0", "i-n-0")
    instances.bind_volume(ask.bind())
    instances.start_instance(ask.of_instance())


def test_binding_makes_a_retained_volume_and_its_claim(instances: InstanceActivities, kube: FakeKube) -> None:
    instances.bind_volume(ask.bind())
    changes = kube.changes
    instances.bind_volume(ask.bind())
    assert kube.changes == changes
    volume = kube.the("PersistentVolume", f"shop-{ask.claim()}")
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["spec"]["csi"]["volumeHandle"] == "vol-0"
    assert volume["spec"]["claimRef"]["name"] == ask.claim()
    assert volume["metadata"]["labels"]["supergiant.io/tenant"] == "default"
    claim = kube.the("PersistentVolumeClaim", ask.claim(), "shop")
    assert claim["spec"]["volumeName"] == f"shop-{ask.claim()}"


def test_the_claim_is_made_after_the_control_plane_has_seen_its_volume(
    instances: InstanceActivities, kube: FakeKube
) -> None:
    kube.binds = False
    with pytest.raises(NotReadyYet, match=f"the volume of claim {ask.claim()} is being taken up"):
        instances.bind_volume(ask.bind())
    assert not kube.has("PersistentVolumeClaim", ask.claim(), "shop")


def test_binding_waits_until_the_pair_is_bound(instances: InstanceActivities, kube: FakeKube) -> None:
    kube.binds = False
    with pytest.raises(NotReadyYet):
        instances.bind_volume(ask.bind())
    kube.the("PersistentVolume", f"shop-{ask.claim()}")["status"] = {"phase": "Available"}
    with pytest.raises(NotReadyYet, match=f"claim {ask.claim()} is not bound"):
        instances.bind_volume(ask.bind())


def test_a_lost_claim_is_told_as_such(instances: InstanceActivities, kube: FakeKube) -> None:
    instances.bind_volume(ask.bind())
    kube.the("PersistentVolumeClaim", ask.claim(), "shop")["status"]["phase"] = "Lost"
    with pytest.raises(CameToFail, match="has lost its PersistentVolume"):
        instances.bind_volume(ask.bind())


def test_a_volume_of_that_name_for_another_disk_is_refused(instances: InstanceActivities) -> None:
    instances.bind_volume(ask.bind())
    other = ask.disk().model_copy(update={"id": "vol-other"})
    with pytest.raises(NotOurs, match="stands for disk vol-0, not for vol-other"):
        instances.bind_volume(ask.bind(volume=other))


def test_binding_in_a_namespace_that_is_gone_says_so(instances: InstanceActivities, kube: FakeKube) -> None:
    del kube.objects["Namespace", "", "shop"]
    with pytest.raises(NotFound, match="namespace shop is gone"):
        instances.bind_volume(ask.bind())


def test_unbinding_removes_the_claim_before_the_volume(instances: InstanceActivities, kube: FakeKube) -> None:
    instances.bind_volume(ask.bind())
    kube.held.add(("PersistentVolumeClaim", ask.claim()))
    with pytest.raises(NotReadyYet, match=f"claim {ask.claim()}"):
        instances.unbind_volume(ask.unbind())
    assert kube.has("PersistentVolume", f"shop-{ask.claim()}")
    kube.finish()
    instances.unbind_volume(ask.unbind())
    instances.unbind_volume(ask.unbind())
    assert not kube.has("PersistentVolume", f"shop-{ask.claim()}")


@pytest.mark.usefixtures("started")
def test_unbinding_says_which_pod_still_uses_the_claim(instances: InstanceActivities, kube: FakeKube) -> None:
    kube.held.add(("PersistentVolumeClaim", ask.claim()))
    with pytest.raises(NotReadyYet, match=r"is gone; still in use by pod db-0-0 on node n-0$"):
        instances.unbind_volume(ask.unbind())


@pytest.mark.parametrize(("phase", "told"), [("Running", True), ("Succeeded", False)])
def test_unbinding_says_when_a_pod_of_somebody_else_uses_the_claim(
    instances: InstanceActivities, kube: FakeKube, phase: str, told: bool
) -> None:
    instances.bind_volume(ask.bind())
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": ask.claim()}}, {"name": "e"}]
    kube.put(
        {
            "kind": "Pod",
            "metadata": {"name": "debug", "namespace": "shop"},
            "spec": {"volumes": volumes},
            "status": {"phase": phase},
        }
    )
    kube.held.add(("PersistentVolumeClaim", ask.claim()))
    with pytest.raises(NotReadyYet) as waiting:
        instances.unbind_volume(ask.unbind())
    said = "still in use by pod debug, which somebody else must delete"
    assert (said in str(waiting.value)) is told


@pytest.mark.usefixtures("started")
def test_unbinding_says_where_the_volume_is_still_attached(
    instances: InstanceActivities, kube: FakeKube
) -> None:
    kube.held.add(("PersistentVolume", f"shop-{ask.claim()}"))
    with pytest.raises(NotReadyYet, match="is gone; still attached to node n-0"):
        instances.unbind_volume(ask.unbind())


def test_unbinding_leaves_a_claim_of_somebody_else(instances: InstanceActivities, kube: FakeKube) -> None:
    kube.put({"kind": "PersistentVolumeClaim", "metadata": {"name": ask.claim(), "namespace": "shop"}})
    instances.unbind_volume(ask.unbind())
    assert kube.has("PersistentVolumeClaim", ask.claim(), "shop")


@pytest.mark.usefixtures("started")
def test_starting_twice_leaves_the_pod_alone(instances: InstanceActivities, kube: FakeKube) -> None:
    pod = kube.the("Pod", "db-0-0", "shop")["metadata"]["uid"]
    instances.start_instance(ask.of_instance(operation="op-2"))
    assert kube.the("Pod", "db-0-0", "shop")["metadata"]["uid"] == pod


@pytest.mark.usefixtures("started")
def test_a_pod_of_a_former_template_is_replaced(instances: InstanceActivities, kube: FakeKube) -> None:
    former = kube.the("Pod", "db-0-0", "shop")["metadata"]["uid"]
    newer = ask.of_instance(termination_grace="5s")
    with pytest.raises(NotReadyYet, match="of the former template is stopping"):
        instances.start_instance(newer)
    instances.start_instance(newer)
    pod = kube.the("Pod", "db-0-0", "shop")
    assert pod["metadata"]["uid"] != former
    assert pod["spec"]["terminationGracePeriodSeconds"] == 5


def test_a_statefulset_of_somebody_else_is_refused(instances: InstanceActivities, kube: FakeKube) -> None:
    kube.put({"kind": "StatefulSet", "metadata": {"name": "db-0", "namespace": "shop"}, "spec": {}})
    with pytest.raises(NotOurs, match="StatefulSet/db-0 in namespace shop exists"):
        instances.start_instance(ask.of_instance())


@pytest.mark.usefixtures("started")
def test_removing_waits_for_the_pod_and_its_attachments(
    instances: InstanceActivities, kube: FakeKube
) -> None:
    attachment = kube.the("VolumeAttachment", f"csi-shop-{ask.claim()}")
    kube.held |= {("StatefulSet", "db-0")}
    with pytest.raises(NotReadyYet, match="StatefulSet db-0, pod db-0-0, the attachment of"):
        instances.remove_instance(ask.stop())
    kube.finish()
    kube.put(attachment)
    with pytest.raises(NotReadyYet, match="the attachment of shop-db-0-data-abc123 to node n-0"):
        instances.remove_instance(ask.stop())
    del kube.objects["VolumeAttachment", "", f"csi-shop-{ask.claim()}"]
    instances.remove_instance(ask.stop())
    assert not kube.has("Service", "db-0", "shop")


def test_removing_what_never_was_is_success(instances: InstanceActivities) -> None:
    instances.remove_instance(ask.stop())
    instances.unbind_volume(ask.unbind())


@pytest.mark.usefixtures("started")
def test_attached_means_that_kubernetes_and_the_cloud_agree(
    instances: InstanceActivities, cloud: FakeCloud
) -> None:
    seen = Attachment(claim=ask.claim(), volume="vol-0", machine="i-n-0", node="n-0")
    assert instances.await_attached(ask.attached()) == [seen]
    cloud.attach("vol-0", "i-other")
    with pytest.raises(NotReadyYet, match="the cloud says it is on machine i-other"):
        instances.await_attached(ask.attached())
    cloud.detach("vol-0")
    with pytest.raises(NotReadyYet, match="the cloud says it is not attached"):
        instances.await_attached(ask.attached())


@pytest.mark.usefixtures("started")
def test_an_error_of_the_attacher_is_told(instances: InstanceActivities, kube: FakeKube) -> None:
    attachment = kube.the("VolumeAttachment", f"csi-shop-{ask.claim()}")
    attachment["status"] = {"attached": False, "attachError": {"message": "too many volumes on i-n-0"}}
    with pytest.raises(NotReadyYet, match="cannot be attached to node n-0: too many volumes on i-n-0"):
        instances.await_attached(ask.attached())
    del kube.objects["VolumeAttachment", "", f"csi-shop-{ask.claim()}"]
    with pytest.raises(NotReadyYet, match="is not being attached to node n-0 yet"):
        instances.await_attached(ask.attached())


@pytest.mark.usefixtures("started")
def test_a_disk_that_vanished_from_the_cloud_is_not_waited_for(
    instances: InstanceActivities, kube: FakeKube
) -> None:
    kube.the("PersistentVolume", f"shop-{ask.claim()}")["spec"]["csi"]["volumeHandle"] = "vol-nowhere"
    with pytest.raises(NotFound, match=r"disk vol-nowhere of .* is gone from the cloud"):
        instances.await_attached(ask.attached())


@pytest.mark.usefixtures("started")
def test_a_ready_instance_is_described(instances: InstanceActivities) -> None:
    status = instances.await_ready(ask.of_instance())
    assert status.model_dump(exclude={"app", "component", "instance"}) == {
        "ready": True,
        "node": "n-0",
        "zone": "us-east-1a",
        "address": "db-0.shop.svc",
        "pod_ip": "10.0.0.1",
        "restarts": 0,
        "message": "",
    }


def _unschedulable(pod: dict[str, Any]) -> None:
    del pod["spec"]["nodeName"]
    pod["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient cpu"}],
    }


def _crashing(pod: dict[str, Any]) -> None:
    pod["status"]["conditions"][1]["status"] = "False"
    pod["status"]["containerStatuses"] = [
        {
            "name": "redis",
            "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }
    ]


def _without_image(pod: dict[str, Any]) -> None:
    pod["status"]["conditions"][1]["status"] = "False"
    pod["status"]["containerStatuses"] = [
        {
            "name": "redis",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "redis:77: not found"}},
        }
    ]


def _stopping(pod: dict[str, Any]) -> None:
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def _without_probe(pod: dict[str, Any]) -> None:
    pod["status"]["conditions"][1]["status"] = "False"


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (_unschedulable, "pod db-0-0 finds no node: 0/3 nodes: Insufficient cpu"),
        (_crashing, r"container redis keeps stopping \(exit code 137, OOMKilled, 4 restarts\)"),
        (_without_image, "container redis does not start: ImagePullBackOff: redis:77: not found"),
        (_stopping, "the former pod db-0-0 is still stopping"),
        (_without_probe, "pod db-0-0 runs but is not ready yet"),
    ],
)
def test_waiting_says_why_in_plain_words(
    instances: InstanceActivities, kube: FakeKube, broken: Break, why: str
) -> None:
    broken(kube.the("Pod", "db-0-0", "shop"))
    with pytest.raises(NotReadyYet, match=why):
        instances.await_ready(ask.of_instance())


@pytest.mark.usefixtures("started")
def test_a_failing_probe_is_told_from_the_events_of_that_pod(
    instances: InstanceActivities, kube: FakeKube
) -> None:
    pod = kube.the("Pod", "db-0-0", "shop")
    _without_probe(pod)
    for name, uid, message in (("a", "another-uid", "unrelated"), ("b", pod["metadata"]["uid"], "refused")):
        kube.put(
            {
                "kind": "Event",
                "metadata": {"name": name, "namespace": "shop"},
                "involvedObject": {"uid": uid},
                "type": "Warning",
                "reason": "Unhealthy",
                "message": f"Readiness probe failed: {message}",
                "lastTimestamp": "2026-01-01T00:00:00Z",
            }
        )
    with pytest.raises(NotReadyYet, match="Unhealthy: Readiness probe failed: refused"):
        instances.await_ready(ask.of_instance())


@pytest.mark.usefixtures("started")
def test_a_failing_attachment_is_told_of_a_pod_that_does_not_start(
    instances: InstanceActivities, kube: FakeKube
) -> None:
    kube.the("Pod", "db-0-0", "shop")["status"] = {"phase": "Pending", "conditions": []}
    kube.the("VolumeAttachment", f"csi-shop-{ask.claim()}")["status"] = {
        "attached": False,
        "attachError": {"message": "vol-0 is in another zone"},
    }
    with pytest.raises(NotReadyYet, match="cannot be attached: vol-0 is in another zone"):
        instances.await_ready(ask.of_instance())


@pytest.mark.usefixtures("started")
def test_the_pod_of_a_former_statefulset_is_not_mistaken_for_ours(
    instances: InstanceActivities, kube: FakeKube
) -> None:
    kube.the("Pod", "db-0-0", "shop")["metadata"]["ownerReferences"] = [{"uid": "former"}]
    with pytest.raises(NotReadyYet, match="of a former StatefulSet"):
        instances.await_ready(ask.of_instance())


def test_a_pod_that_is_refused_is_explained_by_its_statefulset(
    instances: InstanceActivities, kube: FakeKube
) -> None:
    kube.makes_pods = False
    instances.bind_volume(ask.bind())
    instances.start_instance(ask.of_instance())
    kube.put(
        {
            "kind": "Event",
            "metadata": {"name": "e", "namespace": "shop"},
            "involvedObject": {"uid": kube.the("StatefulSet", "db-0", "shop")["metadata"]["uid"]},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": "create Pod db-0-0 failed: exceeded quota",
        }
    )
    with pytest.raises(NotReadyYet, match=r"made yet: FailedCreate: .* exceeded quota"):
        instances.await_ready(ask.of_instance())


def test_a_statefulset_that_somebody_deleted_is_not_waited_for(instances: InstanceActivities) -> None:
    with pytest.raises(NotFound, match="StatefulSet/db-0 in namespace shop is gone"):
        instances.await_ready(ask.of_instance())
