"""VolumeActivities over the real adapter: lost replies, hidden disks and full quotas end in one disk, and its
undo in none."""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.clouds.aws import AwsCloud
from activities.errors import CameToFail, QuotaExceeded, SupergiantError, Transient
from activities.idempotency import key_tags
from activities.models.tags import APP, CLUSTER, COMPONENT
from activities.models.volumes import (
    CreateVolume,
    DeleteVolume,
    DeleteVolumes,
    KeepVolumes,
    Volume,
    VolumeSpec,
    VolumeState,
)
from activities.volumes import VolumeActivities
from tests.clouds.simulator import SimulatedAws
from tests.volumes.running import OneCluster, Runner

STEP = "db/0/disk/data"


@pytest.fixture
def volumes(cloud: AwsCloud) -> VolumeActivities:
    return VolumeActivities(OneCluster(cloud, None))


@pytest.fixture
def create() -> CreateVolume:
    tags = {CLUSTER: "prod", APP: "shop", COMPONENT: "db"}
    return CreateVolume(
        cluster="prod",
        app="shop",
        operation=f"deploy-{uuid.uuid4().hex[:8]}",
        step=STEP,
        spec=VolumeSpec(zone="us-east-1a", size_gib=20, type="gp3", tags=tags),
    )


def run(activity: Callable[[Any], Any], request: Any) -> Any:
    """As the server would, at the simulator's speed: a hundred times as fast."""
    took_seconds = 0.0
    for attempt in range(1, 200):
        try:
            return Runner.once(activity, request, since_seconds=took_seconds, attempt=attempt)
        except Transient as error:
            wait_seconds = error.retry_after.total_seconds() if error.retry_after else 1.0
            took_seconds += wait_seconds
            time.sleep(wait_seconds / 100)
    raise AssertionError("it did not come to an end")


def undo_of(request: CreateVolume) -> DeleteVolume:
    return DeleteVolume(
        cluster="prod",
        app="shop",
        operation=request.operation,
        step=f"{request.step}/undo",
        of_step=request.step,
    )


def disks_of(cloud: AwsCloud, request: CreateVolume) -> list[Volume]:
    return cloud.find_volumes(key_tags(request))


FAULTS = [
    {"effect": "throttle"},
    {"effect": "drop-before"},
    {"effect": "drop-after"},
    {"effect": "error", "code": "InternalError", "status": 500},
    {"effect": "error", "code": "Unavailable", "status": 503},
]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("action", ["CreateVolume", "DescribeVolumes"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.get("code", fault["effect"]))
def test_one_disk_is_made_and_it_is_the_one_returned(
    aws: SimulatedAws,
    cloud: AwsCloud,
    volumes: VolumeActivities,
    create: CreateVolume,
    fault: dict[str, Any],
    action: str,
    nth: int,
) -> None:
    aws.admin.add_fault(action=action, nth=nth, **fault)
    disk = run(volumes.create_volume, create)
    assert disk.state is VolumeState.AVAILABLE
    assert [found.id for found in disks_of(cloud, create)] == [disk.id]


@pytest.mark.parametrize("action", ["DeleteVolume", "DescribeVolumes"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.get("code", fault["effect"]))
def test_the_undo_leaves_nothing(
    aws: SimulatedAws,
    cloud: AwsCloud,
    volumes: VolumeActivities,
    create: CreateVolume,
    fault: dict[str, Any],
    action: str,
) -> None:
    run(volumes.create_volume, create)
    aws.admin.add_fault(action=action, **fault)
    run(volumes.delete_volume, undo_of(create))
    assert disks_of(cloud, create) == []


def test_the_undo_of_a_create_whose_reply_was_lost_leaves_nothing(
    aws: SimulatedAws, cloud: AwsCloud, volumes: VolumeActivities, create: CreateVolume
) -> None:
    aws.admin.add_fault("drop-after", "CreateVolume")
    with pytest.raises(SupergiantError):
        Runner.once(volumes.create_volume, create)
    run(volumes.delete_volume, undo_of(create))
    assert disks_of(cloud, create) == []


def test_a_disk_that_aws_does_not_show_for_a_minute_is_made_once(
    aws: SimulatedAws, cloud: AwsCloud, volumes: VolumeActivities, create: CreateVolume
) -> None:
    aws.admin.set_limits(not_found_seconds=60)
    disk = run(volumes.create_volume, create)
    assert [found.id for found in disks_of(cloud, create)] == [disk.id]


def test_four_workers_at_once_make_one_disk(
    cloud: AwsCloud, volumes: VolumeActivities, create: CreateVolume
) -> None:
    got: list[Volume] = []
    workers = [
        threading.Thread(target=lambda: got.append(run(volumes.create_volume, create))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [disk.id for disk in disks_of(cloud, create)] == [got[0].id]
    assert len({disk.id for disk in got}) == 1
    assert len(got) == 4


def test_a_full_quota_parks_and_a_retry_goes_on(
    aws: SimulatedAws, cloud: AwsCloud, volumes: VolumeActivities, create: CreateVolume
) -> None:
    aws.admin.set_limits(max_volumes=0)
    with pytest.raises(QuotaExceeded):
        run(volumes.create_volume, create)
    aws.admin.set_limits(max_volumes=5000)
    disk = run(volumes.create_volume, create.model_copy(update={"tries": 1}))
    assert [found.id for found in disks_of(cloud, create)] == [disk.id]


def test_a_full_quota_after_a_lost_reply_is_no_failure(
    aws: SimulatedAws, cloud: AwsCloud, volumes: VolumeActivities, create: CreateVolume
) -> None:
    # The first reply is lost; when the step runs again the account is full, and that includes our own disk.
    aws.admin.add_fault("drop-after", "CreateVolume")
    with pytest.raises(SupergiantError):
        Runner.once(volumes.create_volume, create)
    aws.admin.set_limits(max_volumes=0)
    assert run(volumes.create_volume, create).id == disks_of(cloud, create)[0].id


def test_a_disk_that_somebody_deleted_while_it_was_made_parks_and_a_retry_makes_another(
    aws: SimulatedAws, cloud: AwsCloud, volumes: VolumeActivities, create: CreateVolume
) -> None:
    first = run(volumes.create_volume, create)
    cloud.delete_volume(first.id)
    # While AWS shows the disk as being deleted, or long after: an answer older than what AWS may hide.
    with pytest.raises(CameToFail):
        run(volumes.create_volume, create)
    second = run(volumes.create_volume, create.model_copy(update={"tries": 1}))
    assert second.id != first.id


def test_disks_are_kept_and_then_deleted_for_good(
    aws: SimulatedAws, cloud: AwsCloud, volumes: VolumeActivities, create: CreateVolume
) -> None:
    disk = run(volumes.create_volume, create)
    step = {"cluster": "prod", "operation": "delete-1", "step": "db/disks"}
    aws.admin.add_fault("drop-after", "CreateTags")
    run(
        volumes.keep_volumes,
        KeepVolumes(**step, volumes=[disk.id], keep_until=datetime(2031, 1, 1, tzinfo=UTC)),
    )
    aws.admin.add_fault("drop-after", "DeleteTags")
    run(volumes.keep_volumes, KeepVolumes(**step, volumes=[disk.id], keep_until=None))
    assert disks_of(cloud, create)[0].tags == disk.tags
    aws.admin.add_fault("drop-after", "DeleteVolume")
    run(volumes.delete_volumes, DeleteVolumes(**step, app="shop", component="db", volumes=[disk.id]))
    assert disks_of(cloud, create) == []
