"""Debian's packages, unpacked into a folder instead of installed: the raw material of container images.

Nothing is installed on the machine, so no database server starts on it. Used by `sandbox.nodes.images` and
`sandbox.prometheus`.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sandbox.errors import SandboxError

_PATIENCE_SECONDS = 600
_WAY_OUT = "The machine must reach its Debian mirror: try `apt-get update`."


def unpack(names: Sequence[str], folder: Path) -> list[str]:
    """Unpack packages and all they depend on; returns the files they came from, which tell the versions."""
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    (folder / "status").touch()
    _fetch(
        # As on a machine that has nothing installed: so that every dependency is taken, not only missing ones.
        f"Dir::State::status={folder / 'status'}",
        f"Dir::Cache::archives={archives}",
        # Whoever else uses apt meanwhile is not disturbed, and does not disturb.
        "Debug::NoLocking=true",
        "APT::Sandbox::User=root",
        command=("--yes", "--download-only", "--no-install-recommends", "install", *names),
    )
    found = sorted(archives.glob("*.deb"))
    _unpack(found, folder)
    return [archive.name for archive in found]


def unpack_alone(name: str, folder: Path) -> Path:
    """Unpack one package without what it depends on; returns the folder that stands for `/`."""
    # The archive is left in the working folder.
    _fetch("APT::Sandbox::User=root", command=("download", name), folder=folder)
    return _unpack(sorted(folder.glob("*.deb")), folder)


def refresh_lists() -> None:
    """Learn what the Debian mirror has today."""
    _apt(command=("update",))


def install(names: Sequence[str]) -> None:
    """Install packages on this machine."""
    # Whoever else installs something at this moment is waited for.
    _apt("DPkg::Lock::Timeout=120", command=("--yes", "--no-install-recommends", "install", *names))


def _fetch(*options: str, command: Sequence[str], folder: Path | None = None) -> None:
    try:
        _apt(*options, command=command, folder=folder)
    except SandboxError:
        # A new machine has no lists, and in old ones are versions that the mirror no longer has.
        refresh_lists()
        _apt(*options, command=command, folder=folder)


def _unpack(archives: Sequence[Path], folder: Path) -> Path:
    root = folder / "root"
    root.mkdir()
    for archive in archives:
        # Programs that are run from the folder never run the packages' own scripts.
        result = subprocess.run(
            ["dpkg-deb", "-x", archive, root], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise SandboxError(f"{archive.name} cannot be unpacked: {result.stderr.strip()}")
        archive.unlink()
    return root


def _apt(*options: str, command: Sequence[str], folder: Path | None = None) -> None:
    arguments = ["apt-get", "-qq", *(part for option in options for part in ("-o", option)), *command]
    surroundings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        result = subprocess.run(
            arguments,
            env=surroundings,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError as error:
        raise SandboxError(
            "There is no apt-get on this machine.", "It comes with Debian and Ubuntu."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"`apt-get {command[-1]}` takes too long.", _WAY_OUT) from error
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        raise SandboxError(f"apt-get cannot {' '.join(command[-2:])}: {lines[-1] if lines else ''}", _WAY_OUT)
