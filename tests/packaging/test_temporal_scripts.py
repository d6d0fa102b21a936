"""The scripts that prepare Temporal, run for real or with a program that writes down how it is called."""

import asyncio
import os
import subprocess
import sys
import uuid
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from activities.models.search_attributes import SEARCH_ATTRIBUTES

SCRIPTS = Path(__file__).parents[2] / "deploy" / "temporal"
BIN = Path(sys.executable).parent


async def test_the_namespace_gets_the_search_attributes_of_operations(temporal: Client) -> None:
    namespace = f"packaging-{uuid.uuid4().hex[:8]}"
    for _ in range(2):  # It is run again whenever the composition is started.
        await run_namespace_script(temporal.service_client.config.target_host, namespace)
    answer = await temporal.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace)
    )
    types = {name: IndexedValueType.Name(kind) for name, kind in answer.custom_attributes.items()}
    registered = {
        name: "".join(part.title() for part in kind.removeprefix("INDEXED_VALUE_TYPE_").split("_"))
        for name, kind in types.items()
    }
    assert {name: registered.get(name) for name in SEARCH_ATTRIBUTES} == SEARCH_ATTRIBUTES
    assert {name for name in registered if name.startswith("Supergiant")} == set(SEARCH_ATTRIBUTES)


async def test_records_are_kept_for_thirty_days(temporal: Client) -> None:
    namespace = f"packaging-{uuid.uuid4().hex[:8]}"
    await run_namespace_script(temporal.service_client.config.target_host, namespace)
    described = await temporal.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=namespace)
    )
    assert described.config.workflow_execution_retention_ttl.ToTimedelta().days == 30


def test_both_databases_are_brought_to_their_schema(tmp_path: Path) -> None:
    calls, password = run_with_recorder("schema.sh", "temporal-sql-tool", tmp_path)
    assert password == "hunter2"
    folders = {"temporal": "temporal", "temporal_visibility": "visibility"}
    expected = []
    for database, folder in folders.items():
        schema = f"/etc/temporal/schema/postgresql/v12/{folder}/versioned"
        expected += [
            f"--db {database} create",
            f"--db {database} setup-schema -v 0.0",
            f"--db {database} update-schema -d {schema}",
        ]
    assert calls == expected


def test_a_schema_that_cannot_be_brought_up_fails(tmp_path: Path) -> None:
    calls, _ = run_with_recorder("schema.sh", "temporal-sql-tool", tmp_path, fails_at="update-schema")
    assert calls[-1].startswith("--db temporal update-schema")


def test_the_server_is_given_its_password_from_the_file(tmp_path: Path) -> None:
    script = localised("server.sh", tmp_path)
    started = tmp_path / "entrypoint.sh"
    started.write_text('#!/bin/sh\nprintf %s "$POSTGRES_PWD"\n')
    started.chmod(0o700)
    ran = subprocess.run(["/bin/sh", script], capture_output=True, text=True, check=True, env={})
    assert ran.stdout == "hunter2"


async def run_namespace_script(address: str, namespace: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        SCRIPTS / "namespace.sh",
        env={
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TEMPORAL_ADDRESS": address,
            "TEMPORAL_NAMESPACE": namespace,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def localised(name: str, folder: Path) -> Path:
    """The script with the container's places in `folder`."""
    (folder / "postgres_password").write_text("hunter2\n")
    text = (SCRIPTS / name).read_text()
    text = text.replace("/run/secrets", str(folder)).replace(
        "/etc/temporal/entrypoint.sh", f"{folder}/entrypoint.sh"
    )
    script = folder / name
    script.write_text(text)
    return script


def run_with_recorder(name: str, program: str, folder: Path, fails_at: str = "") -> tuple[list[str], str]:
    """Run a script with a stand-in for `program`; its calls, and the password that it was given."""
    recorder = folder / program
    recorder.write_text(
        f'#!/bin/sh\necho "$*" >>{folder}/calls\nprintf %s "$SQL_PASSWORD" >{folder}/given\n'
        f'case "$*" in *{fails_at or "nothing-fails"}*) exit 1;; esac\n'
    )
    recorder.chmod(0o700)
    ran = subprocess.run(
        ["/bin/sh", localised(name, folder)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{folder}:/usr/bin:/bin"},
    )
    assert ran.returncode == (1 if fails_at else 0), ran.stderr
    return (folder / "calls").read_text().splitlines(), (folder / "given").read_text()
