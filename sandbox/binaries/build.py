"""Builds the sandbox's programs with Go from the pinned module beside this file.

The last resort of `sandbox.binaries.locate`: it needs Go and a module proxy, takes minutes once,
and therefore says beforehand what it does and shows how far it is.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from sandbox.binaries.programs import BUILD_FLAGS, PACKAGES, module_files
from sandbox.errors import SandboxError
from sandbox.progress import Progress

# The first release that the pinned module's own go directive accepts.
_GO_NEEDED = (1, 26)
_FREE_BYTES_NEEDED = 4 * 1024**3
_INSTALL_GO = (
    "Install Go 1.26 or later (https://go.dev/dl), or give ready-made programs with --bin-dir "
    "or SUPERGIANT_BIN_DIR."
)


def build(missing: tuple[str, ...], folder: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    """Build programs of one module into a folder."""
    go = _go(environ)
    _check_room(folder)
    progress.say(
        f"Building {len(missing)} programs with Go ({', '.join(missing)}).\n"
        "This happens once: about 7 minutes on 2 cores, seconds if Go has compiled them before. "
        "Compiling needs 4 GB of disk."
    )
    packages = [PACKAGES[program] for program in missing]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="supergiant-build-") as name:
        module = Path(name)
        for path in module_files(missing[0]):
            shutil.copy(path, module)
        settings = {**environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        progress.update("Fetching the modules (about 250 MB the first time) ...")
        listing = _run([go, "list", "-deps", *packages], module, settings)
        total = len(listing.splitlines())
        command = [go, "build", "-v", *BUILD_FLAGS, "-o", f"{folder}/", *packages]
        _build_showing_progress(command, module, settings, total, progress)
    if (folder / "server").exists():
        # Go names a program after the last part of its package that is not a version.
        os.replace(folder / "server", folder / "etcd")
    progress.say(f"Built {len(missing)} programs in {_spoken(time.monotonic() - started)}.")


def _go(environ: Mapping[str, str]) -> str:
    go = shutil.which("go", path=environ.get("PATH"))
    if go is None:
        raise SandboxError("The sandbox's programs have to be built, but Go is not installed.", _INSTALL_GO)
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    # Go 1.21 and later fetch the toolchain that a module asks for, unless that is switched off.
    toolchain = subprocess.run([go, "env", "GOTOOLCHAIN"], capture_output=True, text=True, check=False)
    fetches = version >= (1, 21) and not toolchain.stdout.strip().startswith("local")
    if version < _GO_NEEDED and not fetches:
        raise SandboxError(f"Go {answer.stdout.strip() or 'of an unknown version'} is too old.", _INSTALL_GO)
    return go


def _check_room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < _FREE_BYTES_NEEDED:
        raise SandboxError(
            f"Less than 4 GB are free under {folder.parent}.",
            "Make room, or set XDG_CACHE_HOME (programs) and GOCACHE (Go's own cache) to a bigger disk.",
        )


def _run(command: list[str], module: Path, environ: Mapping[str, str]) -> str:
    result = subprocess.run(command, cwd=module, env=environ, capture_output=True, text=True, check=False)
    if result.returncode:
        raise _failure(result.stderr)
    return result.stdout


def _build_showing_progress(
    command: list[str], module: Path, environ: Mapping[str, str], total: int, progress: Progress
) -> None:
    started, compiled, last_lines = time.monotonic(), 0, list[str]()
    with subprocess.Popen(
        command, cwd=module, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                compiled += 1
                last_lines = [*last_lines[-14:], line]
                spent = _spoken(time.monotonic() - started)
                progress.update(f"Compiled {compiled} of at most {total} packages ({spent}) ...")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failure("".join(last_lines))


def _failure(output: str) -> SandboxError:
    if "no space left on device" in output:
        return SandboxError(
            "The disk is full: Go could not finish the build.",
            "Make room, or set XDG_CACHE_HOME, GOCACHE and TMPDIR to a bigger disk; then try again.",
        )
    way_out = (
        "If this machine cannot reach a Go module proxy, set GOPROXY, or give ready-made programs "
        "with --bin-dir or SUPERGIANT_BIN_DIR."
    )
    return SandboxError(f"Go could not build the sandbox's programs:\n{output.strip()[-1500:]}", way_out)


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
