"""The undo of a disk removes it however its creation went, and ends by seeing it gone."""

from datetime import timedelta

import pytest

from activities.errors import NotReadyYet, QuotaExceeded, Unreachable
from activities.models.tags import APP, KEEP_UNTIL
from activities.models.volumes import CreateVolume, DeleteVolume, VolumeState
from activities.volumes import HIDDEN_AT_MOST, LATE_ARRIVAL, VolumeActivities
from tests.fakes_cloud import FakeCloud
from tests.volumes.running import Killed, OneCluster, Runner, raising


@pytest.fixture
def undo() -> DeleteVolume:
    return DeleteVolume(
        cluster="prod",
        app="shop",
        operation="deploy-1",
        step="db/0/disk/data/undo",
        of_step="db/0/disk/data",
    )


def test_the_disk_of_the_step_is_gone_afterwards(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    run(volumes.create_volume, create)
    run(volumes.delete_volume, undo)
    assert cloud.there == {}


def test_other_disks_stay(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    others = [
        run(volumes.create_volume, create.model_copy(update=other)).id
        for other in ({"step": "db/1/disk/data"}, {"operation": "deploy-2"})
    ]
    run(volumes.create_volume, create)
    run(volumes.delete_volume, undo)
    assert sorted(cloud.there) == sorted(others)


def test_a_disk_that_was_never_made_is_looked_for_a_few_seconds_only(
    volumes: VolumeActivities, cloud: FakeCloud, undo: DeleteVolume, run: Runner
) -> None:
    run(volumes.delete_volume, undo)
    assert LATE_ARRIVAL <= run.took <= LATE_ARRIVAL + timedelta(seconds=2)
    assert set(cloud.calls) == {"find_volumes"}


def test_a_disk_that_was_refused_at_once_needs_no_such_wait(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    for tries in (0, 1):
        cloud.before["create_volume"].append(raising(QuotaExceeded("no more disks")))
        with pytest.raises(QuotaExceeded):
            run.once(volumes.create_volume, create.model_copy(update={"tries": tries}))
    run(volumes.delete_volume, undo)
    assert run.took == timedelta()


def test_a_disk_that_was_refused_after_a_lost_answer_is_looked_for(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    cloud.before["create_volume"] += [raising(Unreachable("lost")), raising(QuotaExceeded("no more disks"))]
    with pytest.raises(QuotaExceeded):
        run(volumes.create_volume, create)
    run(volumes.delete_volume, undo)
    assert run.took >= LATE_ARRIVAL


def test_a_disk_that_the_cloud_hides_for_a_minute_is_deleted_when_it_shows(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    cloud.hide_for = 60
    with pytest.raises(NotReadyYet):
        run.once(volumes.create_volume, create)
    run(volumes.delete_volume, undo, most=100)
    assert (cloud.made, cloud.there) == (["vol-0001"], {})
    assert run.took < HIDDEN_AT_MOST


def test_a_disk_that_is_never_shown_is_gone_after_the_longest_that_a_cloud_hides_one(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    cloud.hide_for = 1_000
    with pytest.raises(NotReadyYet):
        run.once(volumes.create_volume, create)
    run(volumes.delete_volume, undo, most=200)
    assert HIDDEN_AT_MOST <= run.took <= HIDDEN_AT_MOST + timedelta(seconds=2)


def test_an_operation_id_that_was_used_before_for_another_app_touches_nothing_of_that(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    theirs = run(volumes.create_volume, create)
    spec = create.spec.model_copy(update={"tags": create.spec.tags | {APP: "blog"}})
    ours = run(volumes.create_volume, create.model_copy(update={"app": "blog", "spec": spec}))
    assert ours.id != theirs.id
    run(volumes.delete_volume, undo.model_copy(update={"app": "blog"}))
    assert list(cloud.there) == [theirs.id]


def test_a_disk_that_was_found_needs_no_such_wait(
    volumes: VolumeActivities, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    run(volumes.create_volume, create)
    run(volumes.delete_volume, undo)
    assert run.took < LATE_ARRIVAL


@pytest.mark.parametrize("looks", range(4))
def test_a_create_that_was_still_on_its_way_is_not_missed(
    volumes: VolumeActivities,
    cloud: FakeCloud,
    create: CreateVolume,
    undo: DeleteVolume,
    run: Runner,
    looks: int,
) -> None:
    cloud.arrives_after = looks
    with pytest.raises(Unreachable):
        run.once(volumes.create_volume, create)
    run(volumes.delete_volume, undo)
    assert cloud.made == ["vol-0001"]
    assert cloud.there == {}


def test_a_disk_that_is_shown_late_is_not_missed(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    cloud.hide_for = 3
    with pytest.raises(NotReadyYet):
        run.once(volumes.create_volume, create)
    run(volumes.delete_volume, undo)
    assert (cloud.made, cloud.there) == (["vol-0001"], {})


@pytest.mark.parametrize("error", [Unreachable("lost"), Killed()], ids=repr)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["find_volumes", "delete_volume", "get_volume"])
def test_whatever_is_lost_or_killed_the_disk_is_gone_afterwards(
    volumes: VolumeActivities,
    cloud: FakeCloud,
    kube: object,
    create: CreateVolume,
    undo: DeleteVolume,
    run: Runner,
    call: str,
    when: str,
    error: BaseException,
) -> None:
    run(volumes.create_volume, create)
    getattr(cloud, when)[call].append(raising(error))
    try:
        run(volumes.delete_volume, undo)
    except Killed:
        # The next worker knows nothing of what the last one saw.
        run(VolumeActivities(OneCluster(cloud, kube)).delete_volume, undo)
    assert cloud.there == {}


def test_an_attached_disk_is_waited_for_and_then_deleted(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    disk = run(volumes.create_volume, create)
    cloud.attach(disk.id, "i-0abc")
    with pytest.raises(NotReadyYet, match=f"{disk.id} is still attached to i-0abc"):
        run(volumes.delete_volume, undo, most=3)
    assert cloud.there[disk.id].state is VolumeState.IN_USE
    cloud.detach(disk.id)
    run(volumes.delete_volume, undo)
    assert cloud.there == {}


def test_a_disk_that_is_still_being_made_is_deleted_as_soon_as_that_is_allowed(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    with pytest.raises(NotReadyYet):
        run.once(volumes.create_volume, create)
    cloud.before["delete_volume"] += [raising(NotReadyYet("it is in the creating state"))] * 2
    run(volumes.delete_volume, undo)
    assert cloud.there == {}


def test_a_disk_in_the_error_state_is_deleted(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    cloud.become = VolumeState.FAILED
    with pytest.raises(Exception, match="error state"):
        run(volumes.create_volume, create)
    run(volumes.delete_volume, undo)
    assert cloud.there == {}


def test_every_disk_of_the_step_is_deleted_even_if_the_token_was_not_honoured(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    disk = run(volumes.create_volume, create)
    cloud.put(disk.model_copy(update={"id": "vol-twin"}))
    run(volumes.delete_volume, undo)
    assert cloud.there == {}


def test_a_disk_that_is_kept_is_never_deleted_by_an_undo(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    kept = run(volumes.create_volume, create)
    cloud.tag_volumes([kept.id], {KEEP_UNTIL: "2026-03-08T00:00:00+00:00"})
    cloud.put(kept.model_copy(update={"id": "vol-ours"}))
    run(volumes.delete_volume, undo)
    assert (list(cloud.there), cloud.deleted) == ([kept.id], ["vol-ours"])


def test_undoing_twice_is_fine(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, undo: DeleteVolume, run: Runner
) -> None:
    run(volumes.create_volume, create)
    run(volumes.delete_volume, undo)
    run(volumes.delete_volume, undo)
    assert cloud.deleted == ["vol-0001"]
