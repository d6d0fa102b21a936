"""The nodes' own small EC2 client against the real simulator: signature, errors, pages, attachments."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws.moto_proxy import SANDBOX_IMAGE
from sandbox.nodes.ec2 import REAL_TAG, REAL_VALUE, Ec2, Ec2Error, Instance
from tests.clouds.simulator import KEY, SimulatedAws

ZONE = "us-east-1b"


def port_of(aws: SimulatedAws) -> int:
    return int(aws.url.rpartition(":")[2])


@pytest.fixture
def ec2(aws: SimulatedAws) -> Ec2:
    return Ec2("127.0.0.1", port_of(aws), aws.credentials_file, "default", "us-east-1")


@pytest.fixture
def cloud(aws: SimulatedAws) -> Any:
    return aws.client_of_somebody_else()


def run(aws: SimulatedAws, cloud: Any, real: bool = True) -> str:
    """The id of a new instance that runs."""
    tags = [{"Key": REAL_TAG, "Value": REAL_VALUE if real else "simulated"}]
    answer = cloud.run_instances(
        ImageId=SANDBOX_IMAGE.id,
        InstanceType="m7i.large",
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": ZONE},
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    aws.admin.advance(4)
    return str(answer["Instances"][0]["InstanceId"])


def new_volume(aws: SimulatedAws, cloud: Any) -> str:
    volume = str(cloud.create_volume(Size=5, VolumeType="gp3", AvailabilityZone=ZONE)["VolumeId"])
    aws.admin.advance(2)
    return volume


def only(instances: list[Instance], instance_id: str) -> Instance:
    (found,) = [it for it in instances if it.id == instance_id]
    return found


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers with what a test has prepared, and keeps what it was asked."""

    answers: list[tuple[int, bytes]]
    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        status, content = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def answering(credentials: Path, *answers: tuple[int, bytes]) -> Iterator[tuple[Ec2, list[str]]]:
    """A client of a server that gives these answers, and what it was asked."""
    handler = type("Prepared", (Scripted,), {"answers": list(answers), "asked": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield (
                Ec2("127.0.0.1", server.server_port, credentials, "default", "us-east-1"),
                handler.asked,  # type: ignore[attr-defined]
            )
        finally:
            server.shutdown()
            serving.join()


def test_a_real_instance_is_told_with_its_state_zone_type_and_name(
    aws: SimulatedAws, ec2: Ec2, cloud: Any
) -> None:
    instance = run(aws, cloud)
    found = only(ec2.real_instances(), instance)
    described = cloud.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    assert (found.state, found.zone, found.type) == ("running", ZONE, "m7i.large")
    assert found.name == described["PrivateDnsName"]
    assert found.has_power
    assert not found.is_dead


def test_instances_without_the_tag_or_with_another_value_are_no_real_nodes(
    aws: SimulatedAws, ec2: Ec2, cloud: Any
) -> None:
    simulated = run(aws, cloud, real=False)
    assert simulated not in [it.id for it in ec2.real_instances()]


def test_a_stopped_instance_has_no_power_and_a_terminated_one_is_dead(
    aws: SimulatedAws, ec2: Ec2, cloud: Any
) -> None:
    instance = run(aws, cloud)
    cloud.stop_instances(InstanceIds=[instance])
    assert not only(ec2.real_instances(), instance).has_power
    aws.admin.advance(4)
    stopped = only(ec2.real_instances(), instance)
    assert (stopped.state, stopped.has_power, stopped.is_dead) == ("stopped", False, False)
    ec2.terminate(instance)
    aws.admin.advance(4)
    dead = only(ec2.real_instances(), instance)
    assert (dead.state, dead.has_power, dead.is_dead) == ("terminated", False, True)


def test_a_volume_is_told_with_its_size_and_is_attached_nowhere_at_first(
    aws: SimulatedAws, ec2: Ec2, cloud: Any
) -> None:
    found = ec2.volume(new_volume(aws, cloud))
    assert found is not None
    assert (found.size_gib, found.instance_id, found.device) == (5, "", "")


def test_only_a_complete_attachment_counts(aws: SimulatedAws, ec2: Ec2, cloud: Any) -> None:
    instance, volume = run(aws, cloud), new_volume(aws, cloud)

    def attached_to() -> str:
        found = ec2.volume(volume)
        assert found is not None
        return found.instance_id

    cloud.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/xvdba")
    assert attached_to() == ""
    aws.admin.advance(3)
    attached = ec2.volume(volume)
    assert attached is not None
    assert (attached.instance_id, attached.device) == (instance, "/dev/xvdba")
    cloud.detach_volume(VolumeId=volume, InstanceId=instance)
    assert attached_to() == ""
    aws.admin.advance(3)
    assert attached_to() == ""


def test_a_volume_that_is_gone_or_never_was_is_none(aws: SimulatedAws, ec2: Ec2, cloud: Any) -> None:
    volume = new_volume(aws, cloud)
    cloud.delete_volume(VolumeId=volume)
    aws.admin.advance(3)
    assert ec2.volume(volume) is None
    assert ec2.volume("vol-00000000000000000") is None


@pytest.mark.parametrize("instance_type", ["m7i.large", "m5.large"])
def test_a_node_takes_as_many_volumes_as_its_instance_besides_its_own_disk(
    ec2: Ec2, instance_type: str
) -> None:
    assert 20 < ec2.attachments_of(instance_type) <= 127


def test_a_wrong_secret_is_refused_as_ec2_does(aws: SimulatedAws, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = wrong\n")
    ec2 = Ec2("127.0.0.1", port_of(aws), credentials, "default", "us-east-1")
    with pytest.raises(Ec2Error) as refused:
        ec2.real_instances()
    assert refused.value.code in ("AuthFailure", "SignatureDoesNotMatch")


def test_an_error_of_ec2_is_told_with_its_code_and_words(ec2: Ec2) -> None:
    with pytest.raises(Ec2Error, match="i-00000000000000000") as refused:
        ec2.terminate("i-00000000000000000")
    assert refused.value.code == "InvalidInstanceID.NotFound"


def test_a_throttled_call_is_an_error_and_never_an_empty_answer(aws: SimulatedAws, ec2: Ec2) -> None:
    aws.admin.add_fault("throttle", "DescribeVolumes", count=1)
    with pytest.raises(Ec2Error) as refused:
        ec2.volume("vol-00000000000000000")
    assert refused.value.code == "RequestLimitExceeded"


def test_a_lost_reply_is_an_error_without_a_code(aws: SimulatedAws, ec2: Ec2) -> None:
    aws.admin.add_fault("drop-after", "DescribeInstances", count=1)
    with pytest.raises(Ec2Error, match="does not answer") as refused:
        ec2.real_instances()
    assert refused.value.code == ""


def test_nobody_at_the_address_is_an_error_without_a_code(aws: SimulatedAws) -> None:
    ec2 = Ec2("127.0.0.1", 1, aws.credentials_file, "default", "us-east-1")
    with pytest.raises(Ec2Error, match="does not answer") as refused:
        ec2.real_instances()
    assert refused.value.code == ""


@pytest.mark.parametrize("content", [b"", b"Internal Server Error", b"<half"])
def test_an_answer_that_is_no_xml_is_an_error_like_any_other(aws: SimulatedAws, content: bytes) -> None:
    with answering(aws.credentials_file, (500, content)) as (ec2, _), pytest.raises(Ec2Error, match="500"):
        ec2.real_instances()


def test_every_page_of_instances_is_read(aws: SimulatedAws) -> None:
    def page(instance: str, token: str) -> tuple[int, bytes]:
        more = f"<nextToken>{token}</nextToken>" if token else "<nextToken/>"
        item = f"<item><instanceId>{instance}</instanceId><instanceState><name>running</name></instanceState></item>"
        return 200, (
            '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>'
            f"<instancesSet>{item}</instancesSet></item></reservationSet>{more}</DescribeInstancesResponse>"
        ).encode()

    pages = page("i-1", "second"), page("i-2", "third"), page("i-3", "")
    with answering(aws.credentials_file, *pages) as (ec2, asked):
        assert [it.id for it in ec2.real_instances()] == ["i-1", "i-2", "i-3"]
    tokens = [dict(part.split("=") for part in request.split("&")).get("NextToken") for request in asked]
    assert tokens == [None, "second", "third"]
