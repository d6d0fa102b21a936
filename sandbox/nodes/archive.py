"""Writes a container image as one file, in the form that `docker save` writes and containerd loads.

Used by `sandbox.nodes.images`. The same content gives the same bytes: nothing in it tells when or where it was made.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

_FOLDERS = ("dev", "etc", "proc", "run", "sys", "tmp")
_OPEN_TO_ALL, _PLAIN, _PROGRAM = 0o1777, 0o644, 0o755
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Content:
    """The files of an image, gathered from a folder that looks like the root of a machine."""

    def __init__(self, root: Path, user: tuple[str, int] | None, own_folders: Iterable[str]) -> None:
        self._root = root
        self._user = user
        self._members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
        for folder in _FOLDERS:
            self._folder(folder, _OPEN_TO_ALL if folder == "tmp" else _PROGRAM)
        for folder in own_folders:
            self._folder(folder, _PROGRAM, user[1] if user else 0)
        self._accounts()

    def add(self, path: str) -> None:
        """A file, or a link together with what it leads to."""
        if path in self._members:
            return
        source = self._root / path
        if source.is_symlink():
            target = source.readlink()
            self._link(path, str(target))
            # An absolute link means the image's own root, not this machine's.
            whole = PurePosixPath("/", path).parent / target
            followed = _normal(whole)
            if (self._root / followed).is_symlink() or (self._root / followed).is_file():
                self.add(followed)
            return
        member = tarfile.TarInfo(path)
        member.mode = source.stat().st_mode & 0o755
        self._put(member, source.read_bytes())

    def add_busybox(self, applets: Iterable[str]) -> None:
        """One program that is a hundred; what the packages brought themselves stays."""
        self.add("bin/busybox")
        for applet in applets:
            if not any(
                f"{folder}/{applet}" in self._members for folder in ("bin", "usr/bin", "sbin", "usr/sbin")
            ):
                self._link(f"bin/{applet}", "busybox")

    def layer(self) -> bytes:
        """All of it as one tar."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name in sorted(self._members):
                member, data = self._members[name]
                tar.addfile(member, io.BytesIO(data) if member.isfile() else None)
        return buffer.getvalue()

    def _accounts(self) -> None:
        people = ["root:x:0:0:root:/:/bin/sh"]
        groups = ["root:x:0:"]
        if self._user:
            name, number = self._user
            people.append(f"{name}:x:{number}:{number}:{name}:/:/bin/sh")
            groups.append(f"{name}:x:{number}:")
        for path, lines in (("etc/passwd", people), ("etc/group", groups)):
            member = tarfile.TarInfo(path)
            member.mode = _PLAIN
            self._put(member, "".join(f"{line}\n" for line in lines).encode())

    def _folder(self, path: str, mode: int, owner: int = 0) -> None:
        member = tarfile.TarInfo(path)
        member.type, member.mode, member.uid, member.gid = tarfile.DIRTYPE, mode, owner, owner
        self._put(member)

    def _link(self, path: str, target: str) -> None:
        member = tarfile.TarInfo(path)
        member.type, member.linkname = tarfile.SYMTYPE, target
        self._put(member)

    def _put(self, member: tarfile.TarInfo, data: bytes = b"") -> None:
        member.size = len(data)
        for parent in PurePosixPath(member.name).parents:
            if str(parent) != "." and str(parent) not in self._members:
                folder = tarfile.TarInfo(str(parent))
                folder.type, folder.mode = tarfile.DIRTYPE, _PROGRAM
                self._members[folder.name] = (folder, b"")
        self._members[member.name] = (member, data)


def write_archive(target: Path, content: Content, reference: str, settings: dict[str, Any]) -> None:
    """Write an image of one layer."""
    layer = content.layer()
    digest = hashlib.sha256(layer).hexdigest()
    configuration = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}.tar"]}]
    with tarfile.open(target, "w") as tar:
        for path, data in (
            (name, configuration),
            (f"{digest}.tar", layer),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _normal(path: PurePosixPath) -> str:
    """The path below the root, with its steps up taken."""
    parts = list[str]()
    for part in path.parts[1:]:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return "/".join(parts)
