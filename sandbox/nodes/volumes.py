"""The bytes of simulated volumes: one sparse file each, made when a real node first uses the volume.

The node side of the CSI driver makes disks of them, its controller side asks before it detaches, the hypervisor
removes those of deleted volumes. Who is attached where is told by the simulated EC2 alone; this module knows who
really *uses* a volume, because the kernel does.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.kubernetes.rpc import Refused
from sandbox.nodes import loops

GIB = 1024**3
# A node that has just died, or let go of a volume, is done with it within a moment.
_PATIENCE_SECONDS = 2.0
_PERIOD_SECONDS = 0.05


class VolumeFiles:
    """The volumes of one sandbox."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def image(self, volume_id: str) -> Path:
        """The file behind a volume."""
        if not re.fullmatch(r"vol-[0-9a-f]+", volume_id):
            raise Refused("NOT_FOUND", f"{volume_id!r} is no id of a volume")
        return self._folder / f"{volume_id}.img"

    def ensure(self, volume_id: str, size_gib: int) -> Path:
        """The file, as big as the volume; it never shrinks."""
        image = self.image(volume_id)
        with image.open("ab") as file:
            if file.seek(0, 2) < size_gib * GIB:
                file.truncate(size_gib * GIB)
        return image

    @contextmanager
    def locked(self, volume_id: str) -> Iterator[None]:
        """Inside, nobody else begins to use the volume or lets it be detached."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._lock(volume_id)
        while True:
            with path.open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # Who held it before may have removed the file: then others lock the one that came after it.
                if not _is_file_at(path, lock.fileno()):
                    continue
                yield
                return

    @contextmanager
    def released(self, volume_id: str) -> Iterator[None]:
        """Inside, no node uses the volume; refuses if one goes on using it, as EC2 stays "detaching"."""
        if not self._folder.exists():
            # No node has ever used a volume here.
            yield
            return
        with self.locked(volume_id):
            self.must_be_free(volume_id)
            try:
                yield
            finally:
                if not self.image(volume_id).exists():
                    # Volumes that only simulated nodes use leave nothing here.
                    self._lock(volume_id).unlink(missing_ok=True)

    def must_be_free(self, volume_id: str) -> None:
        """Refuse if any node of the machine has the volume mounted."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while loops.of(self.image(volume_id)):
            if time.monotonic() > deadline:
                raise Refused("FAILED_PRECONDITION", f"{volume_id} is still in use on the node that had it")
            time.sleep(_PERIOD_SECONDS)

    def ids(self) -> list[str]:
        """The volumes that have a file."""
        return sorted(path.stem for path in self._folder.glob("vol-*.img"))

    def remove(self, volume_id: str) -> None:
        """Remove the bytes of a deleted volume, unless a node still uses them."""
        with self.locked(volume_id):
            if not loops.of(self.image(volume_id)):
                self.image(volume_id).unlink(missing_ok=True)
                self._lock(volume_id).unlink(missing_ok=True)

    def _lock(self, volume_id: str) -> Path:
        return self.image(volume_id).with_suffix(".lock")


def _is_file_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
