"""The catalogue of machine types and where they are offered."""

from __future__ import annotations

from typing import Any

from sandbox.aws import instance_types
from sandbox.aws.errors import AwsError
from sandbox.aws.listing import Texts, at, chosen, page
from sandbox.aws.registry import Call, Result, action

Type = dict[str, Any]


@action("DescribeInstanceTypes")
def describe_instance_types(call: Call) -> Result:
    ids = call.params.get("InstanceTypes")
    found = [_get(name) for name in dict.fromkeys(ids)] if ids else _offered(call)
    found = chosen(found, call.params.get("Filters", []), _FILTERS, lambda item: {})
    ids_given = "instanceTypes" if ids else None
    shown, token = page(found, call.params, lambda item: (0.0, item["InstanceType"]), ids_given, limit=100)
    return {"InstanceTypes": shown, "NextToken": token}


@action("DescribeInstanceTypeOfferings")
def describe_instance_type_offerings(call: Call) -> Result:
    where = call.params.get("LocationType", "region")
    if where not in ("region", "availability-zone", "availability-zone-id"):
        raise AwsError("InvalidParameterValue", f"The location type '{where}' is not valid")
    known: dict[str, Texts[Type]] = {
        "instance-type": lambda item: (item["InstanceType"],),
        "location": lambda item: (item["Location"],),
    }
    found = chosen(
        instance_types.offerings(call.region, where), call.params.get("Filters", []), known, lambda item: {}
    )
    shown, token = page(found, call.params, lambda item: (0.0, f"{item['InstanceType']} {item['Location']}"))
    return {"InstanceTypeOfferings": [{**item, "LocationType": where} for item in shown], "NextToken": token}


def _get(name: str) -> Type:
    found = instance_types.find_type(name)
    if found is None:
        raise AwsError("InvalidInstanceType", f"The following supplied instance types do not exist: [{name}]")
    return found


def _offered(call: Call) -> list[Type]:
    here = {item["InstanceType"] for item in instance_types.offerings(call.region, "region")}
    return [item for name, item in instance_types.all_types().items() if not here or name in here]


_FILTERS: dict[str, Texts[Type]] = {
    "auto-recovery-supported": at("AutoRecoverySupported"),
    "bare-metal": at("BareMetal"),
    "burstable-performance-supported": at("BurstablePerformanceSupported"),
    "current-generation": at("CurrentGeneration"),
    "dedicated-hosts-supported": at("DedicatedHostsSupported"),
    "ebs-info.ebs-optimized-support": at("EbsInfo.EbsOptimizedSupport"),
    "ebs-info.encryption-support": at("EbsInfo.EncryptionSupport"),
    "ebs-info.nvme-support": at("EbsInfo.NvmeSupport"),
    "free-tier-eligible": at("FreeTierEligible"),
    "hibernation-supported": at("HibernationSupported"),
    "hypervisor": at("Hypervisor"),
    "instance-storage-supported": at("InstanceStorageSupported"),
    "instance-type": at("InstanceType"),
    "memory-info.size-in-mib": at("MemoryInfo.SizeInMiB"),
    "network-info.ena-support": at("NetworkInfo.EnaSupport"),
    "network-info.maximum-network-interfaces": at("NetworkInfo.MaximumNetworkInterfaces"),
    "processor-info.supported-architecture": at("ProcessorInfo.SupportedArchitectures"),
    "supported-boot-mode": at("SupportedBootModes"),
    "supported-root-device-type": at("SupportedRootDeviceTypes"),
    "supported-usage-class": at("SupportedUsageClasses"),
    "supported-virtualization-type": at("SupportedVirtualizationTypes"),
    "vcpu-info.default-cores": at("VCpuInfo.DefaultCores"),
    "vcpu-info.default-vcpus": at("VCpuInfo.DefaultVCpus"),
}
