"""What every bench needs: a sandbox of its own that is gone afterwards, a worker, requests, and the report.

A bench prints its table and, as the last line of standard output, one JSON object with its figures. It fails
only if it cannot measure; whether a figure is good is for its reader to judge.
"""

import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich import box
from rich.console import Console
from rich.table import Table
from temporalio.client import Client
from temporalio.service import RPCError

from activities.models.apps import App
from activities.models.settings import load
from sandbox import lifecycle
from sandbox.aws.admin import Admin, AdminError
from sandbox.demo_worker import Worker
from sandbox.errors import SandboxError
from sandbox.layout import Layout, Memory, layout_of, read_memory
from sandbox.progress import Progress
from starter import documents, recipes
from starter.failures import OperationFailed
from starter.operations import Operations
from workflows.connection import TASK_QUEUE, connect
from workflows.ids import operation_workflow_id
from workflows.models.operations import (
    DeployRequest,
    OperationKind,
    OperationRecord,
    OperationRequest,
    OperationState,
)

Figures = dict[str, float]

#: The name of the cluster in a sandbox's settings.
CLUSTER = "sandbox"
_COLUMNS = 100


class Unmeasured(Exception):
    """What was to be measured did not happen; the text says why."""


@dataclass(frozen=True)
class Place:
    """A sandbox, and where what belongs to it is found."""

    layout: Layout
    memory: Memory
    worker: Worker
    admin: Admin

    async def client(self) -> Client:
        return await connect(load(self.layout.settings).temporal)


@contextmanager
def place(name: str, real_nodes: int = 0) -> Iterator[Place]:
    """A sandbox in a folder of its own, taken down whatever happens."""
    with tempfile.TemporaryDirectory(prefix="supergiant-bench-") as home:
        os.environ["SUPERGIANT_SANDBOX_HOME"] = home
        try:
            lifecycle.up(name, real_nodes=real_nodes, progress=Progress())
            layout = layout_of(name)
            memory = read_memory(layout)
            assert memory is not None
            yield Place(layout, memory, Worker(layout), Admin(lifecycle.aws_address(name)))
        except Exception:
            _tell_of_logs(layout_of(name).logs)
            raise
        finally:
            lifecycle.down(name)


def requests_of(client: Client, task_queue: str = TASK_QUEUE) -> Operations:
    """The same door that the command line uses, without the start of a process before each request."""
    return Operations(client, say, task_queue)


def recipe(name: str, app: str, instances: int | None = None) -> App:
    """A recipe's document under another name; `instances` for each component if it is given."""
    document = documents.parse(recipes.get(name).text, f"recipe {name}")
    components = document.components
    if instances is not None:
        components = [one.model_copy(update={"instances": instances}) for one in components]
    return document.model_copy(update={"app": app, "components": components})


def deploy_request(document: App) -> OperationRequest:
    """To be asked for once: the operation is named after the app."""
    return OperationRequest(
        id=document.app,
        kind=OperationKind.DEPLOY,
        cluster=CLUSTER,
        app=document.app,
        requester="bench",
        deploy=DeployRequest(app=document),
    )


async def record_of(client: Client, operation: str) -> OperationRecord:
    """Wait for an operation's end."""
    handle = client.get_workflow_handle(operation_workflow_id(operation), result_type=OperationRecord)
    record: OperationRecord = await handle.result()
    return record


async def deploy(client: Client, document: App) -> float:
    """Deploy, and return the seconds from asking until it succeeded."""
    asked = time.monotonic()
    await requests_of(client).start(deploy_request(document))
    record = await record_of(client, document.app)
    seconds = time.monotonic() - asked
    if record.state is not OperationState.SUCCEEDED:
        raise Unmeasured(f"the deploy of {document.app} is {record.state.value}: {record.explanation}")
    return seconds


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def table_of(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def report(bench: str, table: Table, figures: Figures) -> None:
    """The table for people, the last line for programs."""
    Console(highlight=False, width=None if sys.stdout.isatty() else _COLUMNS).print(table)
    rounded = {name: round(value, 3) for name, value in figures.items()}
    print(json.dumps({"bench": bench, "figures": rounded}))


def say(text: str) -> None:
    """Where it stands, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def run(measure: Callable[[], None]) -> NoReturn:
    """Measure and end the process; everything that can foreseeably go wrong is one line."""
    # Unlike the default, this lets the sandbox be taken down first.
    signal.signal(signal.SIGTERM, _end)
    code = 1
    try:
        measure()
        code = 0
    except SandboxError as error:
        say(f"Error: {error.problem}\n  → {error.way_out}" if error.way_out else f"Error: {error.problem}")
    except OperationFailed as error:
        say(f"Error: {error.message}\n  → {error.help}" if error.help else f"Error: {error.message}")
    except (AdminError, OSError, RPCError, Unmeasured) as error:
        say(f"Error: nothing was measured: {error or type(error).__name__}")
    except KeyboardInterrupt:
        say("Interrupted.")
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    # Temporal's client keeps threads that have crashed interpreters on their way out; nothing is left to do.
    os._exit(code)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell_of_logs(logs: Path) -> None:
    """The logs go with the sandbox, so the worker's last words are said before."""
    log = logs / "worker.log"
    if log.exists():
        last = log.read_text(errors="replace").splitlines()[-15:]
        say("The worker's last words:\n" + "\n".join(f"  {line}" for line in last))
