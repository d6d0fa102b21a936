"""Deleting for good, keeping for a time, and the sweep: none touches what is another's or is in use."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from activities.errors import NotOurs, NotReadyYet
from activities.models.tags import (
    APP,
    CLUSTER,
    COMPONENT,
    FOR_EVER,
    KEEP_UNTIL,
    has_end,
    kept_until,
)
from activities.models.volumes import DeleteVolumes, KeepVolumes, SweepVolumes, Volume, VolumeState
from activities.volumes import VolumeActivities
from tests.fakes_cloud import FakeCloud
from tests.volumes.running import FakeVolumesOfKubernetes, Runner

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_disk(number: int, **changes: object) -> Volume:
    return Volume(
        id=f"vol-{number}",
        zone="us-east-1a",
        size_gib=20,
        type="gp3",
        state=VolumeState.AVAILABLE,
        tags={CLUSTER: "prod", APP: "shop", COMPONENT: "db"},
    ).model_copy(update=changes)


def delete(*ids: str) -> DeleteVolumes:
    return DeleteVolumes(
        cluster="prod", operation="delete-1", step="db/disks", app="shop", component="db", volumes=list(ids)
    )


def keep(until: datetime | None, *ids: str) -> KeepVolumes:
    return KeepVolumes(
        cluster="prod", operation="delete-1", step="db/keep", volumes=list(ids), keep_until=until
    )


def marked(until: str, number: int = 1, **changes: object) -> Volume:
    disk = a_disk(number)
    return disk.model_copy(update={"tags": disk.tags | {KEEP_UNTIL: until}} | changes)


def test_the_components_disks_are_deleted_for_good(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(a_disk(1))
    cloud.put(a_disk(2))
    cloud.put(a_disk(3))
    run(volumes.delete_volumes, delete("vol-1", "vol-2"))
    assert list(cloud.there) == ["vol-3"]


def test_disks_that_are_gone_already_are_deleted(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    run(volumes.delete_volumes, delete("vol-1"))
    assert "delete_volume" not in cloud.calls


@pytest.mark.parametrize("tags", [{CLUSTER: "other"}, {APP: "blog"}, {COMPONENT: "cache"}])
def test_a_disk_of_another_owner_stops_the_deletion_of_all(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner, tags: dict[str, str]
) -> None:
    cloud.put(a_disk(1))
    cloud.put(a_disk(2, tags=a_disk(2).tags | tags))
    with pytest.raises(NotOurs, match="vol-2"):
        run(volumes.delete_volumes, delete("vol-1", "vol-2"))
    assert sorted(cloud.there) == ["vol-1", "vol-2"]


def test_an_attached_disk_does_not_keep_the_others_from_being_deleted(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(a_disk(1))
    cloud.put(a_disk(2))
    cloud.attach("vol-1", "i-1")
    with pytest.raises(NotReadyYet, match="vol-1 is still attached to i-1"):
        run(volumes.delete_volumes, delete("vol-1", "vol-2"), most=5)
    assert list(cloud.there) == ["vol-1"]


def test_a_kept_disk_says_until_when(volumes: VolumeActivities, cloud: FakeCloud, run: Runner) -> None:
    cloud.put(a_disk(1))
    run(volumes.keep_volumes, keep(NOW, "vol-1"))
    assert cloud.there["vol-1"].tags[KEEP_UNTIL] == "2026-03-01T12:00:00+00:00"


@pytest.mark.parametrize(
    "moment",
    [
        FOR_EVER,
        datetime.max.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=5))),
    ],
    ids=["for-ever", "the-last", "the-last-elsewhere"],
)
def test_a_disk_may_be_kept_to_the_end_of_all_dates(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner, moment: datetime
) -> None:
    cloud.put(a_disk(1))
    run(volumes.keep_volumes, keep(moment, "vol-1"))
    run(volumes.sweep_volumes, SweepVolumes(cluster="prod", now=NOW + timedelta(days=100_000)))
    mark = kept_until(cloud.there["vol-1"].tags)
    assert mark is not None
    assert not has_end(mark)
    run(volumes.keep_volumes, keep(NOW, "vol-1"))
    assert cloud.there["vol-1"].tags[KEEP_UNTIL] == "2026-03-01T12:00:00+00:00"


def test_keeping_again_changes_nothing(volumes: VolumeActivities, cloud: FakeCloud, run: Runner) -> None:
    cloud.put(a_disk(1))
    run(volumes.keep_volumes, keep(NOW, "vol-1"))
    run(volumes.keep_volumes, keep(NOW, "vol-1"))
    assert cloud.calls.count("tag_volumes") == 1


def test_the_mark_is_taken_away_again(volumes: VolumeActivities, cloud: FakeCloud, run: Runner) -> None:
    cloud.put(a_disk(1))
    run(volumes.keep_volumes, keep(NOW, "vol-1"))
    run(volumes.keep_volumes, keep(None, "vol-1", "vol-gone"))
    assert cloud.there["vol-1"].tags == a_disk(1).tags


def test_a_disk_that_somebody_deleted_is_named_and_does_not_hold_up_the_others(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(a_disk(1))
    assert run(volumes.keep_volumes, keep(NOW, "vol-1", "vol-gone")) == ["vol-gone"]
    assert KEEP_UNTIL in cloud.there["vol-1"].tags


def test_a_disk_of_another_cluster_is_not_marked(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(a_disk(1, tags={CLUSTER: "other"}))
    with pytest.raises(NotOurs):
        run(volumes.keep_volumes, keep(NOW, "vol-1"))
    assert KEEP_UNTIL not in cloud.there["vol-1"].tags


def test_the_sweep_deletes_what_was_kept_long_enough(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(marked("2026-03-01T11:59:59+00:00", 1))
    cloud.put(marked("2026-03-01T12:00:01+00:00", 2))
    cloud.put(a_disk(3))
    swept = run(volumes.sweep_volumes, SweepVolumes(cluster="prod", now=NOW))
    assert (swept.deleted, swept.kept) == (["vol-1"], 1)
    assert cloud.deleted == ["vol-1"]


def test_the_sweep_leaves_other_clusters_alone(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(marked("2020-01-01T00:00:00+00:00", tags={CLUSTER: "other", KEEP_UNTIL: "2020-01-01"}))
    run(volumes.sweep_volumes, SweepVolumes(cluster="prod", now=NOW))
    assert cloud.deleted == []


def test_the_sweep_keeps_a_disk_that_is_attached(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(marked("2020-01-01T00:00:00+00:00"))
    cloud.attach("vol-1", "i-1")
    swept = run(volumes.sweep_volumes, SweepVolumes(cluster="prod", now=NOW))
    assert (swept.deleted, swept.kept, cloud.deleted) == ([], 1, [])


def test_the_sweep_keeps_a_disk_that_the_cluster_still_points_at(
    volumes: VolumeActivities, cloud: FakeCloud, kube: FakeVolumesOfKubernetes, run: Runner
) -> None:
    cloud.put(marked("2020-01-01T00:00:00+00:00"))
    kube.handles.append("vol-1")
    run(volumes.sweep_volumes, SweepVolumes(cluster="prod", now=NOW))
    assert cloud.deleted == []


def test_the_sweep_keeps_a_disk_that_was_taken_back_while_it_looked(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(marked("2020-01-01T00:00:00+00:00"))
    cloud.before["get_volume"].append(lambda: cloud.untag_volumes(["vol-1"], [KEEP_UNTIL]))
    run(volumes.sweep_volumes, SweepVolumes(cluster="prod", now=NOW))
    assert cloud.deleted == []


def test_the_sweep_keeps_a_disk_whose_mark_it_cannot_read(
    volumes: VolumeActivities, cloud: FakeCloud, run: Runner
) -> None:
    cloud.put(marked("next tuesday"))
    swept = run(volumes.sweep_volumes, SweepVolumes(cluster="prod", now=NOW + timedelta(days=10_000)))
    assert (swept.kept, cloud.deleted) == (1, [])
