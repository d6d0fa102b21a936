"""Instances become nodes, disks become attached, pods wait for them: on a whole sandbox."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from sandbox import lifecycle
from sandbox.aws.admin import Admin
from sandbox.kubernetes import control_plane
from sandbox.kubernetes.api import Api, ApiError
from sandbox.layout import layout_of, read_memory

pytestmark = pytest.mark.sandbox
ZONE = "us-east-1b"


@pytest.fixture
def api(bed: str) -> Api:
    assert lifecycle.up(bed).healthy
    memory = read_memory(layout_of(bed))
    assert memory is not None
    return control_plane.api_of(layout_of(bed), memory)


@pytest.fixture
def admin(bed: str) -> Iterator[Admin]:
    admin = Admin(lifecycle.aws_address(bed))
    yield admin
    admin.clear_faults()


@pytest.fixture
def ec2(bed: str) -> Any:
    lines = layout_of(bed).aws_credentials.read_text().splitlines()[1:]
    key, secret = (line.partition(" = ")[2] for line in lines)
    return boto3.client(
        "ec2",
        endpoint_url=lifecycle.aws_address(bed),
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def eventually(reached: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.1)
    return found


def node_of(api: Api, instance: str) -> dict[str, Any] | None:
    nodes = api.items("/api/v1/nodes")
    return next((it for it in nodes if it["spec"].get("providerID", "").endswith(instance)), None)


def run_instance(ec2: Any, kind: str = "m7i.large") -> str:
    answer = ec2.run_instances(
        ImageId="ami-05a9db0c000000001",
        InstanceType=kind,
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": ZONE},
    )
    return str(answer["Instances"][0]["InstanceId"])


def new_disk(ec2: Any) -> str:
    volume = str(ec2.create_volume(Size=5, VolumeType="gp3", AvailabilityZone=ZONE)["VolumeId"])
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 0.2})
    return volume


def disk_objects(api: Api, name: str, volume: str) -> None:
    expression = {"key": "topology.ebs.csi.aws.com/zone", "operator": "In", "values": [ZONE]}
    api.create(
        "/api/v1/persistentvolumes",
        {
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "5Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "gp3",
                "claimRef": {"namespace": "default", "name": name},
                "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": volume},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
            },
        },
    )
    api.create(
        "/api/v1/namespaces/default/persistentvolumeclaims",
        {
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "gp3",
                "volumeName": name,
                "resources": {"requests": {"storage": "5Gi"}},
            },
        },
    )


def new_pod(api: Api, name: str, *claims: str, **annotations: str) -> None:
    volumes = [{"name": it, "persistentVolumeClaim": {"claimName": it}} for it in claims]
    api.create(
        "/api/v1/namespaces/default/pods",
        {
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"containers": [{"name": "c", "image": "redis:7"}], "volumes": volumes},
        },
    )


def pod(api: Api, name: str) -> dict[str, Any]:
    return api.get(f"/api/v1/namespaces/default/pods/{name}")


def is_ready(api: Api, name: str) -> bool:
    conditions = pod(api, name).get("status", {}).get("conditions", [])
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)


def attachment_states(ec2: Any, volume: str) -> list[str]:
    (found,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    return [it["State"] for it in found["Attachments"]]


@pytest.fixture
def name() -> str:
    return f"t-{uuid4().hex[:8]}"


def test_a_pod_with_a_disk_is_ready_only_after_the_disk_is_attached(api: Api, ec2: Any, name: str) -> None:
    volume = new_disk(ec2)
    disk_objects(api, name, volume)
    new_pod(api, name, name)

    def ready_and_attached() -> bool:
        # Read first whether it is Ready: at that time the disk must have been attached.
        ready = is_ready(api, name)
        assert not ready or attachment_states(ec2, volume) == ["attached"]
        return ready

    eventually(ready_and_attached)
    api.delete(f"/api/v1/namespaces/default/pods/{name}")
    eventually(lambda: attachment_states(ec2, volume) == [])


def test_a_pod_whose_disk_cannot_be_attached_never_starts_until_it_can(
    api: Api, ec2: Any, admin: Admin, name: str
) -> None:
    volume = new_disk(ec2)
    fault = admin.add_fault("error", "AttachVolume", resource=volume, code="InternalError", count=None)
    disk_objects(api, name, volume)
    new_pod(api, name, name)
    eventually(lambda: next(it for it in admin.faults() if it["id"] == fault["id"])["hits"] >= 2)
    status = pod(api, name)["status"]
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    admin.clear_faults()
    eventually(lambda: is_ready(api, name))


def test_a_pod_without_disks_starts_at_once_with_an_address_of_its_own(api: Api, name: str) -> None:
    names = [f"{name}-{number}" for number in range(4)]
    for each in names:
        new_pod(api, each)
    eventually(lambda: all(is_ready(api, each) for each in names), seconds=10)
    assert len({pod(api, each)["status"]["podIP"] for each in names}) == 4


def test_a_pod_told_to_stay_unready_stays_so_and_can_be_told_otherwise(api: Api, name: str) -> None:
    new_pod(api, name, **{"sim/readiness": "fail"})
    eventually(lambda: pod(api, name)["status"].get("phase") == "Running")
    assert not is_ready(api, name)
    path = f"/api/v1/namespaces/default/pods/{name}"
    api.patch(path, {"metadata": {"annotations": {"sim/readiness": None}}})
    eventually(lambda: is_ready(api, name))


def test_a_pod_told_to_crash_is_restarted_with_a_back_off(api: Api, name: str) -> None:
    new_pod(api, name, **{"sim/crash": "true", "sim/crash-after": "100ms", "sim/crash-backoff": "100ms"})
    eventually(lambda: pod(api, name)["status"].get("containerStatuses", [{}])[0].get("restartCount", 0) >= 2)
    assert not is_ready(api, name)


def test_a_new_instance_becomes_a_ready_node_and_a_terminated_one_vanishes(api: Api, ec2: Any) -> None:
    instance = run_instance(ec2)
    node = eventually(lambda: node_of(api, instance))
    name = node["metadata"]["name"]

    def ready() -> bool:
        conditions = api.get(f"/api/v1/nodes/{name}")["status"].get("conditions", [])
        return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)

    eventually(ready)
    node = api.get(f"/api/v1/nodes/{name}")
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == ZONE
    assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "m7i.large"
    assert node["status"]["capacity"]["cpu"] == "2"
    drivers = api.get(f"/apis/storage.k8s.io/v1/csinodes/{name}")["spec"]["drivers"]
    assert drivers[0]["nodeID"] == instance
    assert drivers[0]["allocatable"]["count"] > 20
    ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: node_of(api, instance) is None)
    with pytest.raises(ApiError) as gone:
        api.get(f"/apis/storage.k8s.io/v1/csinodes/{name}")
    assert gone.value.status == 404


def test_a_stopped_instance_keeps_its_node_and_its_pods_hang(api: Api, ec2: Any, name: str) -> None:
    instance = run_instance(ec2)
    node = eventually(lambda: node_of(api, instance))
    node_name = node["metadata"]["name"]
    api.create(
        "/api/v1/namespaces/default/pods",
        {
            "metadata": {"name": name},
            "spec": {"nodeName": node_name, "containers": [{"name": "c", "image": "redis:7"}]},
        },
    )
    eventually(lambda: is_ready(api, name))
    ec2.stop_instances(InstanceIds=[instance])
    label = "sandbox.supergiant/power"
    eventually(lambda: api.get(f"/api/v1/nodes/{node_name}")["metadata"]["labels"][label] == "off")
    # Nobody on the dead machine confirms that the pod has ended.
    api.delete(f"/api/v1/namespaces/default/pods/{name}", gracePeriodSeconds="1")
    time.sleep(3)
    assert "deletionTimestamp" in pod(api, name)["metadata"]
    ec2.start_instances(InstanceIds=[instance])

    def gone() -> bool:
        try:
            pod(api, name)
        except ApiError as error:
            return error.status == 404
        return False

    eventually(gone)
    ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: node_of(api, instance) is None)


def test_nodes_follow_the_cloud_after_everything_about_them_was_killed(bed: str, api: Api, ec2: Any) -> None:
    instance = run_instance(ec2)
    eventually(lambda: node_of(api, instance))
    for process in ("machines", "kwok-controller", "aws"):
        lifecycle.kill(bed, process)
    assert lifecycle.up(bed).healthy
    assert node_of(api, instance)
    ec2.terminate_instances(InstanceIds=[instance])
    eventually(lambda: node_of(api, instance) is None)


def test_the_aws_command_line_works_with_the_written_credentials(bed: str) -> None:
    layout = layout_of(bed)
    program = Path(sys.executable).with_name("aws")
    answer = subprocess.run(
        [program, "ec2", "describe-instances", "--query", "length(Reservations)"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(layout.folder),
            "AWS_SHARED_CREDENTIALS_FILE": str(layout.aws_credentials),
            "AWS_PROFILE": "sandbox",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": lifecycle.aws_address(bed),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(answer.stdout) >= 3
