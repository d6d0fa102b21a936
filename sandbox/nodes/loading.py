"""Brings a container image to every real node of a sandbox: to those that run now, and to those that start later.

`supergiant sandbox image load` calls this with a name that `sandbox.nodes.images` knows, or with an archive.
"""

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.errors import NotThere, SandboxError
from sandbox.layout import Layout
from sandbox.nodes import images
from sandbox.nodes.machine import Machine, machines
from sandbox.progress import Progress

_WAY_OUT = (
    "Write it with `docker save -o image.tar NAME:TAG`, or `skopeo copy docker://... docker-archive:...`."
)


def load(
    layout: Layout, wanted: str, progress: Progress, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Load an image on every node; the references by which pods can name it."""
    known = machines(layout)
    if not known:
        raise NotThere(
            f"Sandbox {layout.name} has no real nodes.",
            f"Bring it up with some: `supergiant sandbox up --name {layout.name} --real-nodes 3`.",
        )
    by_name = wanted in images.RECIPES
    archive = images.image(wanted, progress, environ) if by_name else Path(wanted).expanduser().absolute()
    references = references_of(archive)
    name = wanted if by_name else f"user-{re.sub(r'[^a-z0-9.-]+', '-', archive.stem.lower())}"
    kept = images.keep(archive, layout.images, name)
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
    except (tarfile.TarError, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise SandboxError(f"{archive} is no archive of a container image: {error}", _WAY_OUT) from error
    if not found:
        raise SandboxError(f"{archive} names no image, so no pod could ask for it.", _WAY_OUT)
    return found


def _docker_names(tar: tarfile.TarFile) -> list[str]:
    document = _document(tar, "manifest.json")
    return [name for image in document or [] for name in image.get("RepoTags") or []]


def _oci_names(tar: tarfile.TarFile) -> list[str]:
    document = _document(tar, "index.json")
    noted = [image.get("annotations", {}) for image in (document or {}).get("manifests", [])]
    return [it["io.containerd.image.name"] for it in noted if "io.containerd.image.name" in it]


def _document(tar: tarfile.TarFile, name: str) -> Any:
    try:
        file = tar.extractfile(name)
    except KeyError:
        return None
    return json.load(file) if file else None


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
