"""EC2 instances as plain boto3 sees them: launching, states over time, filters, attributes, the network around."""

from __future__ import annotations

import pytest

from sandbox.aws.moto_proxy import SANDBOX_IMAGE

RUN = {"ImageId": SANDBOX_IMAGE.id, "InstanceType": "m7i.2xlarge", "MinCount": 1, "MaxCount": 1}


def state(cloud, instance: str) -> str:
    return str(cloud.show_instance(instance)["State"]["Name"])


def test_an_instance_is_pending_and_then_running(cloud):
    made = cloud.ec2.run_instances(**RUN, Placement={"AvailabilityZone": "us-east-1c"})["Instances"][0]
    assert made["State"] == {"Code": 0, "Name": "pending"}
    assert made["Placement"]["AvailabilityZone"] == "us-east-1c"
    assert state(cloud, made["InstanceId"]) == "pending"
    cloud.admin.advance(3.1)
    shown = cloud.show_instance(made["InstanceId"])
    assert shown["State"] == {"Code": 16, "Name": "running"}
    assert shown["PrivateDnsName"] == f"ip-{shown['PrivateIpAddress'].replace('.', '-')}.ec2.internal"


def test_stop_start_and_terminate_take_their_time(cloud):
    instance = cloud.instance()
    changed = cloud.ec2.stop_instances(InstanceIds=[instance])["StoppingInstances"][0]
    assert (changed["PreviousState"]["Name"], changed["CurrentState"]["Name"]) == ("running", "stopping")
    assert state(cloud, instance) == "stopping"
    cloud.admin.advance(3.1)
    assert state(cloud, instance) == "stopped"
    cloud.ec2.start_instances(InstanceIds=[instance])
    assert state(cloud, instance) == "pending"
    cloud.admin.advance(3.1)
    assert state(cloud, instance) == "running"
    cloud.ec2.reboot_instances(InstanceIds=[instance])
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    assert state(cloud, instance) == "shutting-down"
    cloud.admin.advance(3.1)
    assert state(cloud, instance) == "terminated"


def test_a_terminated_instance_vanishes_after_a_while(cloud, refused):
    instance = cloud.instance()
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    cloud.admin.advance(3000)
    assert state(cloud, instance) == "terminated"
    cloud.admin.advance(1000)
    refused("InvalidInstanceID.NotFound", cloud.ec2.describe_instances, InstanceIds=[instance])


def test_terminating_twice_is_no_error_and_starting_a_terminated_one_is(cloud, refused):
    instance = cloud.instance()
    cloud.ec2.terminate_instances(InstanceIds=[instance])
    cloud.admin.advance(5)
    again = cloud.ec2.terminate_instances(InstanceIds=[instance])["TerminatingInstances"][0]
    assert again["CurrentState"]["Name"] == "terminated"
    refused("IncorrectInstanceState", cloud.ec2.start_instances, InstanceIds=[instance])
    refused("IncorrectInstanceState", cloud.ec2.stop_instances, InstanceIds=[instance])


def test_the_same_token_launches_once(cloud, refused):
    first = cloud.ec2.run_instances(**RUN, ClientToken="launch")["Instances"][0]["InstanceId"]
    again = cloud.ec2.run_instances(**RUN, ClientToken="launch")["Instances"][0]["InstanceId"]
    assert again == first
    refused(
        "IdempotentParameterMismatch",
        cloud.ec2.run_instances,
        **{**RUN, "InstanceType": "m7i.large"},
        ClientToken="launch",
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"InstanceType": "m7i.gigantic"}, "InvalidParameterValue"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "image"}, "InvalidAMIID.Malformed"),
        ({"Placement": {"AvailabilityZone": "us-east-1z"}}, "InvalidParameterValue"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"MinCount": 2}, "InvalidParameterValue"),
    ],
)
def test_a_launch_that_names_something_unknown_is_refused(cloud, refused, change, code):
    refused(code, cloud.ec2.run_instances, **{**RUN, **change})


def test_instances_land_in_the_subnet_they_name(cloud):
    subnets = cloud.ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": ["us-east-1e"]}])
    subnet = subnets["Subnets"][0]
    made = cloud.ec2.run_instances(**{**RUN, "MaxCount": 3}, SubnetId=subnet["SubnetId"])["Instances"]
    assert {item["Placement"]["AvailabilityZone"] for item in made} == {"us-east-1e"}
    assert {item["VpcId"] for item in made} == {subnet["VpcId"]}
    assert len({item["PrivateIpAddress"] for item in made}) == 3


def test_instances_are_found_by_tag_state_and_type(cloud):
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "pool", "Value": "blue"}]}]
    instance = cloud.instance(kind="m7i.xlarge", TagSpecifications=tags)
    for name, value in (
        ("tag:pool", "blue"),
        ("instance-state-name", "running"),
        ("instance-type", "m7i.*"),
        ("instance-state-code", "16"),
        ("availability-zone-id", "use1-az*"),
        ("metadata-options.http-tokens", "optional"),
        ("network-interface.addresses.primary", "true"),
        ("network-interface.attachment.device-index", "0"),
        ("network-interface.private-dns-name", "ip-*.ec2.internal"),
        ("operator.managed", "false"),
    ):
        filters = [{"Name": "instance-id", "Values": [instance]}, {"Name": name, "Values": [value]}]
        assert cloud.ec2.describe_instances(Filters=filters)["Reservations"], name
        filters[1]["Values"] = ["nothing"]
        assert not cloud.ec2.describe_instances(Filters=filters)["Reservations"], name


def test_pages_of_instances_hold_each_once(cloud):
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "page", "Value": "i"}]}]
    made = cloud.ec2.run_instances(**{**RUN, "MaxCount": 12}, TagSpecifications=tags)["Instances"]
    pages = cloud.ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": "tag:page", "Values": ["i"]}], PaginationConfig={"PageSize": 5}
    )
    found = [
        item["InstanceId"] for page in pages for group in page["Reservations"] for item in group["Instances"]
    ]
    assert sorted(found) == sorted(item["InstanceId"] for item in made)


def test_ids_and_pages_exclude_each_other(cloud, refused):
    instance = cloud.instance()
    refused("InvalidParameterCombination", cloud.ec2.describe_instances, InstanceIds=[instance], MaxResults=5)


def test_only_running_instances_have_a_status_unless_all_are_asked_for(cloud):
    instance = cloud.instance()
    status = cloud.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"][0]
    assert status["InstanceStatus"]["Status"] == "ok"
    cloud.ec2.stop_instances(InstanceIds=[instance])
    cloud.admin.advance(5)
    assert cloud.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"] == []
    everything = cloud.ec2.describe_instance_status(InstanceIds=[instance], IncludeAllInstances=True)
    assert everything["InstanceStatuses"][0]["InstanceState"]["Name"] == "stopped"


def test_a_protected_instance_is_not_terminated(cloud, refused):
    instance = cloud.instance(DisableApiTermination=True)
    refused("OperationNotPermitted", cloud.ec2.terminate_instances, InstanceIds=[instance])
    cloud.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
    cloud.ec2.terminate_instances(InstanceIds=[instance])


def test_one_refused_instance_leaves_the_others_as_they_were(cloud, refused):
    free, protected = cloud.instance(), cloud.instance(DisableApiTermination=True)
    refused("OperationNotPermitted", cloud.ec2.terminate_instances, InstanceIds=[free, protected])
    assert state(cloud, free) == "running"


def test_a_type_is_changed_only_when_stopped(cloud, refused):
    instance = cloud.instance()
    change = {"InstanceId": instance, "InstanceType": {"Value": "m7i.large"}}
    refused("IncorrectInstanceState", cloud.ec2.modify_instance_attribute, **change)
    cloud.ec2.stop_instances(InstanceIds=[instance])
    cloud.admin.advance(5)
    cloud.ec2.modify_instance_attribute(**change)
    assert cloud.show_instance(instance)["InstanceType"] == "m7i.large"


def test_the_quota_of_instances_is_kept(cloud, refused):
    west = cloud.simulator.client(region_name="us-west-1")
    cloud.admin.set_limits(max_instances=2)
    assert len(west.run_instances(**{**RUN, "MaxCount": 5})["Instances"]) == 2
    refused("InstanceLimitExceeded", west.run_instances, **RUN)


def test_a_launch_template_fills_in_what_the_request_leaves_out(cloud):
    cloud.ec2.create_launch_template(
        LaunchTemplateName="pool",
        LaunchTemplateData={
            "ImageId": SANDBOX_IMAGE.id,
            "InstanceType": "m7i.large",
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "template"}]}
            ],
        },
    )
    made = cloud.ec2.run_instances(LaunchTemplate={"LaunchTemplateName": "pool"}, MinCount=1, MaxCount=1)
    instance = made["Instances"][0]
    assert instance["InstanceType"] == "m7i.large"
    assert {"Key": "from", "Value": "template"} in instance["Tags"]


def test_machine_types_tell_their_limits(cloud, refused):
    shown = cloud.ec2.describe_instance_types(InstanceTypes=["m7i.2xlarge"])["InstanceTypes"][0]
    assert (shown["VCpuInfo"]["DefaultVCpus"], shown["MemoryInfo"]["SizeInMiB"]) == (8, 32768)
    refused("InvalidInstanceType", cloud.ec2.describe_instance_types, InstanceTypes=["x.y"])
    small = cloud.ec2.describe_instance_types(
        Filters=[
            {"Name": "vcpu-info.default-vcpus", "Values": ["2"]},
            {"Name": "instance-type", "Values": ["t3.*"]},
        ]
    )["InstanceTypes"]
    assert {item["VCpuInfo"]["DefaultVCpus"] for item in small} == {2}


def test_zones_are_the_six_of_the_region(cloud):
    zones = cloud.ec2.describe_availability_zones()["AvailabilityZones"]
    assert [zone["ZoneName"] for zone in zones] == [f"us-east-1{letter}" for letter in "abcdef"]
