"""Brings a container image to every real node of a sandbox: to those that run now, and to those that start later.

`supergiant sandbox image load` calls this with a name that `sandbox.nodes.images` knows, or with an archive.
"""

import hashlib
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox.errors import NotThere, SandboxError
from sandbox.layout import Layout
from sandbox.nodes import images
from sandbox.nodes.machine import Machine, some_machines
from sandbox.progress import Progress

_WAY_OUT = (
    "Write it with `docker save -o image.tar NAME:TAG`, or `skopeo copy docker://... docker-archive:...`."
)


def load(
    layout: Layout, wanted: str, progress: Progress, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Load an image on every node; the references by which pods can name it."""
    known = some_machines(layout)
    by_name = wanted in images.RECIPES
    archive = images.image(wanted, progress, environ) if by_name else Path(wanted).expanduser().absolute()
    references = references_of(archive)
    kept = images.keep(archive, layout.images, wanted if by_name else _kept_name(references))
    for machine in known:
        _load_on(machine, kept, known, progress)
    return references


def references_of(archive: Path) -> list[str]:
    """The names of the images in an archive that `docker save` or an OCI tool wrote."""
    if not archive.exists():
        raise NotThere(
            f"There is neither an image {str(archive.name)!r} nor a file {archive}.",
            f"Images by name: {', '.join(images.RECIPES)}.",
        )
    try:
        with tarfile.open(archive) as tar:
            found = _docker_names(tar) or _oci_names(tar)
    except (tarfile.TarError, EOFError) as error:
        raise _no_image(archive, "it is not a whole tar file") from error
    except OSError as error:
        raise _no_image(archive, error.strerror or str(error)) from error
    except ValueError as error:
        raise _no_image(archive, str(error)) from error
    if not found:
        raise SandboxError(f"{archive} names no image, so no pod could ask for it.", _WAY_OUT)
    return found


def _docker_names(tar: tarfile.TarFile) -> list[str]:
    with _understood("manifest.json", "docker save"):
        names = [
            name for image in _document(tar, "manifest.json") or [] for name in image.get("RepoTags") or []
        ]
        return _texts(names)


def _oci_names(tar: tarfile.TarFile) -> list[str]:
    with _understood("index.json", "an OCI tool"):
        manifests = (_document(tar, "index.json") or {}).get("manifests") or []
        noted = [image.get("annotations") or {} for image in manifests]
        return _texts([it["io.containerd.image.name"] for it in noted if "io.containerd.image.name" in it])


@contextmanager
def _understood(document: str, writer: str) -> Iterator[None]:
    """Whatever shape a document has instead of the right one is told in the same plain words."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"its {document} is not what {writer} writes") from error


def _texts(names: list[Any]) -> list[str]:
    if not all(isinstance(name, str) for name in names):
        raise TypeError("a name that is no text")
    return names


def _document(tar: tarfile.TarFile, name: str) -> Any:
    try:
        file = tar.extractfile(name)
    except KeyError:
        return None
    return json.load(file) if file else None


def _no_image(archive: Path, reason: str) -> SandboxError:
    return SandboxError(f"{archive} is no archive of a container image: {reason}.", _WAY_OUT)


def _kept_name(references: list[str]) -> str:
    """The same names replace what was loaded under them before; other names never do, whatever the file is called."""
    short = re.sub(r"[^a-z0-9.-]+", "-", references[0].rpartition("/")[2].lower())[:40]
    return f"user-{short}-{hashlib.sha256(json.dumps(references).encode()).hexdigest()[:12]}"


def _load_on(machine: Machine, archive: Path, others: list[Machine], progress: Progress) -> None:
    pid = machine.first_pid()
    mark = machine.plan.loaded_mark(archive)
    if pid is None or mark.exists():
        return
    progress.update(f"Loading {archive.name} on {machine.plan.name} ...")
    command = ["nsenter", "--target", str(pid), "--mount", "ctr", "--namespace", "k8s.io", "images", "import"]
    result = subprocess.run([*command, str(archive)], capture_output=True, text=True, check=False)
    if result.returncode:
        if not any(one.plan.loaded_mark(archive).exists() for one in others):
            archive.unlink(missing_ok=True)
        raise SandboxError(
            f"{machine.plan.name} cannot load it: {result.stderr.strip()}",
            f"Its log: {machine.plan.log('containerd')}",
        )
    mark.touch()
