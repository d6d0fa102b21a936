"""Grows a mounted file system through the place where it is mounted. Used by `sandbox.nodes.filesystems`.

resize2fs and xfs_growfs open the disk by the name under which it was mounted, and after a forced detach EC2 may have
given that name to another volume. The kernel itself asks for no name.
"""

import fcntl
import os
import struct
from pathlib import Path

from sandbox.nodes import loops

# From linux/ext4.h and xfs_fs.h: EXT4_IOC_RESIZE_FS, XFS_IOC_FSGEOMETRY_V1, XFS_IOC_FSGROWFSDATA.
_EXT4_RESIZE, _XFS_GEOMETRY, _XFS_GROW = 0x40086610, 0x80705864, 0x4010586E
_XFS_GEOMETRY_BYTES = 112
# In an ext4's superblock: the number of blocks (low half, high half) and the size of a block, as a power of two KiB.
_EXT4_SUPERBLOCK, _EXT4_BLOCKS, _EXT4_BLOCKS_HIGH, _EXT4_BLOCK_SIZE = 1024, 4, 0x150, 24


def grow(target: Path, kind: str, loop: loops.Loop) -> None:
    """Let what is mounted here be as big as its disk; one that is already stays as it is, and needs no privilege."""
    with loops.opened(loop, os.O_RDONLY) as disk:
        size_bytes = os.lseek(disk, 0, os.SEEK_END)
        superblock = os.pread(disk, 1024, _EXT4_SUPERBLOCK)
    place = os.open(target, os.O_RDONLY)
    try:
        if kind == "xfs":
            _grow_xfs(place, size_bytes)
        else:
            _grow_ext4(place, size_bytes, superblock)
    finally:
        os.close(place)


def _grow_xfs(place: int, size_bytes: int) -> None:
    geometry = fcntl.ioctl(place, _XFS_GEOMETRY, bytes(_XFS_GEOMETRY_BYTES))
    block_bytes, *_, inodes_percent, present = struct.unpack_from("=8IQ", geometry)
    wanted = size_bytes // block_bytes
    if wanted > present:
        fcntl.ioctl(place, _XFS_GROW, struct.pack("=QI4x", wanted, inodes_percent))


def _grow_ext4(place: int, size_bytes: int, superblock: bytes) -> None:
    low, high, power = (
        int.from_bytes(superblock[at : at + 4], "little")
        for at in (_EXT4_BLOCKS, _EXT4_BLOCKS_HIGH, _EXT4_BLOCK_SIZE)
    )
    wanted = size_bytes // (1024 << power)
    if wanted > low + (high << 32):
        fcntl.ioctl(place, _EXT4_RESIZE, struct.pack("=Q", wanted))
