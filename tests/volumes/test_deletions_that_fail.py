"""A deletion that fails for good says whether it is known that every disk is still there."""

from collections.abc import Callable

import pytest

from activities.errors import AccessDenied, Permanent, Unreachable
from activities.models.tags import APP, CLUSTER, COMPONENT
from activities.models.volumes import DeleteVolumes, Volume, VolumeState
from activities.volumes import VolumeActivities
from tests.fakes_cloud import FakeCloud
from tests.volumes.running import OneCluster, Runner, raising

REFUSED = raising(AccessDenied("you may not delete"))
DISKS = ("vol-1", "vol-2")


@pytest.fixture(autouse=True)
def disks(cloud: FakeCloud) -> None:
    for disk in DISKS:
        cloud.put(
            Volume(
                id=disk,
                zone="us-east-1a",
                size_gib=20,
                type="gp3",
                state=VolumeState.AVAILABLE,
                tags={CLUSTER: "prod", APP: "shop", COMPONENT: "db"},
            )
        )


def untouched(volumes: VolumeActivities, run: Runner, **changes: object) -> bool:
    request = DeleteVolumes(
        cluster="prod",
        operation="delete-1",
        step="db/disks",
        app="shop",
        component="db",
        volumes=list(DISKS),
    )
    with pytest.raises(Permanent) as failure:
        run(volumes.delete_volumes, request.model_copy(update=changes))
    return failure.value.untouched


def nothing() -> None:
    pass


def test_a_refusal_of_the_first_has_touched_nothing(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.before["delete_volume"].append(REFUSED)
    assert untouched(volumes, run)


def test_a_disk_of_another_owner_has_touched_nothing(volumes: VolumeActivities, run: Runner) -> None:
    assert untouched(volumes, run, component="cache")


def test_a_refusal_of_the_second_comes_too_late(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.before["delete_volume"] += [nothing, REFUSED]
    assert not untouched(volumes, run)


def test_a_deletion_that_the_cloud_does_not_show_yet_counts_all_the_same(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    before = dict(cloud.there)

    def show_the_old() -> None:
        for disk in before.values():
            cloud.put(disk)
        raise AccessDenied("you may not delete")

    cloud.before["delete_volume"] += [nothing, show_the_old]
    assert not untouched(volumes, run)


def test_a_lost_reply_is_found_out_by_looking(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.after["delete_volume"].append(raising(Unreachable("the reply was lost")))
    cloud.before["delete_volume"] += [nothing, REFUSED]
    assert not untouched(volumes, run)


def test_a_request_that_never_arrived_is_found_out_by_looking(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.before["delete_volume"] += [raising(Unreachable("it never arrived")), REFUSED]
    assert untouched(volumes, run)


@pytest.mark.parametrize("gone", DISKS)
def test_what_was_gone_before_is_not_called_untouched(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner, gone: str
) -> None:
    del cloud._disks[gone]
    cloud.before["delete_volume"].append(REFUSED)
    assert not untouched(volumes, run)


def test_when_nobody_can_look_nothing_is_claimed(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    refused: list[Callable[[], None]] = [raising(AccessDenied("the credentials have ended"))]
    cloud.before["delete_volume"] += refused
    cloud.before["get_volume"] += [nothing, nothing, *refused]
    assert not untouched(volumes, run)


def test_another_worker_sees_what_the_first_has_done(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner, kube: object
) -> None:
    cloud.before["delete_volume"] += [nothing, REFUSED, REFUSED]
    untouched(volumes, run)
    assert not untouched(VolumeActivities(OneCluster(cloud, kube)), run)
