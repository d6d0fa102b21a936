"""A whole sandbox for tests, workers that can be killed, and the means to ask for operations on it.

The `sandbox` fixture of `tests/conftest.py` gives one `Sandbox` to all marked tests of a session; the folders
that run operations on it build on `WorkerProcess` and `Bench`.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from activities.models.apps import App
from sandbox import lifecycle
from sandbox.aws.admin import Admin
from sandbox.kubernetes import control_plane
from sandbox.kubernetes.api import Api
from sandbox.layout import Layout, layout_of, read_memory
from sandbox.services import PROFILE, REGION
from starter.operations import Operations
from starter.snapshots import Snapshot
from workflows.ids import component_lock, operation_workflow_id
from workflows.models.operations import (
    DeleteRequest,
    DeployRequest,
    OperationKind,
    OperationRecord,
    OperationRequest,
)

REPOSITORY = Path(__file__).parent.parent
CLUSTER = "sandbox"

# Nothing of the caller's may lead a test to another cloud, cluster or sandbox.
_FOREIGN = ("AWS_", "KUBE", "SUPERGIANT_", "TEMPORAL_")


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that is up. What a test kills it starts again, or `up` does."""

    name: str
    home: Path

    @property
    def layout(self) -> Layout:
        return layout_of(self.name, {"SUPERGIANT_SANDBOX_HOME": str(self.home)})

    @property
    def settings_path(self) -> Path:
        return self.layout.settings

    @property
    def kubeconfig(self) -> Path:
        return self.layout.kubeconfig

    @cached_property
    def endpoint_url(self) -> str:
        """Of the AWS simulator."""
        return str(self.settings["clusters"][CLUSTER]["endpoint_url"])

    @cached_property
    def admin(self) -> Admin:
        """The AWS simulator's own interface."""
        return Admin(self.endpoint_url)

    @cached_property
    def api(self) -> Api:
        """The API server, asked as its administrator and without any code of the product."""
        memory = read_memory(self.layout)
        assert memory is not None
        return control_plane.api_of(self.layout, memory)

    @cached_property
    def ec2(self) -> Any:
        """The simulated EC2, asked without any code of the product."""
        key_id, secret = self.aws_keys
        return boto3.client(
            "ec2",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
        )

    @property
    def aws_keys(self) -> tuple[str, str]:
        lines = self.layout.aws_credentials.read_text().splitlines()
        assert lines[0] == f"[{PROFILE}]"
        found = dict(line.split(" = ", 1) for line in lines[1:])
        return found["aws_access_key_id"], found["aws_secret_access_key"]

    @property
    def settings(self) -> dict[str, Any]:
        return tomllib.loads(self.settings_path.read_text())

    def kill(self, process: str) -> bool:
        return lifecycle.kill(self.name, process)

    def start(self, process: str) -> None:
        lifecycle.start(self.name, process)

    def processes(self) -> tuple[lifecycle.ProcessStatus, ...]:
        return lifecycle.status(self.name).processes

    def up(self) -> None:
        """Repair whatever a test has broken."""
        lifecycle.up(self.name)


@contextmanager
def brought_up(real_nodes: int = 0) -> Iterator[Sandbox]:
    """A sandbox of this process's own; nothing of it is left afterwards, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="sg-") as folder, pytest.MonkeyPatch.context() as patch:
        home = Path(folder).resolve()
        patch.setenv("SUPERGIANT_SANDBOX_HOME", str(home))
        sandbox = Sandbox(f"tests-{os.getpid()}", home)
        try:
            lifecycle.up(sandbox.name, real_nodes=real_nodes)
            yield sandbox
        finally:
            lifecycle.down(sandbox.name)
            left = _processes_that_name(home)
    assert not left, f"the sandbox left processes behind: {left}"


def surroundings(**more: str) -> dict[str, str]:
    """The environment of a program under test."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "NO_PROXY": "127.0.0.1", **more}


def write_settings(path: Path, settings: Mapping[str, Any]) -> Path:
    """Write settings as TOML: tables of texts, numbers and lists of texts, nested once for clusters."""
    tables = {name: table for name, table in settings.items() if name != "clusters"}
    tables |= {f"clusters.{name}": table for name, table in settings.get("clusters", {}).items()}
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    path.write_text("\n".join(lines))
    return path


class WorkerProcess:
    """One worker as a user runs it, in a process of its own."""

    def __init__(self, settings: Path, log: Path) -> None:
        self.settings, self.log = settings, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self, seconds: float = 60) -> None:
        """Start it, and wait until it says that it is ready."""
        assert not self.runs
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.main"],
                env=surroundings(SUPERGIANT_SETTINGS=str(self.settings)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        address = tomllib.loads(self.settings.read_text())["worker"]["health_address"]
        deadline = time.monotonic() + seconds
        while not _answers(f"http://{address}/"):
            assert self.runs, f"the worker ended: {self.log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"the worker is not ready: {self.log.read_text()[-2000:]}"
            await asyncio.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL: it has no chance to say or finish anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, as a supervisor stops it; SIGKILL if it does not heed that."""
        if self._process is None or not self.runs:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.kill()


class Bench:
    """Asks for operations as the CLI does, within the test's own process."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.operations = Operations(client, say=lambda note: None)

    @classmethod
    async def of(cls, sandbox: Sandbox) -> "Bench":
        address = sandbox.settings["temporal"]["address"]
        return cls(await Client.connect(address, data_converter=pydantic_data_converter))

    async def deploy(self, app: App, operation: str, **more: Any) -> str:
        request = DeployRequest(app=app)
        return await self._ask(operation, OperationKind.DEPLOY, app.app, deploy=request, **more)

    async def delete(self, app: str, operation: str, delete_disks: bool = True, **more: Any) -> str:
        request = DeleteRequest(app=app, delete_disks=delete_disks)
        return await self._ask(operation, OperationKind.DELETE, app, delete=request, **more)

    async def ended(self, operation: str, seconds: float = 120) -> OperationRecord:
        """Its record once it has ended. The server keeps us waiting, so many of these cost nothing."""
        handle = self.client.get_workflow_handle(
            operation_workflow_id(operation), result_type=OperationRecord
        )
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with suppress(RPCError):
                        record: OperationRecord = await handle.result()
                        return record
                    await asyncio.sleep(0.5)  # the server is down; it is started again by whoever killed it
        except TimeoutError:
            raise AssertionError(
                f"{operation} has not ended after {seconds:.0f} s: {await self._where(operation)}"
            ) from None

    async def all_ended(self, operations: list[str], seconds: float = 180) -> dict[str, OperationRecord]:
        """The records by operation; a failure names every one that goes on, and what it waits for."""
        found = await asyncio.gather(
            *(self.ended(one, seconds) for one in operations), return_exceptions=True
        )
        late = [str(one) for one in found if isinstance(one, BaseException)]
        assert not late, "\n".join(late)
        return {one.id: one for one in found if isinstance(one, OperationRecord)}

    async def until(
        self, operation: str, wanted: Callable[[Snapshot], bool], seconds: float = 60
    ) -> Snapshot:
        """Look at it until it is as wanted."""
        deadline = time.monotonic() + seconds
        while not wanted(snapshot := await self.operations.look(operation)):
            assert time.monotonic() < deadline, f"not reached; it stands at {await self._where(operation)}"
            await asyncio.sleep(0.1)
        return snapshot

    async def at_work(self, app: str, component: str) -> set[str]:
        """The steps of a component that a worker has in hand at this moment, as the server knows it."""
        try:
            found = await self.client.get_workflow_handle(component_lock(CLUSTER, app, component)).describe()
        except RPCError:
            return set()
        started = (
            PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
            PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED,
        )
        pending = (p for p in found.raw_description.pending_activities if p.state in started)
        # What reads the facts is no step, and its activity has a number for an id.
        return {p.activity_id for p in pending if p.activity_id.startswith(f"{component}/")}

    async def _ask(self, operation: str, kind: OperationKind, app: str, **more: Any) -> str:
        request = OperationRequest(
            **{"id": operation, "kind": kind, "cluster": CLUSTER, "app": app, "requester": "tester"} | more
        )
        await self.operations.start(request)
        return operation

    async def _where(self, operation: str) -> Any:
        snapshot = await self.operations.look(operation)
        states = {step.step.id: f"{step.state.value} {step.error}" for _, step in snapshot.steps}
        last = [f"{a.step} {a.activity} {a.number}: {a.failure}" for a in snapshot.attempts]
        return [snapshot.record.state.value, snapshot.record.waits_for, snapshot.note, states, last]


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def supergiant(*arguments: str, settings: Path, seconds: float = 120) -> Said:
    """The command line, as a user runs it: a process of its own, without a terminal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter.cli.main", *arguments),
        env=surroundings(SUPERGIANT_SETTINGS=str(settings)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _processes_that_name(home: Path) -> list[str]:
    """Living processes whose command line or environment holds the folder."""
    left = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            words = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
            if os.fsencode(str(home)) in words:
                left.append(f"{process.name} {words[:200].replace(bytes(1), b' ').decode(errors='replace')}")
    return left
