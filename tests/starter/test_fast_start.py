"""The command starts fast because it imports late: heavy modules must not creep into its first imports."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SDKS = ("boto3", "botocore", "kubernetes", "moto", "pydo", "sandbox.lifecycle", "sandbox.aws.simulator")


def imported_by(code: str) -> set[str]:
    # Left without a farewell: a process with living Temporal threads may crash on its way out (sdk-python#300).
    told = "print(json.dumps(sorted(sys.modules)), file=sys.stderr, flush=True)\nos._exit(0)"
    program = f"import sys, json, os\n{code}\n{told}"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(run.stderr.splitlines()[-1]))


def test_help_imports_no_command_and_nothing_heavy() -> None:
    modules = imported_by("from starter.cli.main import run; assert run(['--help']) == 0")
    heavy = {*SDKS, "grpc", "pydantic", "rich", "temporalio", "yaml"}
    assert not heavy & modules
    assert not {name for name in modules if name.startswith("starter.cli.")} - {
        "starter.cli.context",
        "starter.cli.main",
    }


@pytest.mark.parametrize("command", ["app", "cluster", "disk", "doctor", "op", "recipe", "sandbox", "worker"])
def test_no_command_imports_a_cloud_s_sdk_for_its_help(command: str) -> None:
    modules = imported_by(f"from starter.cli.main import run; assert run(['{command}', '--help']) == 0")
    assert not set(SDKS) & modules
    assert "temporalio" not in modules


def test_a_list_loads_no_models_of_operations(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    # Port 1 refuses at once, and by then all that a list imports has been imported.
    settings.write_text('[temporal]\naddress = "127.0.0.1:1"\n')
    modules = imported_by(
        f"from starter.cli.main import run; assert run(['--settings', {str(settings)!r}, 'op', 'list']) == 2"
    )
    assert not {*SDKS, "rich", "yaml", "workflows.models.operations", "activities.models.apps"} & modules


def test_a_temporal_that_says_nothing_is_given_up_on_within_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = tmp_path / "settings.toml"
        settings.write_text(f'[temporal]\naddress = "{address}"\n')
        begun = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-m", "starter.cli.main", "--settings", str(settings), "op", "list"],
            capture_output=True,
            text=True,
        )
        assert time.monotonic() - begun < 20
    assert run.returncode == 2
    assert run.stderr.startswith(f"Error: Temporal at {address} cannot be reached: ")
    assert "Traceback" not in run.stderr
