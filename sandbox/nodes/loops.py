"""Loop devices: files that the kernel offers as disks.

Every device is made to vanish with its last user (the kernel's autoclear): when a node dies, its mounts go, and
with them its devices, whatever else was killed. A device that exists is therefore a device in use.
"""

import errno
import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CONTROL = "/dev/loop-control"
_BLOCKS = Path("/sys/block")
MAJOR = 7
# From linux/loop.h.
_GET_FREE, _CONFIGURE, _SET_CAPACITY = 0x4C82, 0x4C0A, 0x4C07
_AUTOCLEAR = 4
# Whoever loses the race for a free device this often does so for another reason.
_ATTEMPTS = 64
_INFO = struct.Struct("=5Q4I64s64s32s2Q")
_CONFIG_HEAD, _CONFIG_TAIL = struct.Struct("=2I"), bytes(64)


@dataclass(frozen=True)
class Loop:
    """One device, by its number."""

    number: int

    @property
    def device(self) -> int:
        """As in `st_rdev`."""
        return os.makedev(MAJOR, self.number)


@contextmanager
def attached(image: Path) -> Iterator[Loop]:
    """A device on this file. It lives on after the block if something was mounted from it inside."""
    target = os.open(image, os.O_RDWR)
    try:
        with _configured(target, image) as (loop, _):
            yield loop
    finally:
        os.close(target)


def of(image: Path) -> list[Loop]:
    """The devices on this file, those of other nodes included."""
    return [loop for loop, path in devices() if _is(path, image)]


def below(folder: Path) -> list[Loop]:
    """The devices on any file in this folder."""
    return [
        loop
        for loop, path in devices()
        if path.startswith(f"{folder}/") or _is(path, folder / Path(path).name)
    ]


def devices() -> Iterator[tuple[Loop, str]]:
    """Every device of the machine that has a file, with that file."""
    for block in _BLOCKS.glob("loop*"):
        with suppress(OSError):
            path = (block / "loop" / "backing_file").read_text().rstrip("\n")
            yield Loop(int(block.name.removeprefix("loop"))), path.removesuffix(" (deleted)")


def refresh_size(loop: Loop) -> None:
    """Let the device be as big as its file has become."""
    with opened(loop) as descriptor:
        fcntl.ioctl(descriptor, _SET_CAPACITY)


@contextmanager
def opened(loop: Loop, flags: int = os.O_RDWR) -> Iterator[int]:
    """A descriptor of the device, also where its name is not in /dev."""
    # Two threads, or two nodes' processes with the same pid, may open the same device at the same time.
    path = f"/dev/.loop-{loop.number}-{secrets.token_hex(8)}"
    os.mknod(path, 0o600 | 0o060000, loop.device)
    try:
        descriptor = os.open(path, flags)
    finally:
        os.unlink(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _configured(target: int, image: Path) -> Iterator[tuple[Loop, int]]:
    for attempt in range(1, _ATTEMPTS + 1):
        control = os.open(_CONTROL, os.O_RDWR)
        try:
            loop = Loop(fcntl.ioctl(control, _GET_FREE))
        finally:
            os.close(control)
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(opened(loop))
                fcntl.ioctl(descriptor, _CONFIGURE, _configuration(target, image))
            except OSError as error:
                # Another process took the free one in between, or has taken it and just given it back.
                if error.errno in (errno.EBUSY, errno.ENXIO) and attempt < _ATTEMPTS:
                    continue
                raise
            yield loop, descriptor
            return


def _is(path: str, image: Path) -> bool:
    # While a dead node is taken down, the kernel tells the path as from the top of the disk that holds the file.
    return f"{image}" == path or (path.startswith("/") and f"{image}".endswith(path))


def _configuration(target: int, image: Path) -> bytes:
    name = os.fsencode(image)[:63]
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR, name, b"", b"", 0, 0)
    return _CONFIG_HEAD.pack(target, 0) + info + _CONFIG_TAIL
