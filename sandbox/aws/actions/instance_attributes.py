"""Single attributes of instances: read and changed one at a time, as Terraform and the AWS CLI do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sandbox.aws.disks import ATTACHMENTS, attachments_of_instance
from sandbox.aws.errors import AwsError, invalid_combination, invalid_value
from sandbox.aws.instance_types import find_type, same_device
from sandbox.aws.machines import INSTANCES, Instance, get_instance, get_instances, instances, metadata_options
from sandbox.aws.registry import Call, Result, action

_READ: dict[str, Callable[[Instance], Result]] = {
    "disableApiStop": lambda item: {"DisableApiStop": {"Value": item.disable_stop}},
    "disableApiTermination": lambda item: {"DisableApiTermination": {"Value": item.disable_termination}},
    "ebsOptimized": lambda item: {"EbsOptimized": {"Value": item.ebs_optimized}},
    "enaSupport": lambda item: {"EnaSupport": {"Value": True}},
    "enclaveOptions": lambda item: {"EnclaveOptions": {"Enabled": False}},
    "groupSet": lambda item: {"Groups": _groups(item)},
    "instanceInitiatedShutdownBehavior": lambda item: {
        "InstanceInitiatedShutdownBehavior": {"Value": item.shutdown_behaviour}
    },
    "instanceType": lambda item: {"InstanceType": {"Value": item.type}},
    "kernel": lambda item: {"KernelId": {}},
    "productCodes": lambda item: {"ProductCodes": []},
    "ramdisk": lambda item: {"RamdiskId": {}},
    "rootDeviceName": lambda item: {"RootDeviceName": {"Value": item.root_device}},
    "sourceDestCheck": lambda item: {"SourceDestCheck": {"Value": item.source_dest_check}},
    "userData": lambda item: {"UserData": {"Value": item.user_data} if item.user_data else {}},
}


@action("DescribeInstanceAttribute")
def describe_instance_attribute(call: Call) -> Result:
    item = get_instance(call, call.params["InstanceId"])
    attribute = call.params["Attribute"]
    if attribute == "blockDeviceMapping":
        return {"InstanceId": item.id, "BlockDeviceMappings": _mappings(call, item)}
    if attribute not in _READ:
        raise invalid_value(f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute.")
    return {"InstanceId": item.id, **_READ[attribute](item)}


@action("ModifyInstanceAttribute", changes=True)
def modify_instance_attribute(call: Call) -> Result:
    params = call.params
    item = get_instance(call, params["InstanceId"])
    wanted = {name: value for name, value in params.items() if name != "InstanceId"}
    if "Attribute" in wanted:
        # The older way to say the same: the name of the attribute and a text for its value.
        name = wanted.pop("Attribute")
        wanted[name[0].upper() + name[1:]] = {"Value": wanted.pop("Value", "")}
    if len(wanted) != 1:
        raise invalid_combination("Fields for multiple attribute types specified: name one attribute")
    ((name, value),) = wanted.items()
    if name == "BlockDeviceMappings":
        _keep_or_delete(call, item, value)
        return {}
    call.tx.put(INSTANCES, item.id, _changed(call, item, name, value))
    return {}


@action("DescribeInstanceCreditSpecifications")
def describe_instance_credit_specifications(call: Call) -> Result:
    ids = call.params.get("InstanceIds")
    found = get_instances(call, ids) if ids else instances(call)
    shown = []
    for item in found:
        if not (find_type(item.type) or {}).get("BurstablePerformanceSupported"):
            if ids:
                raise invalid_value(f"The instance '{item.id}' is not of a burstable performance type")
            continue
        default = "standard" if item.type.startswith("t2.") else "unlimited"
        given = item.options.get("CreditSpecification", {}).get("CpuCredits")
        shown.append({"InstanceId": item.id, "CpuCredits": given or default})
    return {"InstanceCreditSpecifications": shown}


@action("ModifyInstanceMetadataOptions", changes=True)
def modify_instance_metadata_options(call: Call) -> Result:
    item = get_instance(call, call.params["InstanceId"])
    given = {name: value for name, value in call.params.items() if name != "InstanceId"}
    options = {**item.options, "MetadataOptions": {**item.options.get("MetadataOptions", {}), **given}}
    changed = replace(item, options=options)
    call.tx.put(INSTANCES, item.id, changed)
    return {"InstanceId": item.id, "InstanceMetadataOptions": metadata_options(changed)}


@action("MonitorInstances", changes=True)
def monitor_instances(call: Call) -> Result:
    return _monitor(call, True)


@action("UnmonitorInstances", changes=True)
def unmonitor_instances(call: Call) -> Result:
    return _monitor(call, False)


def _changed(call: Call, item: Instance, name: str, value: Any) -> Instance:
    if name == "DisableApiStop":
        return replace(item, disable_stop=_truth(value))
    if name == "DisableApiTermination":
        return replace(item, disable_termination=_truth(value))
    if name == "EbsOptimized":
        return replace(_stopped(call, item), ebs_optimized=_truth(value))
    if name == "Groups":
        known = call.moto.security_groups(call.region, item.vpc_id)
        unknown = [group for group in value if group not in known]
        if unknown:
            raise AwsError("InvalidGroup.NotFound", f"The security group '{unknown[0]}' does not exist")
        return replace(item, security_groups={group: known[group] for group in value})
    if name == "InstanceInitiatedShutdownBehavior":
        if value["Value"] not in ("stop", "terminate"):
            raise invalid_value(f"Invalid value '{value['Value']}' for instanceInitiatedShutdownBehavior")
        return replace(item, shutdown_behaviour=value["Value"])
    if name == "InstanceType":
        if find_type(value["Value"]) is None:
            raise invalid_value(f"Invalid value '{value['Value']}' for InstanceType.")
        return replace(_stopped(call, item), type=value["Value"])
    if name == "SourceDestCheck":
        return replace(item, source_dest_check=_truth(value))
    if name == "UserData":
        return replace(_stopped(call, item), user_data=value.get("Value"))
    raise AwsError("UnsupportedOperation", f"The sandbox does not change the attribute {name}")


def _truth(value: dict[str, Any]) -> bool:
    return str(value.get("Value")).lower() == "true"


def _stopped(call: Call, item: Instance) -> Instance:
    if item.state(call.now) != "stopped":
        raise AwsError("IncorrectInstanceState", f"The instance '{item.id}' is not in the 'stopped' state.")
    return item


def _groups(item: Instance) -> list[dict[str, str]]:
    return [{"GroupId": key, "GroupName": name} for key, name in item.security_groups.items()]


def _mappings(call: Call, item: Instance) -> list[Result]:
    return [
        {
            "DeviceName": held.device,
            "Ebs": {
                "AttachTime": held.at,
                "DeleteOnTermination": held.delete_on_termination,
                "Status": held.state(call.now),
                "VolumeId": held.volume_id,
            },
        }
        for held in attachments_of_instance(call.tx, item.id, call.now)
    ]


def _keep_or_delete(call: Call, item: Instance, mappings: list[dict[str, Any]]) -> None:
    """Sets whether disks end with their instance."""
    held = attachments_of_instance(call.tx, item.id, call.now)
    for mapping in mappings:
        device = mapping.get("DeviceName", "")
        matching = [one for one in held if same_device(one.device, device)]
        if not matching:
            raise AwsError(
                "InvalidInstanceAttributeValue",
                f"No device is currently mapped at {device} of instance {item.id}",
            )
        ends = mapping.get("Ebs", {}).get("DeleteOnTermination", matching[0].delete_on_termination)
        call.tx.put(ATTACHMENTS, matching[0].key, replace(matching[0], delete_on_termination=ends))


def _monitor(call: Call, on: bool) -> Result:
    shown = []
    for item in get_instances(call, call.params["InstanceIds"]):
        call.tx.put(INSTANCES, item.id, replace(item, monitoring=on))
        shown.append({"InstanceId": item.id, "Monitoring": {"State": "enabled" if on else "disabled"}})
    return {"InstanceMonitorings": shown}
