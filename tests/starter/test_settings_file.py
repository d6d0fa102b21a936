"""The settings file and its overrides by environment."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from activities.models.settings import Settings, SettingsError, find, load

FILE = """\
[temporal]
address = "127.0.0.1:7233"
namespace = "default"

[clusters.east-1]
cloud = "aws"
kubeconfig = "kube/config"
account = "123456789012"
region = "us-east-1"
zones = ["us-east-1a", "us-east-1b"]
endpoint_url = "http://127.0.0.1:4566"
credentials_file = "aws-credentials"
profile = "sandbox"
retention = "3d"

[worker]
metrics_address = "127.0.0.1:1"
graceful_shutdown = "5s"
max_activities = 7

[policy]
file = "policy.toml"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    return path


def test_every_section_is_read_with_its_units(path: Path) -> None:
    settings = load(path, {})
    cluster = settings.clusters["east-1"]
    assert settings.temporal.address == "127.0.0.1:7233"
    assert cluster.zones == ("us-east-1a", "us-east-1b")
    assert cluster.retention == timedelta(days=3)
    assert settings.worker.graceful_shutdown == timedelta(seconds=5)
    assert settings.worker.max_activities == 7
    assert settings.worker.retention == timedelta(days=7)


def test_paths_are_relative_to_the_file(path: Path) -> None:
    settings = load(path, {})
    cluster = settings.clusters["east-1"]
    assert cluster.kubeconfig == path.parent / "kube/config"
    assert cluster.cloud_options["credentials_file"] == str(path.parent / "aws-credentials")
    assert settings.policy.file == path.parent / "policy.toml"


def test_the_environment_wins(path: Path) -> None:
    settings = load(
        path,
        {
            "SUPERGIANT_TEMPORAL_ADDRESS": "there:1",
            "SUPERGIANT_CLUSTERS_EAST_1_ZONES": "a, b,c",
            "SUPERGIANT_CLUSTERS_EAST_1_PROFILE": "other",
            "SUPERGIANT_WORKER_MAX_ACTIVITIES": "9",
            "SUPERGIANT_WORKER_RETENTION": "2m",
        },
    )
    assert settings.temporal.address == "there:1"
    assert settings.clusters["east-1"].zones == ("a", "b", "c")
    assert settings.clusters["east-1"].cloud_options["profile"] == "other"
    assert settings.worker.max_activities == 9
    assert settings.worker.retention == timedelta(minutes=2)


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {"XDG_CONFIG_HOME": str(tmp_path)}) == Settings()


def test_the_named_file_comes_before_the_folder_s_and_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    own = tmp_path / "config/supergiant/settings.toml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert find(env) == own
    (tmp_path / "supergiant.toml").touch()
    assert find(env) == Path("supergiant.toml")
    assert find({**env, "SUPERGIANT_SETTINGS": "else.toml"}) == Path("else.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("namespace =", "namespaces =", "unknown key temporal.namespaces"),
        ("zones =", "zonse =", "unknown key clusters.east-1.zonse"),
        ("[policy]", "[polizy]", "unknown section 'polizy'"),
        ('cloud = "aws"', 'cloud = "gce"', "clusters.east-1.cloud: 'gce' is not a known cloud"),
        ('region = "us-east-1"\n', "", "clusters.east-1.region is missing"),
        ('zones = ["us-east-1a", "us-east-1b"]', "zones = []", "clusters.east-1.zones is empty"),
        (
            'account = "123456789012"',
            "account = 123456789012",
            "clusters.east-1.account: 123456789012 must be",
        ),
        ("max_activities = 7", "max_activities = 0", "worker.max_activities: 0 must be a whole number"),
        ('"5s"', '"5 seconds"', "worker.graceful_shutdown: '5 seconds' is not a duration"),
        ("[clusters.east-1]", "[clusters.East]", "cluster name 'East' is not valid"),
        ('"127.0.0.1:1"', '"foo"', "worker.metrics_address: 'foo' must be HOST:PORT"),
        ('"127.0.0.1:1"', '":65536"', "worker.metrics_address: ':65536' must be HOST:PORT"),
        ('"127.0.0.1:1"', '"a..b:1"', "worker.metrics_address: 'a..b:1' must be HOST:PORT"),
        ("[worker]", "[worker", "is not valid TOML"),
        ("[temporal]\n", "temporal = 1\n[x]\n", "unknown section 'x'"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(path: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    path.write_text(FILE.replace(old, new))
    with pytest.raises(SettingsError, match=re.escape(message)) as error:
        load(path, {})
    assert str(path) in str(error.value)


def test_a_wrong_override_is_named_by_its_variable(path: Path) -> None:
    with pytest.raises(SettingsError, match="SUPERGIANT_WORKER_RETENTION: 'soon' is not a duration"):
        load(path, {"SUPERGIANT_WORKER_RETENTION": "soon"})


def test_a_file_that_is_not_there_is_said_not_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        load(tmp_path / "none.toml", {})
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load(tmp_path, {})
