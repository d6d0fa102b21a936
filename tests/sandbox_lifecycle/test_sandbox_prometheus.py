"""Prometheus in a sandbox: where it comes from, what it is told, and that it really measures."""

import json
import os
import re
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import lifecycle
from sandbox.errors import SandboxError
from sandbox.kubernetes.node_objects import POWER, kubelets
from sandbox.layout import Layout, Memory, layout_of, read_memory, write_memory
from sandbox.nodes import packages
from sandbox.ports import NAMES
from sandbox.processes import Processes
from sandbox.progress import Silence
from sandbox.prometheus import cache_folder, command, configuration, prepare, program

PORTS = {name: 20000 + number for number, name in enumerate(NAMES)}
PROGRAM = "#!/bin/sh\nexit 0\n"
CONTROL_PLANE = {"apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kwok-controller"}
MEASURED = CONTROL_PLANE | {"csi-attacher", "csi-resizer", "temporal", "prometheus"}


def memory(prometheus: bool = True) -> Memory:
    return Memory(PORTS, 1, "m7i.large", False, {"prometheus": "/bin/prometheus"}, 140, 2, prometheus)


def jobs(folder: Path) -> dict[str, dict[str, Any]]:
    told = yaml.safe_load(configuration(Layout("x", folder), memory()))
    assert told["global"]["scrape_interval"] == "5s"
    return {job["job_name"]: job for job in told["scrape_configs"]}


def put(folder: Path) -> Path:
    folder.mkdir(parents=True)
    path = folder / "prometheus"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return path


def node(name: str, port: int = 10250, more: dict[str, str] | None = None) -> dict[str, Any]:
    labels = {"topology.kubernetes.io/zone": "us-east-1b"} | (more or {})
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "10.140.0.11"}]
    kubelet = {"kubeletEndpoint": {"Port": port}}
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"addresses": addresses, "daemonEndpoints": kubelet},
    }


# What it is told


def test_everything_that_tells_metrics_is_asked_where_it_listens(tmp_path: Path) -> None:
    found = jobs(tmp_path)
    assert set(found) == MEASURED | {"supergiant-worker", "kubelet", "kubelet-cadvisor"}
    targets = {
        name: job["static_configs"][0]["targets"] for name, job in found.items() if "static_configs" in job
    }
    assert targets["apiserver"] == [f"127.0.0.1:{PORTS['kube-apiserver']}"]
    assert targets["temporal"] == [f"127.0.0.1:{PORTS['temporal-metrics']}"]
    assert targets["supergiant-worker"] == [f"127.0.0.1:{PORTS['worker-metrics']}"]
    assert targets["csi-resizer"] == [f"127.0.0.1:{PORTS['csi-resizer']}"]


def test_only_who_asks_for_a_certificate_is_shown_one(tmp_path: Path) -> None:
    found = jobs(tmp_path)
    encrypted = {name for name, job in found.items() if job.get("scheme") == "https"}
    assert encrypted == {
        "apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kubelet-cadvisor",
    }
    assert found["apiserver"]["tls_config"]["ca_file"].endswith("/pki/ca.crt")
    assert all(found[name]["tls_config"]["key_file"].endswith("/pki/admin.key") for name in encrypted)


def test_kubelets_have_the_labels_of_kube_prometheus(tmp_path: Path) -> None:
    for name, path in (("kubelet", "/metrics"), ("kubelet-cadvisor", "/metrics/cadvisor")):
        job = jobs(tmp_path)[name]
        assert job["metrics_path"] == path
        assert job["honor_labels"] is True
        assert {"target_label": "job", "replacement": "kubelet"} in job["relabel_configs"]
        assert {"target_label": "metrics_path", "source_labels": ["__metrics_path__"]} in job[
            "relabel_configs"
        ]
        assert job["file_sd_configs"][0]["files"] == [str(Layout("x", tmp_path).kubelets)]


@pytest.mark.parametrize(
    ("series", "dropped"),
    [
        ("container_memory_working_set_bytes;", True),
        ("container_memory_working_set_bytes;redis-0", False),
        ("machine_cpu_cores;", False),
    ],
)
def test_containers_of_no_pod_are_left_out(tmp_path: Path, series: str, dropped: bool) -> None:
    (rule,) = jobs(tmp_path)["kubelet-cadvisor"]["metric_relabel_configs"]
    assert rule["action"] == "drop"
    assert rule["source_labels"] == ["__name__", "pod"]
    assert bool(re.fullmatch(rule["regex"], series)) is dropped


def test_only_nodes_with_a_kubelet_are_told() -> None:
    assert kubelets([node("real"), node("no-kubelet", port=0), node("kwok", more={POWER: "on"})]) == [
        {"targets": ["10.140.0.11:10250"], "labels": {"node": "real", "zone": "us-east-1b"}}
    ]


def test_a_node_that_has_just_registered_is_told_when_it_has_an_address() -> None:
    young = node("young")
    young["status"]["addresses"] = []
    assert kubelets([young, {"metadata": {"name": "younger"}, "spec": {}}]) == []


def test_it_serves_this_machine_alone_and_keeps_little(tmp_path: Path) -> None:
    layout = Layout("x", tmp_path)
    arguments = command(layout, memory(), {}).arguments
    assert f"--web.listen-address=127.0.0.1:{PORTS['prometheus']}" in arguments
    assert f"--storage.tsdb.path={layout.prometheus_state}" in arguments
    assert any(argument.startswith("--storage.tsdb.retention.size=") for argument in arguments)
    assert not any("lifecycle" in argument or "admin" in argument for argument in arguments)


def test_the_configuration_is_its_owners_and_rewritten_only_when_it_changes(tmp_path: Path) -> None:
    layout = Layout("x", tmp_path)
    prepare(layout, memory(prometheus=False))
    assert not layout.prometheus_configuration.exists()
    prepare(layout, memory())
    first = layout.prometheus_configuration.stat()
    assert first.st_mode & 0o777 == 0o600
    prepare(layout, memory())
    assert layout.prometheus_configuration.stat().st_ino == first.st_ino
    layout.prometheus_configuration.write_text("global: {}\n")
    prepare(layout, memory())
    assert layout.prometheus_configuration.read_text() == configuration(layout, memory())


# Where it comes from


def test_a_given_folder_comes_before_the_path_and_the_path_before_debian(tmp_path: Path) -> None:
    given, on_path = put(tmp_path / "given"), put(tmp_path / "path")
    environ = {"HOME": str(tmp_path), "PATH": str(on_path.parent)}
    assert program(Silence(), environ) == on_path
    assert program(Silence(), environ | {"SUPERGIANT_BIN_DIR": str(given.parent)}) == given
    assert program(Silence(), environ, given.parent) == given
    assert program(Silence(), environ | {"SUPERGIANT_BIN_DIR": str(tmp_path / "empty")}) == on_path


def test_debians_package_is_unpacked_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unpack_alone(name: str, folder: Path) -> Path:
        asked.append(name)
        put(folder / "root/usr/bin")
        return folder / "root"

    monkeypatch.setattr(packages, "unpack_alone", unpack_alone)
    environ = {"HOME": "/nowhere", "PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    found = program(Silence(), environ)
    assert found == program(Silence(), environ) == cache_folder(environ) / "prometheus"
    assert os.access(found, os.X_OK)
    assert asked == ["prometheus"]
    assert {path.name for path in found.parent.iterdir()} == {"prometheus", ".lock"}


def test_a_machine_without_apt_is_told_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    environ = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    with pytest.raises(SandboxError, match="no apt-get") as caught:
        program(Silence(), environ)
    assert "--no-prometheus" in caught.value.way_out
    assert not (cache_folder(environ) / "prometheus").exists()


def test_a_program_that_does_not_run_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack_alone(name: str, folder: Path) -> Path:
        put(folder / "root/usr/bin").write_text("#!/bin/sh\nexit 1\n")
        return folder / "root"

    monkeypatch.setattr(packages, "unpack_alone", unpack_alone)
    environ = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    with pytest.raises(SandboxError, match="--no-prometheus"):
        program(Silence(), environ)
    assert not (cache_folder(environ) / "prometheus").exists()


def test_a_sandbox_from_before_there_was_a_port_for_it_is_refused_unchanged() -> None:
    layout = layout_of("old")
    layout.folder.mkdir(parents=True)
    ports = {name: port for name, port in PORTS.items() if name != "prometheus"}
    write_memory(layout, Memory(ports, 1, "m7i.large", False, {}))
    before = layout.memory.read_text()
    with pytest.raises(SandboxError, match="another version") as caught:
        lifecycle.up("old", prometheus=True)
    assert "sandbox down --name old" in caught.value.way_out
    assert layout.memory.read_text() == before
    assert lifecycle.down("old")


# That it measures


def asked(name: str, query: str) -> list[dict[str, Any]]:
    status = lifecycle.status(name)
    (address,) = (process.address for process in status.processes if process.name == "prometheus")
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@pytest.mark.sandbox
def test_it_measures_the_control_plane_and_forgets_nothing_when_killed(bed: str) -> None:
    try:
        assert lifecycle.up(bed, prometheus=True).healthy
        deadline = time.monotonic() + 20
        while {it["metric"]["job"] for it in asked(bed, "up == 1")} < MEASURED:
            assert time.monotonic() < deadline, asked(bed, "up")
            time.sleep(0.2)
        assert asked(bed, 'apiserver_request_total{job="apiserver"}')
        kept = read_memory(layout_of(bed))
        assert kept is not None
        assert kept.prometheus

        lifecycle.kill(bed, "prometheus")
        lifecycle.start(bed, "prometheus")
        assert asked(bed, 'count_over_time(up{job="etcd"}[5m])')
    finally:
        status = lifecycle.up(bed, prometheus=False)
    assert status.healthy
    assert "prometheus" not in {process.name for process in status.processes}
    assert Processes(layout_of(bed)).find("prometheus") is None
