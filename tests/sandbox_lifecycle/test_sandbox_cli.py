"""`supergiant sandbox` as a person types it: what it prints where, and how it exits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import lifecycle
from sandbox.layout import layout_of


def supergiant(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "starter.cli.main", "sandbox", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )


def test_help_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys, starter.cli.sandbox, sandbox.lifecycle, sandbox.aws.admin;"
        "heavy = {'boto3', 'botocore', 'kubernetes', 'moto', 'grpc', 'temporalio', 'werkzeug'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_bad_name_is_a_bad_request_in_one_line_with_the_way_out(tmp_path: Path) -> None:
    answer = supergiant("up", "--name", "Not/Good", SUPERGIANT_SANDBOX_HOME=str(tmp_path))
    assert answer.returncode == 2
    assert "no name for a sandbox" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


def test_the_status_of_nothing_says_how_to_make_it(tmp_path: Path) -> None:
    answer = supergiant("status", SUPERGIANT_SANDBOX_HOME=str(tmp_path))
    assert answer.returncode == 1
    assert "supergiant sandbox up" in answer.stderr


def test_down_of_nothing_is_well(tmp_path: Path) -> None:
    answer = supergiant("down", SUPERGIANT_SANDBOX_HOME=str(tmp_path))
    assert answer.returncode == 0
    assert "no sandbox default" in answer.stderr


@pytest.mark.parametrize("command", [("nodes",), ("fault", "node", "crash", "1"), ("image", "load", "tools")])
def test_nodes_of_a_sandbox_that_is_not_there_are_a_bad_request(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    answer = supergiant(*command, SUPERGIANT_SANDBOX_HOME=str(tmp_path))
    assert answer.returncode == 2
    assert "supergiant sandbox up" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_images_that_can_be_had_are_listed_with_the_names_that_pods_use() -> None:
    listed = json.loads(supergiant("image", "list", "--json").stdout)
    assert {"name": "redis", "reference": "docker.io/library/redis:7", "on_every_node": True} in listed
    assert "postgres" in supergiant("image", "list").stdout


def test_a_folder_without_the_programs_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    answer = supergiant("up", "--bin-dir", f"{tmp_path}/bin", SUPERGIANT_SANDBOX_HOME=f"{tmp_path}/home")
    assert answer.returncode == 1
    assert f"{tmp_path}/bin lacks etcd" in answer.stderr
    assert not (tmp_path / "home" / "default").exists()


def test_a_home_that_is_no_folder_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = supergiant("up", SUPERGIANT_SANDBOX_HOME=f"{tmp_path}/file/deeper")
    assert answer.returncode == 1
    assert "SUPERGIANT_SANDBOX_HOME" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.sandbox
def test_up_prints_progress_aside_and_how_to_use_it(bed: str) -> None:
    answer = supergiant("up", "--name", bed)
    assert answer.returncode == 0, answer.stderr
    assert f"export SUPERGIANT_SETTINGS={layout_of(bed).settings}" in answer.stdout
    assert "The sandbox is up" in answer.stderr
    assert "The sandbox is up" not in answer.stdout


@pytest.mark.sandbox
def test_status_tells_each_process_and_fails_when_one_is_down(bed: str) -> None:
    lifecycle.up(bed)
    well = supergiant("status", "--name", bed, "--json")
    assert well.returncode == 0
    document = json.loads(well.stdout)
    assert document["healthy"] is True
    assert {it["name"] for it in document["processes"]} == set(lifecycle.process_names(bed))
    assert supergiant("fault", "kill", "csi-resizer", "--name", bed).returncode == 0
    ill = supergiant("status", "--name", bed)
    assert ill.returncode == 1
    assert "csi-resizer" in ill.stdout
    assert "not running" in ill.stdout
    assert "repairs it" in ill.stderr
    assert supergiant("fault", "restart", "csi-resizer", "--name", bed).returncode == 0
    assert lifecycle.status(bed).healthy


@pytest.mark.sandbox
def test_faults_are_added_listed_and_cleared(bed: str) -> None:
    lifecycle.up(bed)
    asked = (
        "--action",
        "CreateVolume",
        "--code",
        "VolumeLimitExceeded",
        "--count",
        "0",
        "--resource",
        "none-such",
    )
    made = supergiant("fault", "add", "error", *asked, "--name", bed)
    assert made.returncode == 0, made.stderr
    (fault,) = json.loads(supergiant("fault", "list", "--name", bed, "--json").stdout)
    assert fault["id"] == made.stdout.strip()
    assert (fault["action"], fault["code"], fault["count"]) == ("CreateVolume", "VolumeLimitExceeded", None)
    assert fault["id"] in supergiant("fault", "list", "--name", bed).stdout
    assert supergiant("fault", "clear", "--name", bed).returncode == 0
    assert json.loads(supergiant("fault", "list", "--name", bed, "--json").stdout) == []


@pytest.mark.sandbox
def test_a_fault_that_cannot_be_is_refused_with_its_reason(bed: str) -> None:
    lifecycle.up(bed)
    answer = supergiant("fault", "add", "error", "--resource", "[", "--name", bed)
    assert answer.returncode == 1
    assert "regular expression" in answer.stderr


@pytest.mark.sandbox
def test_logs_show_where_they_are_and_what_they_hold(bed: str) -> None:
    lifecycle.up(bed)
    everything = supergiant("logs", "--name", bed)
    assert [line.split()[0] for line in everything.stdout.splitlines()] == lifecycle.process_names(bed)
    some = supergiant("logs", "aws", "-n", "1", "--name", bed)
    assert len(some.stdout.splitlines()) == 1
    assert supergiant("logs", "nosuch", "--name", bed).returncode == 2
