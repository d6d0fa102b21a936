"""What a worker says when it cannot start: one line and the way out, no traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.client import Client


def start(
    folder: Path, temporal: str, metrics: str, health: str, namespace: str = "default"
) -> "subprocess.CompletedProcess[str]":
    settings = folder / "settings.toml"
    settings.write_text(
        f'[temporal]\naddress = "{temporal}"\nnamespace = "{namespace}"\n'
        f'[worker]\nmetrics_address = "{metrics}"\nhealth_address = "{health}"\n'
    )
    return subprocess.run(
        [sys.executable, "-m", "workers.main"],
        env={**os.environ, "SUPERGIANT_SETTINGS": str(settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def free() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_without_temporal_it_says_where_it_looked(tmp_path: Path) -> None:
    address = free()
    ended = start(tmp_path, address, free(), free())
    assert ended.returncode == 2
    assert f"Error: Temporal at {address} cannot be reached" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("taken", ["metrics", "health"])
def test_a_taken_address_is_named(temporal: Client, tmp_path: Path, taken: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        addresses = {"metrics": free(), "health": free()} | {taken: address}
        ended = start(tmp_path, temporal.service_client.config.target_host, **addresses)
    assert ended.returncode == 2
    assert "Error: cannot listen" in ended.stderr
    assert address.rpartition(":")[2] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unknown_namespace_is_named(temporal: Client, tmp_path: Path) -> None:
    address = temporal.service_client.config.target_host
    ended = start(tmp_path, address, free(), free(), namespace="nowhere")
    assert ended.returncode == 2
    assert f"Error: Temporal at {address} has no namespace 'nowhere'\n  → create it" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("key", ["metrics", "health"])
def test_an_address_that_is_none_is_named(tmp_path: Path, key: str) -> None:
    ended = start(tmp_path, free(), **{"metrics": free(), "health": free(), key: "foo"})
    assert ended.returncode == 2
    assert f"worker.{key}_address: 'foo' must be HOST:PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    ended = start(tmp_path, 'x"\nbroken', free(), free())
    assert ended.returncode == 2
    assert "settings.toml" in ended.stderr
    assert "Traceback" not in ended.stderr
