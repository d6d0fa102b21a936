"""`supergiant sandbox`: a whole cloud on this machine, to try things on and to break.

A thin door to `sandbox.lifecycle` and to the AWS simulator's own interface; both are imported when a
command runs, so that the help of the whole program stays fast.
"""

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from starter.failures import BAD_REQUEST, FAILED, OperationFailed

if TYPE_CHECKING:
    from sandbox.aws.admin import Admin
    from sandbox.lifecycle import Status

_EFFECTS = ("throttle", "error", "delay", "slow", "drop-before", "drop-after", "crash")
_FOLLOW_SECONDS = 0.3

_name = click.option(
    "--name",
    default="default",
    show_default=True,
    envvar="SUPERGIANT_SANDBOX_NAME",
    help="Which sandbox; several can live side by side.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.group(short_help="A whole cloud on this machine, to try things on.")
def sandbox() -> None:
    """A whole cloud on this machine: Temporal, a real Kubernetes control plane with simulated nodes in three
    zones, and a simulated AWS. It needs no account, listens on 127.0.0.1 only, and `down` leaves nothing."""


@sandbox.command()
@_name
@click.option(
    "--bin-dir",
    type=click.Path(path_type=Path),
    envvar="SUPERGIANT_BIN_DIR",
    help="Folder with ready-made programs; else they are found in the cache or built with Go once.",
)
@click.option(
    "--nodes-per-zone",
    type=click.IntRange(1, 60),
    help="At least so many nodes in each of the three zones (2 at first, later as it was).",
)
@click.option("--ui/--no-ui", default=None, help="Also serve Temporal's web page.")
@_as_json
@click.pass_context
def up(
    ctx: click.Context,
    name: str,
    bin_dir: Path | None,
    nodes_per_zone: int | None,
    ui: bool | None,
    as_json: bool,
) -> None:
    """Bring a sandbox up, or repair it after anything; safe to repeat."""
    from sandbox import lifecycle
    from sandbox.progress import Progress

    with _explained():
        status = lifecycle.up(
            name, bin_dir=bin_dir, nodes_per_zone=nodes_per_zone, ui=ui, progress=Progress()
        )
    if _wants_json(ctx, as_json):
        _print_json(_status_document(status))
        return
    click.echo(
        f"Use it in this shell:\n"
        f"  export SUPERGIANT_SETTINGS={status.settings}\n"
        f"  export KUBECONFIG={status.folder / 'kubeconfig'}      # for kubectl\n"
        f"Then start a worker (`supergiant worker`), and ask for something (`supergiant app deploy ...`)."
    )
    if status.ui_address:
        click.echo(f"Temporal's web page: {status.ui_address}")


@sandbox.command()
@_name
@click.option("--keep-state", is_flag=True, help="End the processes only; `up` continues where it was.")
def down(name: str, keep_state: bool) -> None:
    """End every process of a sandbox and remove its state."""
    from sandbox import lifecycle

    started = time.monotonic()
    with _explained():
        existed = lifecycle.down(name, keep_state=keep_state)
    if existed:
        left = "its state is kept" if keep_state else "nothing is left of it"
        click.echo(f"Sandbox {name} is down, {left} ({time.monotonic() - started:.1f} s).", err=True)
    else:
        click.echo(f"There is no sandbox {name}.", err=True)


@sandbox.command()
@_name
@_as_json
@click.pass_context
def status(ctx: click.Context, name: str, as_json: bool) -> None:
    """How each process of a sandbox is; exit code 1 if not all is well."""
    from sandbox import lifecycle

    with _explained():
        found = lifecycle.status(name)
    if _wants_json(ctx, as_json):
        _print_json(_status_document(found))
    elif found.exists:
        _print_table(
            ("process", "state", "pid", "up since", "MiB", "address"),
            [
                (
                    process.name,
                    "serves" if process.healthy else process.problem,
                    _or(process.pid, "-"),
                    _spoken_time(process.up_since),
                    str(process.memory_mib or "-"),
                    process.address,
                )
                for process in found.processes
            ],
        )
    if not found.exists:
        raise OperationFailed(FAILED, f"there is no sandbox {name}", _up_again(name))
    if not found.healthy:
        raise OperationFailed(FAILED, f"sandbox {name} is not well", f"{_up_again(name)} repairs it")


@sandbox.command()
@click.argument("process", required=False)
@_name
@click.option("-n", "--lines", type=click.IntRange(0), default=40, show_default=True, help="Last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until Ctrl-C.")
def logs(process: str | None, name: str, lines: int, follow: bool) -> None:
    """The log of one process; without PROCESS, where the logs are."""
    from sandbox import lifecycle

    with _explained():
        if process is None:
            for known in lifecycle.process_names(name):
                click.echo(f"{known:<24} {lifecycle.log_of(name, known)}")
            return
        path = lifecycle.log_of(name, process)
    if not path.exists():
        raise OperationFailed(BAD_REQUEST, f"{process} has not written a log yet", _up_again(name))
    with path.open(errors="replace") as file:
        for line in deque(file, maxlen=lines):
            click.echo(line, nl=False)
        while follow:
            if line := file.readline():
                click.echo(line, nl=False)
            else:
                time.sleep(_FOLLOW_SECONDS)


@sandbox.group()
def fault() -> None:
    """Break things on purpose: calls to the simulated AWS, or whole processes."""


@fault.command(name="add")
@click.argument("effect", type=click.Choice(_EFFECTS))
@_name
@click.option(
    "--action", default="*", show_default=True, help="Which call, such as CreateVolume or Describe*."
)
@click.option("--resource", metavar="REGEX", help="Only calls about an id, token or tag value that matches.")
@click.option("--code", help="AWS error code of `error`, such as VolumeLimitExceeded.")
@click.option("--http-status", "http_status", type=click.IntRange(400, 599), help="HTTP status of `error`.")
@click.option("--message", help="Message of `error`.")
@click.option("--seconds", type=click.FloatRange(0), help="How long `delay` and `slow` hold a call.")
@click.option(
    "--count",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="How many calls meet it; 0 is all until it is cleared.",
)
@click.option(
    "--nth", type=click.IntRange(1), default=1, show_default=True, help="The first call to meet it."
)
@click.option(
    "--probability", type=click.FloatRange(0, 1), help="Chance for each call, by the sandbox's seed."
)
@click.option("--when", type=click.Choice(["before", "after"]), help="When `crash` strikes: around applying.")
@_as_json
@click.pass_context
def add(
    ctx: click.Context, /, effect: str, name: str, action: str, count: int, as_json: bool, **more: Any
) -> None:
    """Make calls to the simulated AWS meet trouble.

    EFFECT is throttle, error (with --code), delay or slow (with --seconds), drop-before or drop-after (the
    connection breaks before or after the call was applied), or crash (the simulator dies; bring it back with
    `sandbox fault restart aws`).
    """
    more["status"] = more.pop("http_status")
    fields = {key: value for key, value in more.items() if value is not None}
    with _explained():
        made = _admin(name).add_fault(effect, action, count=count or None, **fields)
    if _wants_json(ctx, as_json):
        _print_json(made)
    else:
        click.echo(made["id"])


@fault.command(name="list")
@_name
@_as_json
@click.pass_context
def list_(ctx: click.Context, name: str, as_json: bool) -> None:
    """The faults, and how often each has struck."""
    with _explained():
        found = _admin(name).faults()
    if _wants_json(ctx, as_json):
        _print_json(found)
        return
    _print_table(
        ("id", "effect", "action", "resource", "struck", "of"),
        [
            (
                it["id"],
                it["effect"],
                it["action"],
                it["resource"] or "-",
                str(it["hits"]),
                str(it["count"] or "all"),
            )
            for it in found
        ],
    )


@fault.command()
@click.argument("fault_id", required=False)
@_name
def clear(fault_id: str | None, name: str) -> None:
    """End one fault, or all of them."""
    with _explained():
        cleared = _admin(name).clear_faults(fault_id)
    click.echo(f"{cleared} faults cleared.", err=True)


@fault.command()
@click.argument("process")
@_name
def kill(process: str, name: str) -> None:
    """End a process at once (SIGKILL), as a crash would; `restart` or `up` brings it back."""
    from sandbox import lifecycle

    with _explained():
        killed = lifecycle.kill(name, process)
    click.echo(f"{process} {'is killed' if killed else 'was not running'}.", err=True)


@fault.command()
@click.argument("process")
@_name
def restart(process: str, name: str) -> None:
    """End a process at once and start it again; returns when it serves."""
    from sandbox import lifecycle

    with _explained():
        lifecycle.kill(name, process)
        lifecycle.start(name, process)
    click.echo(f"{process} serves again.", err=True)


@contextmanager
def _explained() -> Iterator[None]:
    """The sandbox's errors in the words and exit codes of the whole program."""
    from sandbox.aws.admin import AdminError
    from sandbox.errors import NotThere, SandboxError

    try:
        yield
    except SandboxError as error:
        category = BAD_REQUEST if isinstance(error, NotThere) else FAILED
        raise OperationFailed(category, error.problem, error.way_out) from error
    except AdminError as error:
        raise OperationFailed(FAILED, str(error), "`supergiant sandbox status` shows what runs") from error


def _admin(name: str) -> "Admin":
    from sandbox import lifecycle
    from sandbox.aws.admin import Admin

    return Admin(lifecycle.aws_address(name))


def _wants_json(ctx: click.Context, here: bool) -> bool:
    return here or bool(getattr(ctx.obj, "as_json", False))


def _up_again(name: str) -> str:
    return "`supergiant sandbox up" + ("`" if name == "default" else f" --name {name}`")


def _or(value: object, otherwise: str) -> str:
    return otherwise if value is None else str(value)


def _spoken_time(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M:%S")


def _status_document(status: "Status") -> dict[str, Any]:
    return {
        "name": status.name,
        "exists": status.exists,
        "healthy": status.healthy,
        "folder": str(status.folder),
        "settings": str(status.settings),
        "ui": status.ui_address,
        "processes": [
            {
                "name": process.name,
                "pid": process.pid,
                "up_since": process.up_since,
                "healthy": process.healthy,
                "problem": process.problem,
                "address": process.address,
                "memory_mib": process.memory_mib,
                "log": str(process.log),
            }
            for process in status.processes
        ],
    }


def _print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2))


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
