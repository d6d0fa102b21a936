"""Finds the sandbox's programs: given by the user, else cached, else downloaded, else built.

`sandbox.lifecycle` calls `find_binaries` once per `up`; everything after works with plain paths.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sandbox.binaries import build, download
from sandbox.binaries.programs import CONTROL_PLANE, cache_key, version_arguments
from sandbox.errors import SandboxError
from sandbox.layout import caches_folder
from sandbox.progress import Progress


def find_binaries(
    bin_dir: Path | None,
    progress: Progress,
    environ: Mapping[str, str] = os.environ,
    programs: tuple[str, ...] = tuple(CONTROL_PLANE),
) -> dict[str, Path]:
    """The path of every program; may take minutes the first time, and says so before it starts."""
    given = bin_dir or (Path(environ["SUPERGIANT_BIN_DIR"]) if environ.get("SUPERGIANT_BIN_DIR") else None)
    if given is not None:
        return _in_given_folder(given, programs, environ)
    for cache in sorted({cache_folder(environ, program) for program in programs}):
        of_this_module = tuple(it for it in programs if cache_folder(environ, it) == cache)
        if not _missing(cache, of_this_module):
            continue
        with _locked_cache(cache, progress):
            # Somebody else may have filled the cache while this process waited for the lock.
            missing = _missing(cache, of_this_module)
            if missing:
                _fill(cache, missing, progress, environ)
    return {program: cache_folder(environ, program) / program for program in programs}


def cache_folder(environ: Mapping[str, str] = os.environ, program: str = "etcd") -> Path:
    """Where built programs are kept, one folder per version of the pinned module of a program."""
    return caches_folder(environ) / "bin" / cache_key(program)


def verify(program: str, path: Path) -> None:
    """A program that cannot tell its version is not installed."""
    try:
        subprocess.run([path, *version_arguments(program)], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(
            f"{program} does not run on this machine: {error}", "Delete the binary cache and try again."
        ) from error


def _in_given_folder(folder: Path, programs: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, Path]:
    folder = folder.expanduser().absolute()
    found = {program: folder / program for program in programs}
    missing = _missing(folder, programs)
    if "kubectl" in missing and (kubectl := shutil.which("kubectl", path=environ.get("PATH"))):
        # Most machines have one, and any recent one serves: kwokctl only applies its definitions with it.
        found["kubectl"] = Path(kubectl)
        missing = tuple(program for program in missing if program != "kubectl")
    if missing:
        raise SandboxError(
            f"{folder} lacks {', '.join(missing)}.",
            "Put them there, or leave out --bin-dir and SUPERGIANT_BIN_DIR to have them built with Go.",
        )
    return found


def _missing(folder: Path, programs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(program for program in programs if not os.access(folder / program, os.X_OK))


@contextmanager
def _locked_cache(cache: Path, progress: Progress) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / ".lock").open("w")
    except OSError as error:
        raise _unwritable(cache, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("Another process is preparing the same programs; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(cache: Path, missing: tuple[str, ...], progress: Progress, environ: Mapping[str, str]) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as name:
            folder = Path(name)
            if not download.download(missing, folder, progress, environ):
                build.build(missing, folder, progress, environ)
            for program in missing:
                verify(program, folder / program)
            for program in missing:
                os.replace(folder / program, cache / program)
    except OSError as error:
        raise _unwritable(cache, error) from error


def _unwritable(cache: Path, error: OSError) -> SandboxError:
    return SandboxError(
        f"Cannot keep programs in {cache}: {error.strerror or error}.",
        "Make room or make it writable, or set XDG_CACHE_HOME to a folder with 1.5 GB to spare.",
    )
