"""The CSI driver's controller over a real socket, against the real AWS simulator."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import grpc
import pytest

from sandbox.aws.admin import Admin
from sandbox.kubernetes.attachments import Attachments
from sandbox.kubernetes.csi import Driver, serve
from sandbox.kubernetes.stubs import csi_pb2
from sandbox.ports import is_free

pytestmark = pytest.mark.sandbox
csi: Any = csi_pb2
GIB = 1024**3
KEY, SECRET = "AKIATESTOFTHEDRIVER0", "secret"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    port = next(port for port in range(31950, 32700) if is_free(port))
    surroundings = {**os.environ, "SANDBOX_AWS_ACCESS_KEY_ID": KEY, "SANDBOX_AWS_SECRET_ACCESS_KEY": SECRET}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "sandbox.aws",
            "--port",
            str(port),
            "--state",
            f"{folder}/aws.sqlite",
        ]
        with subprocess.Popen([*command, "--speed", "10"], env=surroundings) as process:
            Admin(f"http://127.0.0.1:{port}").wait_ready(30)
            yield f"http://127.0.0.1:{port}"
            process.kill()


@pytest.fixture
def admin(address: str) -> Iterator[Admin]:
    admin = Admin(address)
    yield admin
    admin.clear_faults()


@pytest.fixture(scope="module")
def ec2(address: str) -> Any:
    return boto3.client(
        "ec2",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )


class Caller:
    """Calls the driver as a side-car does."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def __call__(self, method: str, seconds: float = 15.0, **fields: Any) -> Any:
        service = (
            "Identity" if method in ("GetPluginInfo", "Probe", "GetPluginCapabilities") else "Controller"
        )
        reply = getattr(csi, f"{method}Response")
        call = self._channel.unary_unary(
            f"/csi.v1.{service}/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=reply.FromString,
        )
        return call(getattr(csi, f"{method}Request")(**fields), timeout=seconds)

    def publish(self, volume: str, instance: str, **more: Any) -> str:
        reply = self("ControllerPublishVolume", volume_id=volume, node_id=instance, **more)
        return str(reply.publish_context["devicePath"])

    def unpublish(self, volume: str, instance: str = "") -> None:
        self("ControllerUnpublishVolume", volume_id=volume, node_id=instance)


@pytest.fixture(scope="module")
def driver(ec2: Any) -> Iterator[Caller]:
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "csi.sock"
        server = serve(socket, Driver(Attachments(ec2)))
        with grpc.insecure_channel(f"unix://{socket}") as channel:
            yield Caller(channel)
        server.stop(grace=None).wait()


def new_instance(ec2: Any, zone: str = "us-east-1a") -> str:
    answer = ec2.run_instances(
        ImageId="ami-05a9db0c000000001",
        InstanceType="m7i.2xlarge",
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": zone},
    )
    instance = str(answer["Instances"][0]["InstanceId"])
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 0.2})
    return instance


@pytest.fixture(scope="module")
def instance(ec2: Any) -> str:
    return new_instance(ec2)


@pytest.fixture(scope="module")
def other(ec2: Any) -> str:
    return new_instance(ec2)


def new_volume(ec2: Any, zone: str = "us-east-1a") -> str:
    volume = str(ec2.create_volume(Size=5, VolumeType="gp3", AvailabilityZone=zone)["VolumeId"])
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 0.1})
    return volume


@pytest.fixture
def volume(ec2: Any) -> str:
    return new_volume(ec2)


def attachments(ec2: Any, volume: str) -> list[tuple[str, str, str]]:
    (found,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    return [(it["InstanceId"], it["State"], it["Device"]) for it in found["Attachments"]]


def test_the_driver_is_the_one_of_a_real_cluster(driver: Caller) -> None:
    assert driver("GetPluginInfo").name == "ebs.csi.aws.com"
    assert driver("Probe").ready.value


def test_a_published_volume_is_attached_when_the_call_returns(
    driver: Caller, ec2: Any, volume: str, instance: str
) -> None:
    device = driver.publish(volume, instance)
    assert attachments(ec2, volume) == [(instance, "attached", device)]


def test_a_second_publish_to_the_same_node_changes_nothing(
    driver: Caller, ec2: Any, volume: str, instance: str, admin: Admin
) -> None:
    device = driver.publish(volume, instance)
    before = len(admin.calls(action="AttachVolume"))
    assert driver.publish(volume, instance) == device
    assert len(admin.calls(action="AttachVolume")) == before


def test_a_volume_attached_elsewhere_is_not_taken_away(
    driver: Caller, ec2: Any, volume: str, instance: str, other: str
) -> None:
    driver.publish(volume, instance)
    with pytest.raises(grpc.RpcError) as refused:
        driver.publish(volume, other)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert instance in refused.value.details()
    assert [it[0] for it in attachments(ec2, volume)] == [instance]


def test_an_unpublished_volume_is_detached_when_the_call_returns(
    driver: Caller, ec2: Any, volume: str, instance: str, other: str
) -> None:
    driver.publish(volume, instance)
    driver.unpublish(volume, instance)
    assert attachments(ec2, volume) == []
    assert driver.publish(volume, other)


def test_unpublishing_what_is_detached_or_gone_is_well(
    driver: Caller, ec2: Any, volume: str, instance: str
) -> None:
    driver.unpublish(volume, instance)
    ec2.delete_volume(VolumeId=volume)
    driver.unpublish(volume, instance)
    driver.unpublish("vol-00000000000000000", instance)


def test_unpublishing_from_one_node_leaves_the_attachment_to_another(
    driver: Caller, ec2: Any, volume: str, instance: str, other: str
) -> None:
    driver.publish(volume, instance)
    driver.unpublish(volume, other)
    assert [it[:2] for it in attachments(ec2, volume)] == [(instance, "attached")]


def test_a_missing_volume_or_instance_is_not_found(driver: Caller, volume: str, instance: str) -> None:
    for pair in (("vol-00000000000000000", instance), (volume, "i-00000000000000000")):
        with pytest.raises(grpc.RpcError) as refused:
            driver.publish(*pair)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_terminated_instance_is_not_found(driver: Caller, ec2: Any, volume: str) -> None:
    doomed = new_instance(ec2)
    ec2.terminate_instances(InstanceIds=[doomed])
    with pytest.raises(grpc.RpcError) as refused:
        driver.publish(volume, doomed)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_instance_in_another_zone_is_an_invalid_argument(driver: Caller, ec2: Any, instance: str) -> None:
    elsewhere = new_volume(ec2, "us-east-1b")
    with pytest.raises(grpc.RpcError) as refused:
        driver.publish(elsewhere, instance)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_missing_field_is_an_invalid_argument(driver: Caller) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        driver.publish("", "i-1")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_volumes_published_at_once_get_different_devices(driver: Caller, ec2: Any) -> None:
    host = new_instance(ec2)
    volumes = [new_volume(ec2) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        devices = list(pool.map(lambda it: driver.publish(it, host, seconds=60), volumes))
    assert len(set(devices)) == 12
    assert all(attachments(ec2, it)[0][:2] == (host, "attached") for it in volumes)


def test_a_node_that_is_full_is_told_as_exhausted(
    driver: Caller, ec2: Any, volume: str, instance: str, admin: Admin
) -> None:
    admin.add_fault("error", "AttachVolume", code="AttachmentLimitExceeded", status=400, message="too many")
    with pytest.raises(grpc.RpcError) as refused:
        driver.publish(volume, instance)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_lost_reply_neither_fails_nor_attaches_twice(
    driver: Caller, ec2: Any, volume: str, instance: str, admin: Admin
) -> None:
    admin.add_fault("drop-after", "AttachVolume", resource=volume)
    device = driver.publish(volume, instance)
    assert attachments(ec2, volume) == [(instance, "attached", device)]
    admin.add_fault("drop-after", "DetachVolume", resource=volume)
    driver.unpublish(volume, instance)
    assert attachments(ec2, volume) == []


def test_a_throttled_cloud_is_asked_again(
    driver: Caller, ec2: Any, volume: str, instance: str, admin: Admin
) -> None:
    admin.add_fault("throttle", "AttachVolume", count=2)
    assert driver.publish(volume, instance)


def test_a_caller_in_a_hurry_hears_that_it_is_under_way_and_may_come_back(
    driver: Caller, ec2: Any, volume: str, instance: str, admin: Admin
) -> None:
    admin.set_speed(0.1)
    try:
        with pytest.raises(grpc.RpcError) as refused:
            driver.publish(volume, instance, seconds=2.0)
        assert refused.value.code() is grpc.StatusCode.ABORTED
    finally:
        admin.set_speed(10)
    assert driver.publish(volume, instance)


def test_growing_a_volume_that_is_big_enough_asks_nothing_of_the_cloud(
    driver: Caller, volume: str, admin: Admin
) -> None:
    reply = driver(
        "ControllerExpandVolume", volume_id=volume, capacity_range=csi.CapacityRange(required_bytes=5 * GIB)
    )
    assert reply.capacity_bytes == 5 * GIB
    assert reply.node_expansion_required
    assert admin.calls(action="ModifyVolume") == []


def grow(driver: Caller, volume: str, gib: int, seconds: float = 15.0) -> int:
    size = csi.CapacityRange(required_bytes=gib * GIB)
    reply = driver("ControllerExpandVolume", seconds, volume_id=volume, capacity_range=size)
    return int(reply.capacity_bytes // GIB)


def modification(ec2: Any, volume: str) -> tuple[str, int]:
    (found,) = ec2.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"]
    return found["ModificationState"], found["TargetSize"]


def test_growing_an_attached_volume_returns_as_soon_as_the_new_size_is_usable(
    driver: Caller, ec2: Any, volume: str, instance: str
) -> None:
    driver.publish(volume, instance)
    assert grow(driver, volume, 7) == 7
    assert modification(ec2, volume) == ("optimizing", 7)
    driver.unpublish(volume, instance)


def test_growing_twice_to_the_same_size_asks_the_cloud_once(
    driver: Caller, volume: str, admin: Admin
) -> None:
    before = admin.health()["last_call"]
    assert grow(driver, volume, 6) == grow(driver, volume, 6) == 6
    assert len(admin.calls(before, "ModifyVolume")) == 1


def test_growing_with_a_lost_reply_neither_fails_nor_grows_twice(
    driver: Caller, ec2: Any, volume: str, admin: Admin
) -> None:
    before = admin.health()["last_call"]
    admin.add_fault("drop-after", "ModifyVolume", resource=volume)
    assert grow(driver, volume, 8) == 8
    applied = [call for call in admin.calls(before, "ModifyVolume") if call["outcome"] == "ok"]
    assert len(applied) == 1
    assert modification(ec2, volume) == ("optimizing", 8)


def test_growing_in_a_hurry_is_told_as_under_way_although_the_size_is_shown(
    driver: Caller, ec2: Any, volume: str, admin: Admin
) -> None:
    admin.set_speed(0.1)
    try:
        with pytest.raises(grpc.RpcError) as refused:
            grow(driver, volume, 9, seconds=2.0)
        assert refused.value.code() is grpc.StatusCode.ABORTED
        assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"] == 9
    finally:
        admin.set_speed(10)
    assert grow(driver, volume, 9) == 9


def test_growing_further_while_the_cloud_optimizes_is_told_as_under_way(driver: Caller, volume: str) -> None:
    grow(driver, volume, 6)
    with pytest.raises(grpc.RpcError) as refused:
        grow(driver, volume, 7)
    assert refused.value.code() is grpc.StatusCode.ABORTED
    assert "OPTIMIZING" in refused.value.details()


def test_growing_that_fails_in_the_cloud_is_told_and_may_be_asked_again(
    driver: Caller, volume: str, admin: Admin
) -> None:
    admin.add_fault("fail", "ModifyVolume", resource=volume)
    with pytest.raises(grpc.RpcError) as refused:
        grow(driver, volume, 6)
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    assert grow(driver, volume, 6) == 6
