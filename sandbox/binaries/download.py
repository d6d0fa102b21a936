"""Downloads the sandbox's programs from a mirror that the user names.

There is no default mirror: without SUPERGIANT_BINARIES_URL nothing is fetched and the programs
are built. A mirror is never trusted by itself: the user gives the checksums separately.
"""

import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from sandbox.binaries.programs import machine
from sandbox.errors import SandboxError
from sandbox.progress import Progress

_TIMEOUT_SECONDS = 60


def download(missing: tuple[str, ...], folder: Path, progress: Progress, environ: Mapping[str, str]) -> bool:
    """Fetch programs from `<mirror>/<machine>/<program>`; False when there is no mirror to be had."""
    mirror = environ.get("SUPERGIANT_BINARIES_URL", "").rstrip("/")
    if not mirror:
        return False
    if not mirror.startswith(("http://", "https://", "file://")):
        raise SandboxError(
            f"SUPERGIANT_BINARIES_URL is {mirror!r}, which is no address.",
            "Give an address that begins with https://, http:// or file://.",
        )
    checksums = _checksums(environ)
    unlisted = [program for program in missing if program not in checksums]
    if unlisted:
        raise SandboxError(
            f"The checksum file does not list {', '.join(unlisted)}.",
            "Add them (the format of sha256sum), or unset SUPERGIANT_BINARIES_URL to build them.",
        )
    for program in missing:
        url = f"{mirror}/{machine()}/{program}"
        progress.say(f"Downloading {url}")
        try:
            _fetch(url, folder / program)
        except (urllib.error.URLError, TimeoutError) as error:
            progress.say(f"{url} cannot be fetched ({error}); building the programs instead.")
            return False
        check(folder / program, checksums[program], url)
        (folder / program).chmod(0o755)
    return True


def check(path: Path, expected: str, origin: str) -> None:
    """Refuse a file whose content is not what the user's checksum file promises."""
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise SandboxError(
            f"{origin} has SHA-256 {actual}, but {expected} is expected.",
            "Nothing was installed. The mirror holds another version or was tampered with.",
        )


def _checksums(environ: Mapping[str, str]) -> dict[str, str]:
    name = environ.get("SUPERGIANT_BINARIES_SHA256", "")
    if not name:
        raise SandboxError(
            "SUPERGIANT_BINARIES_URL is set, but SUPERGIANT_BINARIES_SHA256 is not.",
            "Set it to a file in the format of sha256sum that lists the programs of the mirror.",
        )
    try:
        lines = Path(name).expanduser().read_text().splitlines()
    except OSError as error:
        raise SandboxError(
            f"Cannot read the checksum file {name}: {error.strerror}.",
            "SUPERGIANT_BINARIES_SHA256 must name a readable file.",
        ) from error
    pairs = [line.split() for line in lines if len(line.split()) == 2]
    return {Path(program.lstrip("*")).name: digest.lower() for digest, program in pairs}


def _fetch(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as reply, target.open("wb") as file:  # noqa: S310
        shutil.copyfileobj(reply, file)
