"""A disk is made once, whatever is lost, hidden or killed on the way."""

import threading
from datetime import datetime
from typing import Any

import pytest

from activities.errors import (
    AccessDenied,
    CameToFail,
    Conflict,
    InvalidSpec,
    NotOurs,
    NotReadyYet,
    QuotaExceeded,
    Throttled,
    Unreachable,
)
from activities.idempotency import token
from activities.models.tags import KEEP_UNTIL, OPERATION, STEP
from activities.models.volumes import CreateVolume, VolumeState
from activities.volumes import VolumeActivities
from tests.fakes_cloud import FakeCloud
from tests.volumes.running import Killed, Runner, raising


def test_the_disk_is_returned_when_it_can_be_attached(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    disk = run(volumes.create_volume, create)
    assert disk.state is VolumeState.AVAILABLE
    assert (disk.zone, disk.size_gib, disk.type) == ("us-east-1a", 20, "gp3")
    assert cloud.made == [disk.id]


def test_it_carries_the_operation_and_the_step_besides_the_planned_tags(
    volumes: VolumeActivities, create: CreateVolume, run: Runner
) -> None:
    disk = run(volumes.create_volume, create)
    assert disk.tags == create.spec.tags | {OPERATION: "deploy-1", STEP: "db/0/disk/data"}


def test_asking_again_gives_the_same_disk_without_another_request(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    first = run(volumes.create_volume, create)
    cloud.calls.clear()
    assert run(volumes.create_volume, create) == first
    assert cloud.calls == ["find_volumes"]


def test_steps_and_operations_and_clusters_have_tokens_of_their_own(create: CreateVolume) -> None:
    others = [
        create,
        create.model_copy(update={"step": "db/1/disk/data"}),
        create.model_copy(update={"operation": "deploy-2"}),
        create.model_copy(update={"cluster": "test"}),
    ]
    tokens = {token(request) for request in others} | {token(create, 1)}
    assert len(tokens) == 5
    assert all(len(text) == 64 and text.isascii() for text in tokens)


def test_the_tries_of_a_person_do_not_change_the_first_token(create: CreateVolume) -> None:
    assert token(create.model_copy(update={"tries": 3})) == token(create)


@pytest.mark.parametrize("error", [Unreachable("lost"), Throttled("slow down"), Killed()], ids=repr)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["find_volumes", "create_volume"])
def test_whatever_is_lost_or_killed_one_disk_is_made(
    volumes: VolumeActivities,
    cloud: FakeCloud,
    create: CreateVolume,
    run: Runner,
    call: str,
    when: str,
    error: BaseException,
) -> None:
    getattr(cloud, when)[call].append(raising(error))
    try:
        disk = run(volumes.create_volume, create)
    except Killed:
        disk = run(volumes.create_volume, create)
    assert disk.state is VolumeState.AVAILABLE
    assert cloud.made == [disk.id]


def test_a_disk_that_is_hidden_for_a_while_is_not_made_twice(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.hide_for = 12
    cloud.after["create_volume"].append(raising(Unreachable("lost")))
    disk = run(volumes.create_volume, create)
    assert cloud.made == [disk.id]


def test_two_workers_at_once_make_one_disk(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume
) -> None:
    both_have_looked = threading.Barrier(2, timeout=10)

    def wait_for_the_other() -> None:
        both_have_looked.wait()

    cloud.before["create_volume"] += [wait_for_the_other] * 2
    got: list[Any] = []
    workers = [
        threading.Thread(target=lambda: got.append(Runner()(volumes.create_volume, create))) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(cloud.made) == 1
    assert [disk.id for disk in got] == cloud.made * 2


def test_a_full_quota_parks_the_step(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.before["create_volume"].append(raising(QuotaExceeded("VolumeLimitExceeded")))
    with pytest.raises(QuotaExceeded):
        run(volumes.create_volume, create)
    assert cloud.made == []


def test_a_full_quota_is_no_failure_if_the_disk_was_made_all_the_same(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.after["create_volume"].append(raising(QuotaExceeded("VolumeLimitExceeded")))
    disk = run(volumes.create_volume, create)
    assert cloud.made == [disk.id]
    assert cloud.calls.count("create_volume") == 1


def test_a_retry_after_a_full_quota_takes_the_disk_that_was_hidden_then(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.hide_for = 4
    cloud.after["create_volume"].append(raising(QuotaExceeded("VolumeLimitExceeded")))
    with pytest.raises(QuotaExceeded):
        run(volumes.create_volume, create)
    disk = run(volumes.create_volume, create.model_copy(update={"tries": 1}))
    assert cloud.made == [disk.id]


def test_a_request_that_is_still_under_way_is_waited_for(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.before["create_volume"] += [raising(Conflict("in flight"))] * 3
    disk = run(volumes.create_volume, create)
    assert cloud.made == [disk.id]
    assert run.attempts >= 4


def test_a_token_that_stays_taken_parks_and_a_retry_takes_the_next_one(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    other = create.spec.model_copy(update={"size_gib": 99, "tags": {}})
    cloud.create_volume(token(create), other)
    with pytest.raises(CameToFail):
        run(volumes.create_volume, create, most=500)
    disk = run(volumes.create_volume, create.model_copy(update={"tries": 1}), most=500)
    assert disk.size_gib == 20


def test_a_disk_in_the_error_state_parks_the_step_and_is_left_to_look_at(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.become = VolumeState.FAILED
    with pytest.raises(CameToFail, match="vol-0001 went to the error state"):
        run(volumes.create_volume, create)
    assert list(cloud.there) == ["vol-0001"]


def test_a_retry_replaces_the_disk_that_failed(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.become = VolumeState.FAILED
    with pytest.raises(CameToFail):
        run(volumes.create_volume, create)
    cloud.become = VolumeState.AVAILABLE
    disk = run(volumes.create_volume, create.model_copy(update={"tries": 1}))
    assert (disk.id, disk.state) == ("vol-0002", VolumeState.AVAILABLE)
    assert list(cloud.there) == ["vol-0002"]


def test_a_retry_whose_disk_fails_too_parks_again_and_does_not_go_on_for_ever(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.become = VolumeState.FAILED
    for tries in range(3):
        with pytest.raises(CameToFail):
            run(volumes.create_volume, create.model_copy(update={"tries": tries}))
    assert cloud.made == ["vol-0001", "vol-0002", "vol-0003"]
    assert list(cloud.there) == ["vol-0003"]


def test_a_disk_that_vanishes_after_its_creation_parks_and_a_retry_makes_a_new_one(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner, long_ago: Any
) -> None:
    cloud.become, cloud.made_at = None, long_ago
    with pytest.raises(CameToFail, match="gone again"):
        run(volumes.create_volume, create)
    cloud.become = VolumeState.AVAILABLE
    disk = run(volumes.create_volume, create.model_copy(update={"tries": 1}))
    assert (disk.id, cloud.made) == ("vol-0002", ["vol-0001", "vol-0002"])


def test_a_disk_that_is_not_shown_yet_is_not_taken_for_gone(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    cloud.hide_for = 1_000
    with pytest.raises(NotReadyYet, match="vol-0001 is being created"):
        run(volumes.create_volume, create, most=20)


def test_a_disk_that_was_attached_meanwhile_is_the_steps_result_still(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    disk = run(volumes.create_volume, create)
    cloud.attach(disk.id, "i-1")
    assert run(volumes.create_volume, create).machine == "i-1"


def test_a_disk_that_is_kept_from_an_earlier_use_of_the_operation_id_is_not_taken(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner
) -> None:
    earlier = run(volumes.create_volume, create)
    cloud.tag_volumes([earlier.id], {KEEP_UNTIL: "2026-03-08T00:00:00+00:00"})
    with pytest.raises(NotOurs, match="operation id deploy-1 was used before") as refused:
        run(volumes.create_volume, create)
    assert "another --id" in refused.value.help
    assert (run.attempts, cloud.made) == (1, [earlier.id])


@pytest.mark.parametrize("error", [QuotaExceeded("full"), Conflict("in flight")], ids=repr)
def test_a_kept_disk_that_is_only_seen_after_a_refusal_is_not_taken_either(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner, error: Exception
) -> None:
    earlier = run(volumes.create_volume, create)
    cloud.tag_volumes([earlier.id], {KEEP_UNTIL: "2026-03-08T00:00:00+00:00"})
    hidden = cloud.there[earlier.id].tags
    cloud.untag_volumes([earlier.id], [OPERATION])

    def show_and_refuse() -> None:
        cloud.tag_volumes([earlier.id], hidden)
        raise error

    cloud.before["create_volume"].append(show_and_refuse)
    with pytest.raises(NotOurs, match="was used before"):
        run(volumes.create_volume, create)


def test_a_kept_disk_that_only_its_token_remembers_is_not_taken_either(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner, long_ago: datetime
) -> None:
    cloud.made_at = long_ago
    earlier = run(volumes.create_volume, create)
    cloud.untag_volumes([earlier.id], [OPERATION])
    cloud.tag_volumes([earlier.id], {KEEP_UNTIL: "2026-03-08T00:00:00+00:00"})
    with pytest.raises(NotOurs, match="was used before"):
        run(volumes.create_volume, create)


@pytest.mark.parametrize("error", [InvalidSpec("no such zone"), AccessDenied("no")], ids=repr)
def test_what_no_retry_can_mend_is_handed_on(
    volumes: VolumeActivities, cloud: FakeCloud, create: CreateVolume, run: Runner, error: Exception
) -> None:
    cloud.before["create_volume"].append(raising(error))
    with pytest.raises(type(error)):
        run(volumes.create_volume, create)
    assert run.attempts == 1


def test_an_unknown_cluster_is_refused(volumes: VolumeActivities, create: CreateVolume, run: Runner) -> None:
    with pytest.raises(InvalidSpec, match="known: prod"):
        run(volumes.create_volume, create.model_copy(update={"cluster": "elsewhere"}))
