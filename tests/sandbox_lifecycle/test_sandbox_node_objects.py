"""What a node looks like that stands for an instance, and which pods may start."""

from typing import Any

import pytest

from sandbox.kubernetes.attach_marker import attached_pods
from sandbox.kubernetes.node_objects import (
    attachments_left,
    csi_node,
    instance_of,
    node_object,
    node_status,
    pod_network,
)

INSTANCE: dict[str, Any] = {
    "InstanceId": "i-0123",
    "InstanceType": "m7i.2xlarge",
    "Placement": {"AvailabilityZone": "us-east-1b"},
    "PrivateDnsName": "ip-10-0-0-5.ec2.internal",
    "PrivateIpAddress": "10.0.0.5",
    "State": {"Name": "running"},
}
KIND: dict[str, Any] = {
    "VCpuInfo": {"DefaultVCpus": 8},
    "MemoryInfo": {"SizeInMiB": 32768},
    "EbsInfo": {"MaximumEbsAttachments": 32, "AttachmentLimitType": "dedicated"},
}


def test_a_node_tells_its_instance_and_zone_as_on_eks() -> None:
    node = node_object(INSTANCE, "10.244.7.0/24")
    assert node["metadata"]["name"] == "ip-10-0-0-5.ec2.internal"
    assert node["spec"]["providerID"] == "aws:///us-east-1b/i-0123"
    assert node["spec"]["podCIDR"] == "10.244.7.0/24"
    labels = node["metadata"]["labels"]
    assert labels["topology.kubernetes.io/zone"] == labels["topology.ebs.csi.aws.com/zone"] == "us-east-1b"
    assert labels["topology.kubernetes.io/region"] == "us-east-1"
    assert labels["node.kubernetes.io/instance-type"] == "m7i.2xlarge"
    assert instance_of(node) == "i-0123"


def test_a_node_of_somebody_else_has_no_instance() -> None:
    assert instance_of({"spec": {}}) == ""
    assert instance_of({"spec": {"providerID": "kind://docker/x"}}) == ""


def test_a_node_offers_less_than_its_machine_has() -> None:
    status = node_status(INSTANCE, KIND)
    assert status["capacity"]["cpu"] == "8"
    assert status["allocatable"]["cpu"] == "7900m"
    assert status["allocatable"]["memory"] == f"{32768 - 700}Mi"
    assert {"type": "InternalIP", "address": "10.0.0.5"} in status["addresses"]


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"MaximumEbsAttachments": 32, "AttachmentLimitType": "dedicated"}, 31),
        ({"MaximumEbsAttachments": 28, "AttachmentLimitType": "shared"}, 26),
        ({}, 26),
    ],
)
def test_the_root_disk_and_the_network_interface_count_against_the_limit(
    limits: dict[str, Any], left: int
) -> None:
    assert attachments_left({"EbsInfo": limits}) == left


def test_the_driver_knows_a_node_by_its_instance() -> None:
    (driver,) = csi_node(INSTANCE, KIND)["spec"]["drivers"]
    assert driver["nodeID"] == "i-0123"
    assert driver["allocatable"] == {"count": 31}


def test_no_two_nodes_get_the_same_pod_network() -> None:
    assert pod_network(set()) == "10.244.0.0/24"
    assert pod_network({"10.244.0.0/24", "10.244.2.0/24", ""}) == "10.244.1.0/24"


def pod(name: str, *claims: str, node: str = "n1") -> dict[str, Any]:
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    return {"metadata": {"namespace": "a", "name": name}, "spec": {"nodeName": node, "volumes": volumes}}


def claim(name: str, volume: str | None, namespace: str = "a") -> dict[str, Any]:
    spec = {"volumeName": volume} if volume else {}
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


def attachment(volume: str, node: str = "n1", attached: bool = True, **metadata: str) -> dict[str, Any]:
    return {
        "metadata": metadata,
        "spec": {"source": {"persistentVolumeName": volume}, "nodeName": node},
        "status": {"attached": attached},
    }


def test_a_pod_may_start_when_every_volume_is_attached_to_its_node() -> None:
    pods = [pod("p", "c1", "c2")]
    claims = [claim("c1", "v1"), claim("c2", "v2")]
    assert attached_pods(pods, claims, [attachment("v1"), attachment("v2")]) == pods


@pytest.mark.parametrize(
    ("claims", "attachments"),
    [
        ([claim("c1", "v1"), claim("c2", "v2")], [attachment("v1")]),
        ([claim("c1", "v1"), claim("c2", "v2")], [attachment("v1"), attachment("v2", attached=False)]),
        ([claim("c1", "v1"), claim("c2", "v2")], [attachment("v1"), attachment("v2", node="n2")]),
        (
            [claim("c1", "v1"), claim("c2", "v2")],
            [attachment("v1"), attachment("v2", deletionTimestamp="2026-01-01T00:00:00Z")],
        ),
        ([claim("c1", "v1"), claim("c2", None)], [attachment("v1")]),
        ([claim("c1", "v1")], [attachment("v1")]),
        ([claim("c1", "v1"), claim("c2", "v2", namespace="b")], [attachment("v1"), attachment("v2")]),
    ],
    ids=[
        "one is missing",
        "one is not attached yet",
        "one is attached elsewhere",
        "one is being detached",
        "one claim is not bound",
        "one claim does not exist",
        "the claim of that name is another's",
    ],
)
def test_a_pod_waits_while(claims: list[dict[str, Any]], attachments: list[dict[str, Any]]) -> None:
    assert attached_pods([pod("p", "c1", "c2")], claims, attachments) == []
