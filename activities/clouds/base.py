"""What a cloud can do for us, as small capabilities. Callers ask for one, never for the cloud's name."""

from typing import Protocol

from activities.models.facts import DiskPrice, VolumeQuota
from activities.models.volumes import Volume, VolumeSpec


class BlockStorage(Protocol):
    """Disks of one account and region. Errors are those of `activities.errors`."""

    def create_volume(self, token: str, spec: VolumeSpec) -> Volume:
        """Create a disk, or return the one made earlier with the same token (64 ASCII characters at most)."""
        ...

    def find_volumes(self, tags: dict[str, str]) -> list[Volume]:
        """Every disk that carries all the tags, in whatever state it is, oldest first."""
        ...

    def get_volume(self, volume_id: str) -> Volume | None: ...

    def delete_volume(self, volume_id: str) -> None:
        """Ask for deletion; a disk that is gone already is success, an attached one raises NotReadyYet."""
        ...

    def tag_volumes(self, volume_ids: list[str], tags: dict[str, str]) -> None: ...

    def untag_volumes(self, volume_ids: list[str], keys: list[str]) -> None:
        """Take tags away; a disk without them, or gone, is success."""
        ...


class Identity(Protocol):
    def account(self) -> str:
        """The account that the credentials belong to; AccessDenied when they are not valid."""
        ...


class Catalogue(Protocol):
    """Limits and prices. Prices are dated values that the settings may override."""

    @property
    def priced_on(self) -> str: ...

    def disk_prices(self) -> dict[str, DiskPrice]: ...

    def volume_quota(self) -> VolumeQuota: ...


class Cloud(BlockStorage, Identity, Catalogue, Protocol):
    """What the operations of today need together."""
