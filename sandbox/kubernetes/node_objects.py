"""What a Kubernetes node looks like that stands for an instance: pure functions from one to the other.

The machines stand-in writes these objects; the shapes are those of an EKS node with the EBS CSI driver.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Any

from sandbox.binaries.programs import KUBERNETES_VERSION
from sandbox.nodes.ec2 import REAL_TAG, REAL_VALUE, data_volumes

Json = dict[str, Any]

# kwok manages the nodes that carry it with the value "on".
POWER = "sandbox.supergiant/power"
PROVIDER_PREFIX = "aws:///"
ZONE = "topology.kubernetes.io/zone"
# The stand-in CSI driver, both halves of it, and where it says in which zone a node is.
DRIVER = "ebs.csi.aws.com"
DRIVER_ZONE = f"topology.{DRIVER}/zone"
# What the operating system and the kubelet keep for themselves.
_RESERVED_MIB = 700
_RESERVED_MILLICPU = 100
_PODS = "110"


def is_running(instance: Json) -> bool:
    """Whether it can hold pods."""
    return bool(instance["State"]["Name"] == "running")


def is_real(instance: Json) -> bool:
    """Whether a real machine stands behind it, with a kubelet of its own."""
    return {"Key": REAL_TAG, "Value": REAL_VALUE} in instance.get("Tags", [])


def kubelets(nodes: Iterable[Json]) -> list[Json]:
    """Where the kubelets of nodes listen, as a file that Prometheus finds targets in.

    Only a node with a kubelet names its port; a simulated one has none to ask.
    """
    found = []
    for node in nodes:
        status, labels = node.get("status", {}), node["metadata"].get("labels", {})
        port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port", 0)
        addresses = [it["address"] for it in status.get("addresses", []) if it["type"] == "InternalIP"]
        if port and addresses and POWER not in labels:
            told = {"node": node["metadata"]["name"], "zone": labels.get(ZONE, "")}
            found.append({"targets": [f"{addresses[0]}:{port}"], "labels": told})
    return sorted(found, key=lambda it: str(it["labels"]["node"]))


def node_name(instance: Json) -> str:
    """The private DNS name, as on EKS; the id where the cloud gave no name."""
    return str(instance.get("PrivateDnsName") or f"{instance['InstanceId']}.ec2.internal")


def instance_of(node: Json) -> str:
    """The id of the instance behind a node; empty for a node that has none."""
    provider_id = str(node["spec"].get("providerID", ""))
    return provider_id.rpartition("/")[2] if provider_id.startswith(PROVIDER_PREFIX) else ""


def pod_network(taken: set[str]) -> str:
    """A network for a node's pods that no other node has."""
    return next(
        str(net) for net in IPv4Network("10.244.0.0/16").subnets(new_prefix=24) if str(net) not in taken
    )


def node_object(instance: Json, network: str) -> Json:
    """The node, without its status."""
    zone, name = instance["Placement"]["AvailabilityZone"], node_name(instance)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {
                # kube-controller-manager attaches volumes only to nodes that carry it.
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
            "labels": {
                "kubernetes.io/arch": _architecture(instance),
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": instance["InstanceType"],
                "topology.kubernetes.io/region": zone[:-1],
                ZONE: zone,
                DRIVER_ZONE: zone,
            },
        },
        "spec": {
            "providerID": f"{PROVIDER_PREFIX}{zone}/{instance['InstanceId']}",
            "podCIDR": network,
            "podCIDRs": [network],
        },
    }


def node_status(instance: Json, kind: Json) -> Json:
    """Its size and addresses, from the instance type."""
    cores, memory_mib = int(kind["VCpuInfo"]["DefaultVCpus"]), int(kind["MemoryInfo"]["SizeInMiB"])
    capacity = {"cpu": str(cores), "memory": f"{memory_mib}Mi", "pods": _PODS, "ephemeral-storage": "80Gi"}
    allocatable = capacity | {
        "cpu": f"{cores * 1000 - _RESERVED_MILLICPU}m",
        "memory": f"{max(memory_mib - _RESERVED_MIB, memory_mib // 2)}Mi",
    }
    addresses = [{"type": "Hostname", "address": node_name(instance)}]
    if address := instance.get("PrivateIpAddress"):
        addresses.insert(0, {"type": "InternalIP", "address": address})
    return {
        "capacity": capacity,
        "allocatable": allocatable,
        "addresses": addresses,
        "nodeInfo": _node_info(instance),
    }


def csi_node(instance: Json, kind: Json) -> Json:
    """How many volumes the node's driver may attach."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": node_name(instance)},
        "spec": {
            "drivers": [
                {
                    "name": DRIVER,
                    "nodeID": instance["InstanceId"],
                    "topologyKeys": [DRIVER_ZONE],
                    "allocatable": {"count": attachments_left(kind)},
                }
            ]
        },
    }


def attachments_left(kind: Json) -> int:
    """How many data volumes an instance type takes, its root disk (and network interface) deducted."""
    limits = kind.get("EbsInfo", {})
    return data_volumes(limits.get("MaximumEbsAttachments"), limits.get("AttachmentLimitType"))


def _node_info(instance: Json) -> Json:
    return {
        "architecture": _architecture(instance),
        "bootID": "",
        "containerRuntimeVersion": "simulated",
        "kernelVersion": "simulated",
        "kubeProxyVersion": "",
        "kubeletVersion": KUBERNETES_VERSION,
        "machineID": instance["InstanceId"],
        "operatingSystem": "linux",
        "osImage": "simulated",
        "systemUUID": "",
    }


def _architecture(instance: Json) -> str:
    return "arm64" if instance.get("Architecture") == "arm64" else "amd64"
