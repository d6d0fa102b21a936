"""Prometheus, which measures the sandbox as it would measure a cluster: its program, configuration and command.

`sandbox.lifecycle` finds the program and prepares the configuration, and `sandbox.services` runs it. The labels are
those of kube-prometheus, so that queries written for a common cluster work here as they are.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.binaries.locate import verify
from sandbox.binaries.programs import machine
from sandbox.errors import SandboxError
from sandbox.kubernetes import control_plane
from sandbox.layout import Layout, Memory, caches_folder, write_private
from sandbox.nodes import packages
from sandbox.processes import Command, Processes
from sandbox.progress import Progress

NAME = "prometheus"
SCRAPE_INTERVAL = "5s"
_WAY_OUT = "Go without metrics (--no-prometheus), or put the program `prometheus` on PATH."
# What is reached over plain HTTP on this machine: the job, and the name of its port where that is another.
_PLAIN_JOBS = {
    "etcd": "etcd",
    "kwok-controller": "kwok-controller",
    "csi-attacher": "csi-attacher",
    "csi-resizer": "csi-resizer",
    "temporal": "temporal-metrics",
    "supergiant-worker": "worker-metrics",
}

Json = dict[str, Any]


def program(progress: Progress, environ: Mapping[str, str] = os.environ, bin_dir: Path | None = None) -> Path:
    """The program: of the given folder, else on PATH, else of Debian's package (fetched once, 19 MB).

    The package is unpacked and never installed: no service of the machine's own starts.
    Raises SandboxError if it cannot be had.
    """
    given = bin_dir or environ.get("SUPERGIANT_BIN_DIR")
    folders = ([os.fspath(Path(given).expanduser())] if given else []) + [environ.get("PATH", "")]
    for folder in folders:
        if found := shutil.which(NAME, path=folder):
            return Path(found).absolute()
    cache = cache_folder(environ)
    target = cache / NAME
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            progress.say("Fetching Prometheus from Debian's packages (once) ...")
            with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as new:
                os.replace(_fetched(Path(new)), target)
    return target


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the fetched program is kept, one folder per kind of machine and way of fetching."""
    digest = hashlib.sha256(Path(packages.__file__).read_bytes() + machine().encode())
    return caches_folder(environ) / NAME / digest.hexdigest()[:16]


def prepare(layout: Layout, memory: Memory) -> None:
    """Write the configuration, and end a process that has another one or is no longer wanted; `Startup` starts it."""
    processes, path = Processes(layout), layout.prometheus_configuration
    if not memory.prometheus:
        processes.kill(NAME, signal.SIGTERM)
        return
    text = configuration(layout, memory)
    if not path.exists() or path.read_text() != text:
        # The old process ends first: whoever is interrupted in between finds the difference again.
        processes.kill(NAME, signal.SIGTERM)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(path, text)


def command(layout: Layout, memory: Memory, environment: Mapping[str, str]) -> Command:
    """How it is started; it serves its API on 127.0.0.1 alone.

    Nothing is said about a lock file: Debian makes none, and elsewhere the kernel frees it with the process.
    """
    arguments = (
        memory.programs[NAME],
        f"--config.file={layout.prometheus_configuration}",
        f"--web.listen-address=127.0.0.1:{memory.ports[NAME]}",
        f"--storage.tsdb.path={layout.prometheus_state}",
        # Days of a small sandbox; whichever is reached first.
        "--storage.tsdb.retention.time=2d",
        "--storage.tsdb.retention.size=512MB",
    )
    return Command(NAME, arguments, environment)


def configuration(layout: Layout, memory: Memory) -> str:
    """What is measured, as YAML: the control plane, the side-cars, Temporal, the worker, and real nodes' kubelets."""
    ports = memory.ports
    own = [_job(job, ports[port]) for job, port in _PLAIN_JOBS.items()]
    own.append(_job("prometheus", ports[NAME]))
    apiserver = _job("apiserver", ports["kube-apiserver"]) | _https(layout, verified=True)
    others = [_job(job, ports[job]) | _https(layout) for job in ("kube-controller-manager", "kube-scheduler")]
    # The series of the whole machine and of its other cgroups have an empty pod.
    of_no_pod = {"source_labels": ["__name__", "pod"], "regex": "container_.*;", "action": "drop"}
    kubelets = [
        _kubelets("kubelet", "/metrics", layout),
        _kubelets("kubelet-cadvisor", "/metrics/cadvisor", layout) | {"metric_relabel_configs": [of_no_pod]},
    ]
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": SCRAPE_INTERVAL},
            "scrape_configs": [apiserver, *others, *own, *kubelets],
        },
        sort_keys=False,
    )


def _fetched(folder: Path) -> Path:
    try:
        unpacked = packages.unpack_alone(NAME, folder) / "usr/bin" / NAME
        verify(NAME, unpacked)
    except SandboxError as error:
        raise SandboxError(
            f"There is no Prometheus: {error.problem}", f"{_WAY_OUT} {error.way_out}"
        ) from error
    return unpacked


def _job(name: str, port: int) -> Json:
    return {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}


def _https(layout: Layout, verified: bool = False) -> Json:
    """The administrator's certificate: unlike a token it is valid for as long as the control plane itself, and it
    guards nothing from a process that already owns the folder it lies in."""
    folder = control_plane.certificates(layout)
    identity: Json = {"cert_file": str(folder / "admin.crt"), "key_file": str(folder / "admin.key")}
    # All but the API server made their own certificates, which nobody has signed.
    trust: Json = {"ca_file": str(folder / "ca.crt")} if verified else {"insecure_skip_verify": True}
    return {"scheme": "https", "tls_config": identity | trust}


def _kubelets(name: str, path: str, layout: Layout) -> Json:
    return {
        "job_name": name,
        "metrics_path": path,
        # Where a series has a namespace or a pod of its own, that is the one which queries mean.
        "honor_labels": True,
        **_https(layout),
        # Debian's Prometheus cannot ask Kubernetes for its nodes; the machines stand-in writes them down.
        "file_sd_configs": [{"files": [str(layout.kubelets)], "refresh_interval": "15s"}],
        "relabel_configs": [
            {"target_label": "job", "replacement": "kubelet"},
            {"target_label": "metrics_path", "source_labels": ["__metrics_path__"]},
        ],
    }
