"""EC2 is asked to detach a volume only when no real node uses it, and no node begins to meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws.moto_proxy import SANDBOX_IMAGE
from sandbox.kubernetes.attachments import Attachments
from sandbox.kubernetes.rpc import Refused
from sandbox.nodes import loops, volumes
from sandbox.nodes.volumes import VolumeFiles
from tests.clouds.simulator import SimulatedAws


@pytest.fixture
def quick(aws: SimulatedAws) -> Iterator[SimulatedAws]:
    """Here something waits for the simulated clock, so it has to move."""
    aws.admin.set_speed(100)
    yield aws
    aws.admin.set_speed(0)


@pytest.fixture
def cloud(quick: SimulatedAws) -> Any:
    return quick.client_of_somebody_else()


@pytest.fixture
def instance(cloud: Any, quick: SimulatedAws) -> str:
    place = {"AvailabilityZone": "us-east-1a"}
    answer = cloud.run_instances(
        ImageId=SANDBOX_IMAGE.id, InstanceType="m7i.large", MinCount=1, MaxCount=1, Placement=place
    )
    quick.admin.advance(5)
    return str(answer["Instances"][0]["InstanceId"])


@pytest.fixture
def volume(cloud: Any, quick: SimulatedAws) -> str:
    made = cloud.create_volume(Size=1, VolumeType="gp3", AvailabilityZone="us-east-1a")
    quick.admin.advance(5)
    return str(made["VolumeId"])


def states(cloud: Any, volume: str) -> list[str]:
    (found,) = cloud.describe_volumes(VolumeIds=[volume])["Volumes"]
    return [it["State"] for it in found["Attachments"]]


def test_a_detach_is_refused_while_a_node_uses_the_volume_and_ec2_never_hears_of_it(
    cloud: Any,
    instance: str,
    volume: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quick: SimulatedAws,
) -> None:
    files, in_use = VolumeFiles(tmp_path / "volumes"), [loops.Loop(4)]
    monkeypatch.setattr(volumes, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(loops, "of", lambda _: in_use)
    attachments = Attachments(cloud, files.released)
    attachments.attach(volume, instance, seconds=10)
    with files.locked(volume):
        files.ensure(volume, 1)
    with pytest.raises(Refused, match="still in use") as refused:
        attachments.detach(volume, instance, seconds=10)
    assert refused.value.status == "FAILED_PRECONDITION"
    assert states(cloud, volume) == ["attached"]
    in_use.clear()
    attachments.detach(volume, instance, seconds=10)
    assert states(cloud, volume) == []


def test_no_node_begins_to_use_a_volume_before_ec2_has_heard_that_it_goes(
    cloud: Any, instance: str, volume: str
) -> None:
    seen = list[list[str]]()

    @contextmanager
    def released(volume_id: str) -> Iterator[None]:
        assert volume_id == volume
        seen.append(states(cloud, volume))
        yield
        seen.append(states(cloud, volume))

    attachments = Attachments(cloud, released)
    attachments.attach(volume, instance, seconds=10)
    assert seen == []
    attachments.detach(volume, instance, seconds=10)
    before, after = seen
    assert before == ["attached"]
    assert after != ["attached"]


def test_what_is_detaching_already_or_attached_nowhere_asks_no_node(
    cloud: Any, instance: str, volume: str, quick: SimulatedAws
) -> None:
    def released(_: str) -> Any:
        pytest.fail("nobody had to be asked")

    attachments = Attachments(cloud, released)
    attachments.detach(volume, instance, seconds=10)
    attachments.attach(volume, instance, seconds=10)
    quick.admin.set_speed(0)
    cloud.detach_volume(VolumeId=volume, InstanceId=instance)
    with pytest.raises(Refused, match="not yet detached"):
        attachments.detach(volume, instance, seconds=0.3)
    quick.admin.set_speed(100)
    attachments.detach(volume, instance, seconds=10)
