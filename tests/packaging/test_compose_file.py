"""The composition for a single host: what it publishes, pins, mounts and keeps to itself."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from activities.models.quantities import seconds
from activities.models.settings import WorkerSettings

REPOSITORY = Path(__file__).parents[2]
ENDS_BY_ITSELF = {"schema", "namespace"}


def by_default(text: str) -> str:
    """What compose makes of a text when nothing is set in the environment."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def read_composition() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(by_default((REPOSITORY / "docker-compose.yml").read_text()))
    return parsed


COMPOSITION = read_composition()
SERVICES: dict[str, dict[str, Any]] = COMPOSITION["services"]
each_service = pytest.mark.parametrize("name", SERVICES)


def version_of(service: str) -> str:
    return str(SERVICES[service]["image"].rpartition(":")[2])


def test_all_that_production_needs_is_there() -> None:
    wanted = {"postgresql", "schema", "temporal", "namespace", "temporal-ui", "worker", "prometheus"}
    assert set(SERVICES) == wanted


@each_service
def test_every_published_port_is_on_loopback(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert str(port).startswith("127.0.0.1:"), f"{name} publishes {port}"
    assert "network_mode" not in SERVICES[name]


def test_no_port_is_published_twice() -> None:
    hosts = [str(p).rpartition(":")[0] for one in SERVICES.values() for p in one.get("ports", [])]
    assert len(hosts) == len(set(hosts)) == 3


@each_service
def test_images_are_pinned_to_a_version(name: str) -> None:
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?", version_of(name)), SERVICES[name]["image"]


@each_service
def test_images_can_be_replaced_by_environment(name: str) -> None:
    text = (REPOSITORY / "docker-compose.yml").read_text()
    written = yaml.safe_load(text)["services"][name]["image"]
    variable = re.fullmatch(r"\$\{([A-Z_]+):-[^}]+\}", written)
    assert variable
    assert f"`{variable[1]}`" in (REPOSITORY / "deploy" / "README.md").read_text()


def test_the_server_is_the_version_that_the_tests_run_on() -> None:
    said = subprocess.run(
        [Path(sys.executable).parent / "temporal", "--version"], capture_output=True, text=True, check=True
    ).stdout
    tested = re.search(r"Server (\d+\.\d+\.\d+), UI (\d+\.\d+\.\d+)", said)
    assert tested
    assert version_of("temporal") == version_of("schema") == version_of("namespace") == tested[1]
    assert version_of("temporal-ui") == tested[2]


@each_service
def test_no_secret_stands_in_the_environment(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|PWD|SECRET|TOKEN|CREDENTIAL|ACCESS_KEY", key):
            assert key.endswith("_FILE"), f"{name}: {key}"
            assert str(value).startswith("/run/secrets/")


@each_service
def test_whoever_uses_a_secret_is_given_it_and_nobody_else(name: str) -> None:
    service = SERVICES[name]
    mounted = [
        v.split(":")[0] for v in service.get("volumes", []) if v.split(":")[0].endswith((".sh", "settings"))
    ]
    texts = [str(service.get("environment", ""))]
    for source in mounted:
        path = REPOSITORY / source
        files = path.glob("*.toml") if path.is_dir() else [path]
        texts += [file.read_text() for file in files]
    used = set(re.findall(r"/run/secrets/(\w+)", " ".join(texts)))
    assert set(service.get("secrets", [])) == used


def test_every_secret_is_a_file_that_its_page_explains() -> None:
    page = (REPOSITORY / "deploy" / "secrets" / "README.md").read_text()
    for name, secret in COMPOSITION["secrets"].items():
        assert secret == {"file": f"./deploy/secrets/{name}"}
        assert f"| `{name}` |" in page


def test_git_ignores_secrets() -> None:
    files = [secret["file"] for secret in COMPOSITION["secrets"].values()]
    ignored = subprocess.run(
        ["git", "check-ignore", *files], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert ignored.stdout.split() == files


@each_service
def test_what_it_mounts_and_builds_exists(name: str) -> None:
    service = SERVICES[name]
    for mount in service.get("volumes", []):
        source, _, rest = mount.partition(":")
        if source.startswith("."):
            assert (REPOSITORY / source).exists(), mount
            assert rest.endswith(":ro"), f"{mount} could be written by {name}"
        else:
            assert source in COMPOSITION["volumes"]
    if build := service.get("build"):
        assert (REPOSITORY / build["context"] / build["dockerfile"]).is_file()
    if service.get("entrypoint"):
        assert any(m.endswith(f"{service['entrypoint'][-1]}:ro") for m in service["volumes"])


@each_service
def test_what_it_waits_for_can_be_waited_for(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ENDS_BY_ITSELF else "service_healthy"
        assert how == {"condition": wanted}
        assert other in ENDS_BY_ITSELF or "healthcheck" in SERVICES[other]


@each_service
def test_what_stays_up_is_started_again(name: str) -> None:
    assert ("restart" in SERVICES[name]) is (name not in ENDS_BY_ITSELF)


def test_what_holds_data_has_a_volume() -> None:
    for name, volume in (("postgresql", "postgresql"), ("prometheus", "prometheus")):
        assert any(mount.startswith(f"{volume}:") for mount in SERVICES[name]["volumes"])


def test_the_worker_has_no_privileges() -> None:
    worker = SERVICES["worker"]
    assert worker["read_only"] is True
    assert worker["cap_drop"] == ["ALL"]
    assert worker["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in worker


def test_a_worker_is_given_the_time_that_its_activities_have() -> None:
    given = timedelta(seconds=seconds(SERVICES["worker"]["stop_grace_period"]))
    assert given > WorkerSettings().graceful_shutdown
