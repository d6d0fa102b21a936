"""A cloud in memory for tests of activities. It refuses what nobody told it about, acts before it fails, and
can be slow to show what it has done; nothing in it takes real time: its world moves on with every look."""

import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from activities.errors import Conflict, InvalidSpec, NotFound, NotReadyYet, Unreachable
from activities.models.disk_types import DISK_TYPES
from activities.models.facts import DiskPrice, VolumeQuota
from activities.models.volumes import Volume, VolumeSpec, VolumeState

T = TypeVar("T")
Hook = Callable[[], None]


class Disk:
    """`shown_after` and `settled_after` count looks: until it is shown at all, and until it is what it
    becomes; None: it vanishes."""

    def __init__(
        self, volume: Volume, becomes: VolumeState | None, shown_after: int, settled_after: int
    ) -> None:
        self.volume = volume
        self.becomes = becomes
        self.shown_after = shown_after
        self.settled_after = settled_after

    def set(self, **changes: object) -> None:
        self.volume = self.volume.model_copy(update=changes)


class FakeCloud:
    """`before` and `after` hold hooks by the name of a call ("create_volume"), each used once and in order.
    What a hook raises, the caller gets; after means that the cloud has acted."""

    def __init__(self) -> None:
        self.zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
        self.before: dict[str, list[Hook]] = defaultdict(list)
        self.after: dict[str, list[Hook]] = defaultdict(list)
        self.calls: list[str] = []
        self.made: list[str] = []
        self.deleted: list[str] = []
        # How the next disks behave.
        self.hide_for = 0
        self.become: VolumeState | None = VolumeState.AVAILABLE
        self.made_at: datetime | None = None
        self.arrives_after: int | None = None
        self._disks: dict[str, Disk] = {}
        self._answers: dict[str, tuple[VolumeSpec, Volume]] = {}
        self._on_the_way: list[tuple[int, str, VolumeSpec]] = []
        self._lock = threading.RLock()

    # The cloud

    def create_volume(self, token: str, spec: VolumeSpec) -> Volume:
        return self._called("create_volume", lambda: self._create(token, spec))

    def find_volumes(self, tags: dict[str, str]) -> list[Volume]:
        def find() -> list[Volume]:
            return [disk.volume for disk in self._looked_at() if tags.items() <= disk.volume.tags.items()]

        return self._called("find_volumes", find)

    def get_volume(self, volume_id: str) -> Volume | None:
        def get() -> Volume | None:
            found = [disk.volume for disk in self._looked_at() if disk.volume.id == volume_id]
            return found[0] if found else None

        return self._called("get_volume", get)

    def delete_volume(self, volume_id: str) -> None:
        def delete() -> None:
            if disk := self._disks.get(volume_id):
                if disk.volume.machine:
                    raise NotReadyYet(f"{volume_id} is attached")
                disk.set(state=VolumeState.DELETING)
                disk.becomes, disk.settled_after = None, 1
                self.deleted.append(volume_id)

        self._called("delete_volume", delete)

    def tag_volumes(self, volume_ids: list[str], tags: dict[str, str]) -> None:
        def tag() -> None:
            for volume_id in volume_ids:
                if volume_id not in self._disks:
                    raise NotFound(volume_id)
                disk = self._disks[volume_id]
                disk.set(tags=disk.volume.tags | tags)

        self._called("tag_volumes", tag)

    def untag_volumes(self, volume_ids: list[str], keys: list[str]) -> None:
        def untag() -> None:
            for volume_id in volume_ids:
                if disk := self._disks.get(volume_id):
                    disk.set(tags={key: value for key, value in disk.volume.tags.items() if key not in keys})

        self._called("untag_volumes", untag)

    def account(self) -> str:
        return self._called("account", lambda: "111122223333")

    @property
    def priced_on(self) -> str:
        return "2026-01-01"

    def disk_prices(self) -> dict[str, DiskPrice]:
        return {kind: DiskPrice(gib=0.1) for kind in DISK_TYPES}

    def volume_quota(self) -> VolumeQuota:
        return VolumeQuota()

    # What tests set up and see

    def put(self, volume: Volume) -> Volume:
        """A disk that is there already."""
        self._disks[volume.id] = Disk(volume, volume.state, 0, 0)
        return volume

    @property
    def there(self) -> dict[str, Volume]:
        """Every disk, shown or not."""
        return {volume_id: disk.volume for volume_id, disk in self._disks.items()}

    def attach(self, volume_id: str, machine: str) -> None:
        self._disks[volume_id].set(machine=machine, attached=True, state=VolumeState.IN_USE)

    def detach(self, volume_id: str) -> None:
        self._disks[volume_id].set(machine="", attached=False, state=VolumeState.AVAILABLE)

    # How it works

    def _called(self, name: str, act: Callable[[], T]) -> T:
        self.calls.append(name)
        if self.before[name]:
            # Outside of the lock, so that a hook may hold one caller while others go on.
            self.before[name].pop(0)()
        with self._lock:
            result = act()
        if self.after[name]:
            self.after[name].pop(0)()
        return result

    def _create(self, token: str, spec: VolumeSpec) -> Volume:
        if self.arrives_after is not None:
            self._on_the_way.append((self.arrives_after, token, spec))
            self.arrives_after = None
            raise Unreachable("the connection broke while the request was on its way")
        if token in self._answers:
            known, answer = self._answers[token]
            if known != spec:
                raise Conflict("the token was used with other parameters")
            return answer
        if len(token) > 64 or spec.zone not in self.zones or spec.type not in DISK_TYPES:
            raise InvalidSpec(f"token of {len(token)} characters, zone {spec.zone} or type {spec.type}")
        volume = Volume(
            id=f"vol-{len(self.made) + 1:04}",
            zone=spec.zone,
            size_gib=spec.size_gib,
            type=spec.type,
            state=VolumeState.CREATING,
            tags=spec.tags,
            created_at=self.made_at or datetime.now(UTC),
        )
        self._disks[volume.id] = Disk(volume, self.become, self.hide_for, 1)
        self._answers[token] = (spec, volume)
        self.made.append(volume.id)
        return volume

    def _looked_at(self) -> list[Disk]:
        """What is shown, after the world has gone on a little."""
        arrived = [(token, spec) for looks, token, spec in self._on_the_way if looks <= 0]
        self._on_the_way = [(looks - 1, token, spec) for looks, token, spec in self._on_the_way if looks > 0]
        for token, spec in arrived:
            self._create(token, spec)
        for volume_id, disk in list(self._disks.items()):
            disk.shown_after -= 1
            disk.settled_after -= 1
            changing = disk.volume.state in (VolumeState.CREATING, VolumeState.DELETING)
            if disk.settled_after < 0 and changing:
                if disk.becomes is None:
                    del self._disks[volume_id]
                else:
                    disk.set(state=disk.becomes)
        return [disk for disk in self._disks.values() if disk.shown_after < 0]
