"""Cloud disks: made once, found by their tags, kept for a time and deleted; called by the deploy and delete
workflows and by the sweep.

A disk's life under one step. Only what a look-up shows counts as made, and only what none shows as gone:

    look up by tags ──► there, usable ──► done
      │ nothing          │ being created ──► not ready yet
      ▼                  └ failed ──► parked; a person's retry deletes it and begins the next generation
    create with the generation's token ──► not ready yet
"""

import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.clients import Clusters
from activities.clouds.base import Cloud
from activities.errors import (
    CameToFail,
    Conflict,
    NotOurs,
    NotReadyYet,
    Permanent,
    QuotaExceeded,
    SupergiantError,
)
from activities.idempotency import check_time_to_act, generation_of, key_tags, pace, token, try_tag, waited
from activities.models.common import AppRequest
from activities.models.tags import APP, CLUSTER, COMPONENT, FOR_EVER, KEEP_UNTIL
from activities.models.volumes import (
    CreateVolume,
    DeleteVolume,
    DeleteVolumes,
    KeepVolumes,
    SweepVolumes,
    SweptVolumes,
    Volume,
    VolumeState,
)

log = logging.getLogger(__name__)

#: A disk takes one to four seconds to be made (EBS: median 1.5 s), so looking sooner is a call wasted.
FIRST_LOOK = timedelta(seconds=0.9)

#: How long a cloud may hide what it has just made: AWS asks for minutes of patience with a new id. What is
#: still not shown after this is gone.
HIDDEN_AT_MOST = timedelta(minutes=2)

#: How long an undo that finds nothing, and knows of nothing that was made, goes on looking, counted from when it
#: was asked for. It guards against a create that was on its way when its worker died: a request lasts 23 s at
#: most (3 s to connect, 20 s to be answered), and what it made is mostly shown within seconds. Refused: claiming
#: the token by creating the disk only to delete it, which costs money and fails over quota.
LATE_ARRIVAL = timedelta(seconds=30)

#: Cluster, app, operation and step.
Key = tuple[str, str, str, str]

_ALIVE = (VolumeState.CREATING, VolumeState.AVAILABLE, VolumeState.IN_USE)


class VolumeActivities:
    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters
        # Undos of this process that saw their disk: a hint that saves the wait for a late one, and no more.
        self._seen: set[Key] = set()
        # What this process was told that a step has made: an undo waits for that to be shown.
        self._made: dict[Key, str] = {}
        # Steps of this process that were refused at the first attempt, so that nothing is on its way.
        self._refused: set[Key] = set()
        # Deletions of this process that the cloud has accepted, which its look-up may be slow to show.
        self._begun: set[tuple[str, str, str]] = set()

    @activity.defn(name="create-volume", no_thread_cancel_exception=True)
    def create_volume(self, request: CreateVolume) -> Volume:
        """The one disk of this step, made if need be, once it can be attached."""
        cloud = self._clusters.get(request.cluster).cloud
        key, first_attempt = _key(request, request.step), activity.info().attempt == 1
        # Until it is refused again, nobody knows.
        known_to_be_refused = key in self._refused or not request.tries
        self._refused.discard(key)
        try:
            volume = self._create(cloud, request, key)
        except Permanent:
            if first_attempt and known_to_be_refused and key not in self._made:
                self._refused.add(key)
            raise
        # It is shown, so an undo will find it.
        self._made.pop(key, None)
        return volume

    def _create(self, cloud: Cloud, request: CreateVolume, key: Key) -> Volume:
        found = _made_by(cloud, request)
        if alive := _alive(found):
            return _usable(alive)
        _replace_failed(cloud, request, found)
        # What was found is dead, and a generation only began when those before it were.
        first = max((generation_of(volume.tags) + 1 for volume in found), default=0)
        for generation in range(first, request.tries + 1):
            if volume := _made(cloud, request, generation, lambda made: self._made.update({key: made})):
                return _usable(volume)
        raise CameToFail(
            f"the disk of step {request.step} was made and is gone again",
            help="Find out who deleted it, or why its encryption key is refused; a retry makes a new one.",
        )

    @activity.defn(name="delete-volume", no_thread_cancel_exception=True)
    def delete_volume(self, request: DeleteVolume) -> None:
        """Undo of `create_volume`: no disk of that step is left, nor one on its way. One that is kept was made
        by another operation of the same id, and stays."""
        cloud = self._clusters.get(request.cluster).cloud
        key = _key(request, request.of_step)
        found = cloud.find_volumes(key_tags(request, request.of_step))
        if going := [disk for disk in found if KEEP_UNTIL not in disk.tags]:
            self._seen.add(key)
            _delete(cloud, going)
        elif key not in self._seen and key not in self._refused:
            made = self._made.get(key)
            if waited() < (HIDDEN_AT_MOST if made else LATE_ARRIVAL):
                what = (
                    f"disk {made} was made, and is not shown yet"
                    if made
                    else "it may be that a disk is on its way"
                )
                raise NotReadyYet(what, retry_after=timedelta(seconds=1))
        self._seen.discard(key)
        self._refused.discard(key)
        self._made.pop(key, None)

    @activity.defn(name="delete-volumes", no_thread_cancel_exception=True)
    def delete_volumes(self, request: DeleteVolumes) -> None:
        """Delete a component's disks for good; none is touched unless all are the component's. What fails for
        good says whether all of them are still there."""
        cloud = self._clusters.get(request.cluster).cloud
        owner = {CLUSTER: request.cluster, APP: request.app, COMPONENT: request.component}
        key = (request.cluster, request.operation, request.step)
        try:
            disks = _present(cloud, request.volumes)
            for disk in disks:
                _check_owner(disk, owner)
            _delete(cloud, disks, deleted=lambda: self._begun.add(key))
        except Permanent as error:
            error.untouched = key not in self._begun and _all_there(cloud, request.volumes)
            raise
        self._begun.discard(key)

    @activity.defn(name="keep-volumes", no_thread_cancel_exception=True)
    def keep_volumes(self, request: KeepVolumes) -> list[str]:
        """Write until when disks are kept, or take the mark away; the ids of those that are gone. Who deleted one by
        hand cannot be helped here, and the others are kept all the same."""
        cloud = self._clusters.get(request.cluster).cloud
        disks = _present(cloud, request.volumes)
        for disk in disks:
            _check_owner(disk, {CLUSTER: request.cluster})
        gone = sorted(set(request.volumes) - {disk.id for disk in disks})
        mark = _time(request.keep_until) if request.keep_until else None
        if not (wrong := [disk.id for disk in disks if disk.tags.get(KEEP_UNTIL) != mark]):
            return gone
        check_time_to_act()
        if mark:
            cloud.tag_volumes(wrong, {KEEP_UNTIL: mark})
        else:
            cloud.untag_volumes(wrong, [KEEP_UNTIL])
        if any(disk.tags.get(KEEP_UNTIL) != mark for disk in _present(cloud, wrong)):
            raise NotReadyYet("the cloud does not show the new tags yet", retry_after=pace())
        return gone

    @activity.defn(name="sweep-volumes", no_thread_cancel_exception=True)
    def sweep_volumes(self, request: SweepVolumes) -> SweptVolumes:
        """Delete the disks whose retention has ended. A disk that anything still points at is kept."""
        clients = self._clusters.get(request.cluster)
        marked = [d for d in clients.cloud.find_volumes({CLUSTER: request.cluster}) if KEEP_UNTIL in d.tags]
        if not marked:
            return SweptVolumes(deleted=[], kept=0)
        bound = {
            volume.get("spec", {}).get("csi", {}).get("volumeHandle")
            for volume in clients.kube.list("PersistentVolume")
        }
        deleted = []
        for disk in marked:
            if disk.id in bound or not _swept(clients.cloud, disk, request.now):
                continue
            deleted.append(disk.id)
            log.info(
                "deleted disk %s (%s), kept until %s", disk.id, disk.tags.get(APP), disk.tags[KEEP_UNTIL]
            )
        return SweptVolumes(deleted=deleted, kept=len(marked) - len(deleted))


def _key(request: AppRequest, step: str) -> Key:
    return request.cluster, request.app, request.operation, step


def _made_by(cloud: Cloud, request: CreateVolume) -> list[Volume]:
    """The disks of the step. One that is kept holds somebody's data: it was made under the same operation id,
    used again after Temporal had forgotten it."""
    found = cloud.find_volumes(key_tags(request))
    for volume in found:
        _refuse_kept(volume, request)
    return found


def _refuse_kept(volume: Volume, request: CreateVolume) -> None:
    if KEEP_UNTIL in volume.tags:
        raise NotOurs(
            f"operation id {request.operation} was used before, and disk {volume.id} is kept from then",
            help="Cancel this operation, and ask again with another --id.",
        )


def _alive(volumes: list[Volume]) -> Volume | None:
    alive = [volume for volume in volumes if volume.state in _ALIVE]
    if len(alive) > 1:
        # The token forbids it. Should a cloud break that: all take the oldest, the undo removes every one.
        log.error("one step made several disks: %s", ", ".join(volume.id for volume in alive))
    return alive[0] if alive else None


def _usable(volume: Volume) -> Volume:
    if volume.state is VolumeState.CREATING:
        raise NotReadyYet(f"disk {volume.id} is being created", retry_after=pace())
    return volume


def _replace_failed(cloud: Cloud, request: CreateVolume, found: list[Volume]) -> None:
    """Make way for the next generation, if a person has asked for one since the disk failed."""
    failed = [volume for volume in found if volume.state is VolumeState.FAILED]
    for volume in failed:
        if generation_of(volume.tags) >= request.tries:
            raise CameToFail(
                f"disk {volume.id} went to the error state after it was created",
                help="Usually its encryption key cannot be used; mend that, and a retry replaces the disk.",
            )
    for volume in failed:
        check_time_to_act()
        cloud.delete_volume(volume.id)


def _made(cloud: Cloud, request: CreateVolume, generation: int, told: Callable[[str], None]) -> Volume | None:
    """Create with the generation's token; `told` hears the id. None: what the token made is dead, so the token is
    spent."""
    check_time_to_act()
    tags = request.spec.tags | key_tags(request) | try_tag(generation)
    spec = request.spec.model_copy(update={"tags": tags})
    try:
        volume = cloud.create_volume(token(request, generation), spec)
    except QuotaExceeded:
        # Over quota the token is not honoured: this may be the answer to a disk that we have already.
        if earlier := _alive(_made_by(cloud, request)):
            return earlier
        raise
    except Conflict:
        # An earlier request with the token is under way, unless it stays so: then the token was spent on a
        # disk of another description, which only happens when an operation id is used twice.
        if earlier := _alive(_made_by(cloud, request)):
            return earlier
        if waited() < HIDDEN_AT_MOST:
            raise
        return None
    told(volume.id)
    if volume.created_at is None or datetime.now(UTC) - volume.created_at < HIDDEN_AT_MOST:
        raise NotReadyYet(f"disk {volume.id} is being created", retry_after=max(FIRST_LOOK, pace()))
    # The token's old answer, and the look-up did not show the disk.
    shown = cloud.get_volume(volume.id)
    if shown:
        _refuse_kept(shown, request)
    return shown if shown and shown.state in _ALIVE else None


def _delete(cloud: Cloud, disks: list[Volume], deleted: Callable[[], None] = lambda: None) -> None:
    """Delete and see them gone; `deleted` is called for each deletion that the cloud accepts."""
    for disk in disks:
        if disk.state is not VolumeState.DELETING and not disk.machine:
            check_time_to_act()
            # Refused while it is being made, or if it was attached since: the next attempt asks again.
            with contextlib.suppress(NotReadyYet):
                cloud.delete_volume(disk.id)
                deleted()
    if left := _present(cloud, [disk.id for disk in disks]):
        raise NotReadyYet("; ".join(_why_there(disk) for disk in left), retry_after=pace())


def _why_there(disk: Volume) -> str:
    if disk.machine:
        return f"disk {disk.id} is still attached to {disk.machine}"
    if disk.state is VolumeState.CREATING:
        return f"disk {disk.id} is being created, and will be deleted when it is there"
    return f"disk {disk.id} is being deleted"


def _present(cloud: Cloud, volume_ids: Iterable[str]) -> list[Volume]:
    return [volume for volume_id in volume_ids if (volume := cloud.get_volume(volume_id))]


def _all_there(cloud: Cloud, volume_ids: list[str]) -> bool:
    try:
        disks = _present(cloud, volume_ids)
    except SupergiantError:
        return False  # nobody knows
    return len(disks) == len(volume_ids) and all(disk.state is not VolumeState.DELETING for disk in disks)


def _check_owner(disk: Volume, owner: dict[str, str]) -> None:
    for key, value in owner.items():
        if disk.tags.get(key) != value:
            raise NotOurs(
                f"disk {disk.id} has {key}={disk.tags.get(key, '')!r}, not {value!r}; it was not touched",
                help="Give the disk its tag back if it belongs here, or delete it by hand.",
            )


def _time(moment: datetime) -> str:
    try:
        return moment.astimezone(UTC).isoformat(timespec="seconds")
    except OverflowError:
        # The last hours of the year 9999 have no counterpart in every other time zone.
        return FOR_EVER.isoformat(timespec="seconds")


def _swept(cloud: Cloud, marked: Volume, now: datetime) -> bool:
    """Delete one disk if its time is over, after looking at it again: somebody may have taken it back."""
    if not _over(marked, now):
        return False
    disk = cloud.get_volume(marked.id)
    if disk is None or disk.state is VolumeState.DELETING:
        return True
    if disk.state is VolumeState.IN_USE or disk.machine or not _over(disk, now):
        return False
    check_time_to_act()
    cloud.delete_volume(disk.id)
    return True


def _over(disk: Volume, now: datetime) -> bool:
    mark = disk.tags.get(KEEP_UNTIL)
    if mark is None:
        return False
    try:
        until = datetime.fromisoformat(mark)
    except ValueError:
        log.warning("disk %s is kept: its tag %s=%r is not a time", disk.id, KEEP_UNTIL, mark)
        return False
    return (until if until.tzinfo else until.replace(tzinfo=UTC)) < now
