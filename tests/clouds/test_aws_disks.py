"""The AWS adapter against the simulator: disks are made, found, tagged and deleted as the protocol says."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from activities.clouds.aws import AwsCloud
from activities.errors import Conflict, InvalidSpec, NotFound, NotReadyYet
from activities.models.tags import CLUSTER, KEEP_UNTIL
from activities.models.volumes import Volume, VolumeSpec, VolumeState
from sandbox.aws.moto_proxy import SANDBOX_IMAGE
from tests.clouds.simulator import SimulatedAws, seen

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


@pytest.fixture
def cluster() -> str:
    """Each test's disks are those of a cluster of its own."""
    return f"test-{uuid.uuid4().hex[:8]}"


def spec(cluster: str, **changes: object) -> VolumeSpec:
    base = VolumeSpec(zone="us-east-1b", size_gib=20, type="gp3", tags={CLUSTER: cluster, "Name": "shop/db"})
    return base.model_copy(update=changes)


def token() -> str:
    return uuid.uuid4().hex * 2


def available(cloud: AwsCloud, disk: Volume) -> Volume:
    seen(lambda: state_of(cloud, disk) is VolumeState.AVAILABLE)
    found = cloud.get_volume(disk.id)
    assert found is not None
    return found


def state_of(cloud: AwsCloud, disk: Volume) -> VolumeState | None:
    found = cloud.get_volume(disk.id)
    return found.state if found else None


def test_a_disk_is_made_as_asked(cloud: AwsCloud, cluster: str) -> None:
    made = cloud.create_volume(token(), spec(cluster, size_gib=100, iops=6_000, throughput=500))
    assert made.state is VolumeState.CREATING
    disk = available(cloud, made)
    assert (disk.zone, disk.size_gib, disk.type) == ("us-east-1b", 100, "gp3")
    assert (disk.iops, disk.throughput) == (6_000, 500)
    assert disk.tags == {CLUSTER: cluster, "Name": "shop/db"}
    assert disk.created_at is not None
    assert (disk.machine, disk.attached) == ("", False)


@pytest.mark.parametrize(
    ("kind", "size_gib", "iops"),
    [("gp2", 10, None), ("io1", 10, 200), ("io2", 10, 200), ("st1", 125, None), ("sc1", 125, None)],
)
def test_disks_of_every_type_are_made(
    cloud: AwsCloud, cluster: str, kind: str, size_gib: int, iops: int | None
) -> None:
    assert cloud.create_volume(token(), spec(cluster, type=kind, size_gib=size_gib, iops=iops)).type == kind


def test_the_same_token_gives_the_same_disk(cloud: AwsCloud, cluster: str) -> None:
    once = token()
    assert len({cloud.create_volume(once, spec(cluster)).id for _ in range(3)}) == 1
    assert len(cloud.find_volumes({CLUSTER: cluster})) == 1


def test_the_same_token_for_another_disk_is_a_conflict(cloud: AwsCloud, cluster: str) -> None:
    once = token()
    cloud.create_volume(once, spec(cluster))
    with pytest.raises(Conflict):
        cloud.create_volume(once, spec(cluster, size_gib=21))


@pytest.mark.parametrize(
    "wrong",
    [{"zone": "us-east-1q"}, {"size_gib": 70_000}, {"type": "gp9"}, {"iops": 1_000_000}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_aws_does_not_make_is_refused_in_its_words(
    cloud: AwsCloud, cluster: str, wrong: dict[str, object]
) -> None:
    with pytest.raises(InvalidSpec, match=r"AWS would not create a disk: .*\(\w+"):
        cloud.create_volume(token(), spec(cluster, **wrong))
    assert cloud.find_volumes({CLUSTER: cluster}) == []


def test_disks_are_found_by_all_of_the_tags_oldest_first(cloud: AwsCloud, cluster: str) -> None:
    made = [
        cloud.create_volume(token(), spec(cluster, tags={CLUSTER: cluster, "n": str(n), "odd": str(n % 2)}))
        for n in range(4)
    ]
    assert [disk.id for disk in cloud.find_volumes({CLUSTER: cluster})] == [disk.id for disk in made]
    assert [disk.tags["n"] for disk in cloud.find_volumes({CLUSTER: cluster, "odd": "1"})] == ["1", "3"]
    assert cloud.find_volumes({CLUSTER: cluster, "n": "9"}) == []


def test_a_tags_value_is_taken_literally(cloud: AwsCloud, cluster: str) -> None:
    for value in ("a*c", "abc", "a?c", "a\\c"):
        cloud.create_volume(token(), spec(cluster, tags={CLUSTER: cluster, "v": value}))
    for value in ("a*c", "a?c", "a\\c"):
        assert [disk.tags["v"] for disk in cloud.find_volumes({CLUSTER: cluster, "v": value})] == [value]


def test_looking_without_a_tag_is_refused(cloud: AwsCloud) -> None:
    with pytest.raises(ValueError, match="without a tag"):
        cloud.find_volumes({})


def test_more_disks_than_fit_on_a_page_are_found(
    aws: SimulatedAws, cloud: AwsCloud, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.clouds.aws._PAGE", 5)
    for _ in range(12):
        cloud.create_volume(token(), spec(cluster))
    before = len(aws.admin.calls(action="DescribeVolumes"))
    assert len(cloud.find_volumes({CLUSTER: cluster})) == 12
    assert len(aws.admin.calls(action="DescribeVolumes")) - before == 3


def test_a_disk_that_is_not_there_is_none(cloud: AwsCloud) -> None:
    assert cloud.get_volume("vol-0123456789abcdef0") is None
    assert cloud.get_volume("not an id") is None


def test_a_deleted_disk_is_gone_and_deleting_it_again_is_fine(cloud: AwsCloud, cluster: str) -> None:
    disk = available(cloud, cloud.create_volume(token(), spec(cluster)))
    cloud.delete_volume(disk.id)
    seen(lambda: cloud.get_volume(disk.id) is None)
    assert cloud.find_volumes({CLUSTER: cluster}) == []
    cloud.delete_volume(disk.id)


def test_an_attached_disk_shows_its_machine_and_is_not_deleted(
    aws: SimulatedAws, cloud: AwsCloud, cluster: str
) -> None:
    disk = available(cloud, cloud.create_volume(token(), spec(cluster)))
    # The adapter itself cannot attach, on purpose: the cluster's CSI driver does that.
    ec2 = aws.client_of_somebody_else()
    machine = ec2.run_instances(
        ImageId=SANDBOX_IMAGE.id,
        InstanceType="m7i.large",
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": "us-east-1b"},
    )["Instances"][0]["InstanceId"]
    seen(lambda: running(ec2, machine))
    ec2.attach_volume(VolumeId=disk.id, InstanceId=machine, Device="/dev/sdf")
    seen(lambda: (found := cloud.get_volume(disk.id)) is not None and found.attached)
    found = cloud.get_volume(disk.id)
    assert found is not None
    assert (found.state, found.machine) == (VolumeState.IN_USE, machine)
    with pytest.raises(NotReadyYet):
        cloud.delete_volume(disk.id)
    ec2.terminate_instances(InstanceIds=[machine])
    seen(lambda: state_of(cloud, disk) is VolumeState.AVAILABLE)


def test_tags_are_added_and_taken_away(cloud: AwsCloud, cluster: str) -> None:
    disks = [cloud.create_volume(token(), spec(cluster)).id for _ in range(2)]
    cloud.tag_volumes(disks, {KEEP_UNTIL: "2026-01-01"})
    assert [disk.tags[KEEP_UNTIL] for disk in cloud.find_volumes({CLUSTER: cluster})] == ["2026-01-01"] * 2
    cloud.untag_volumes([*disks, "vol-0123456789abcdef0"], [KEEP_UNTIL])
    assert [disk.tags for disk in cloud.find_volumes({CLUSTER: cluster})] == [spec(cluster).tags] * 2


def test_taking_away_no_tag_takes_away_none(cloud: AwsCloud, cluster: str) -> None:
    disk = cloud.create_volume(token(), spec(cluster))
    cloud.untag_volumes([disk.id], [])
    assert cloud.find_volumes({CLUSTER: cluster})[0].tags == disk.tags


def test_a_disk_that_is_gone_cannot_be_tagged(cloud: AwsCloud) -> None:
    with pytest.raises(NotFound):
        cloud.tag_volumes(["vol-0123456789abcdef0"], {KEEP_UNTIL: "2026-01-01"})


def test_many_threads_at_once_each_get_their_own_answer(
    aws: SimulatedAws, cloud: AwsCloud, cluster: str
) -> None:
    numbers = [str(n) for n in range(40)]
    with ThreadPoolExecutor(40) as pool:

        def make(n: str) -> Volume:
            return cloud.create_volume(token(), spec(cluster, tags={CLUSTER: cluster, "n": n}))

        made = dict(zip(numbers, pool.map(make, numbers), strict=True))
        before = len(aws.admin.calls(action="DescribeVolumes"))
        found = list(pool.map(lambda n: cloud.find_volumes({CLUSTER: cluster, "n": n}), numbers))
        shown = list(pool.map(lambda n: cloud.get_volume(made[n].id), numbers))
    assert [[disk.id for disk in disks] for disks in found] == [[made[n].id] for n in numbers]
    assert [disk.id for disk in shown if disk] == [made[n].id for n in numbers]
    # Eighty questions; those that were asked at the same time shared a call.
    assert len(aws.admin.calls(action="DescribeVolumes")) - before < 60


def running(ec2: "EC2Client", machine: str) -> bool:
    found = ec2.describe_instances(InstanceIds=[machine])["Reservations"][0]["Instances"][0]
    return found["State"]["Name"] == "running"
