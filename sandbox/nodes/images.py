"""Container images without a registry: made of Debian's packages, kept in a cache, loaded on every node.

`sandbox.lifecycle` asks for those that every node has; `supergiant sandbox image load` adds more of them by name, or
an archive of the user's own (as `docker save` writes it).
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.layout import caches_folder
from sandbox.nodes import packages
from sandbox.nodes.archive import Content, write_archive
from sandbox.nodes.configuration import PAUSE_IMAGE
from sandbox.progress import Progress

_ELF = b"\x7fELF"
_UNUSED_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class Recipe:
    """What an image is made of; paths are those in the unpacked packages."""

    reference: str
    packages: tuple[str, ...]
    programs: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    # Folders that belong to the image's user.
    own_folders: tuple[str, ...] = ()
    user: tuple[str, int] | None = None
    path: str = "/usr/sbin:/usr/bin:/sbin:/bin"
    command: tuple[str, ...] = ("sh",)


RECIPES = {
    # Waits until it is told to end; it holds the network of a pod.
    "pause": Recipe(
        PAUSE_IMAGE,
        ("busybox-static",),
        command=("sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 1d & wait $!; done"),
    ),
    "postgres": Recipe(
        "docker.io/library/postgres:15",
        ("postgresql-15", "busybox-static", "libc-bin", "tzdata"),
        folders=(
            "usr/lib/postgresql/15",
            "usr/share/postgresql/15",
            "usr/share/zoneinfo",
            "usr/lib/locale/C.utf8",
        ),
        own_folders=("var/lib/postgresql", "var/run/postgresql"),
        user=("postgres", 999),
        path="/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        command=("postgres",),
    ),
    "redis": Recipe(
        "docker.io/library/redis:7",
        ("redis-server", "redis-tools", "busybox-static"),
        programs=(
            "usr/bin/redis-benchmark",
            "usr/bin/redis-check-rdb",
            "usr/bin/redis-cli",
            "usr/bin/redis-server",
        ),
        own_folders=("data",),
        user=("redis", 999),
        command=("redis-server",),
    ),
    "tools": Recipe("docker.io/library/busybox:1", ("busybox-static",)),
}
# On every node from its first minute.
STANDARD = ("pause", "redis", "tools")


def standard_images(progress: Progress, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The archives of the images that every node has; the first time they are made, which takes a minute."""
    return [image(name, progress, environ) for name in STANDARD]


def image(name: str, progress: Progress, environ: Mapping[str, str] = os.environ) -> Path:
    """The archive of one image, from the cache if it has been made before."""
    if name not in RECIPES:
        raise SandboxError(f"There is no image {name!r}.", f"There are: {', '.join(RECIPES)}.")
    folder = cache_folder(environ)
    folder.mkdir(parents=True, exist_ok=True)
    # Tells who removes old folders that this one is in use.
    os.utime(folder)
    target = folder / f"{name}.tar"
    if target.exists():
        return target
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            for left in folder.glob(".new-*"):
                # Of somebody who was killed while making one.
                shutil.rmtree(left, ignore_errors=True)
            progress.say(f"Making the container image {name} of Debian's packages (once) ...")
            with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as new:
                _make(RECIPES[name], Path(new))
                os.replace(Path(new) / "image.tar", target)
            _remove_unused(folder.parent)
    return target


def keep(archive: Path, images: Path, name: str | None = None) -> Path:
    """Put an archive where every node of a sandbox finds it, those that start later included."""
    images.mkdir(exist_ok=True)
    target = images / f"{name or archive.stem}.tar"
    # Somebody else may keep an image of the same name at the same time.
    draft = images / f".{target.stem}-{secrets.token_hex(8)}.new"
    try:
        # Only what is in the cache never changes; an archive of the user's own may be written anew in place.
        if not (archive.is_relative_to(cache_folder()) and _linked(draft, archive)):
            shutil.copy2(archive, draft)
        os.replace(draft, target)
    finally:
        # It is still there if it could not be filled, and also if it was the same file as before.
        draft.unlink(missing_ok=True)
    return target


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where made images are kept, one folder per version of the recipes."""
    sources = [Path(__file__).with_name(name) for name in ("images.py", "archive.py", "packages.py")]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources) + PAUSE_IMAGE.encode())
    return caches_folder(environ) / "images" / digest.hexdigest()[:16]


def _remove_unused(caches: Path) -> None:
    """Every change of the recipes begins a new folder: those go that no version of them has used for long."""
    for cache in caches.iterdir():
        # Another version may remove them at the same time.
        with suppress(FileNotFoundError):
            if time.time() - cache.stat().st_mtime > _UNUSED_SECONDS:
                shutil.rmtree(cache, ignore_errors=True)


def _linked(new: Path, archive: Path) -> bool:
    try:
        new.hardlink_to(archive)
    except OSError:
        # The cache is on another disk.
        return False
    return True


def _make(recipe: Recipe, folder: Path) -> None:
    packages.unpack(recipe.packages, folder)
    root = folder / "root"
    content = Content(root, recipe.user, recipe.own_folders)
    for path in (*recipe.programs, *_files_below(root, recipe.folders)):
        content.add(path)
    for library in _libraries(root, [*recipe.programs, *_files_below(root, recipe.folders)]):
        content.add(library)
    content.add_busybox(_applets(root))
    write_archive(
        folder / "image.tar",
        content,
        recipe.reference,
        {"Cmd": list(recipe.command), "Env": [f"PATH={recipe.path}", "LANG=C.UTF-8"]},
    )


def _files_below(root: Path, folders: Iterable[str]) -> list[str]:
    found = [path for folder in folders for path in sorted((root / folder).rglob("*"))]
    return [str(path.relative_to(root)) for path in found if path.is_symlink() or path.is_file()]


def _libraries(root: Path, paths: Iterable[str]) -> set[str]:
    """What the programs load when they start, found by the unpacked loader itself."""
    loaders = sorted(root.glob("lib64/ld-linux-*.so.*")) + sorted(root.glob("lib/ld-linux-*.so.*"))
    found = set[str]()
    for path in paths:
        file = root / path
        if file.is_symlink() or not loaders:
            continue
        with file.open("rb") as start:
            if start.read(4) != _ELF:
                continue
        loader = f"/{loaders[0].relative_to(root)}"
        result = subprocess.run(
            ["chroot", root, loader, "--list", f"/{path}"], capture_output=True, text=True, check=False
        )
        for line in result.stdout.splitlines():
            target = line.partition("=>")[2] or line
            library = target.strip().partition(" (")[0]
            if library.startswith("/"):
                found.add(library.lstrip("/"))
    return found


def _applets(root: Path) -> list[str]:
    result = subprocess.run(
        ["chroot", root, "/bin/busybox", "--list"], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SandboxError(f"busybox does not run: {result.stderr.strip()}")
    return result.stdout.split()
