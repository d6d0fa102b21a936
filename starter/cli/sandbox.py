"""`supergiant sandbox`: a whole cloud on this machine, to try things on and to break.

A thin door to `sandbox.lifecycle` and to the AWS simulator's own interface; both are imported when a
command runs, so that the help of the whole program stays fast.
"""

import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from starter.cli.sandbox_nodes import image, node, nodes
from starter.cli.sandbox_words import explained, json_option, name_option, print_json, print_table, wants_json
from starter.failures import BAD_REQUEST, FAILED, OperationFailed

if TYPE_CHECKING:
    from sandbox.aws.admin import Admin
    from sandbox.lifecycle import Status

_EFFECTS = ("throttle", "error", "delay", "slow", "fail", "drop-before", "drop-after", "crash")
_FOLLOW_SECONDS = 0.3


@click.group(short_help="A whole cloud on this machine, to try things on.")
def sandbox() -> None:
    """A whole cloud on this machine: Temporal, a real Kubernetes control plane with nodes in three zones,
    simulated or real, and a simulated AWS. It needs no account, nobody outside of this machine reaches it,
    and `down` leaves nothing."""


@sandbox.command()
@name_option
@click.option(
    "--bin-dir",
    type=click.Path(path_type=Path),
    envvar="SUPERGIANT_BIN_DIR",
    help="Folder with ready-made programs; else they are found in the cache or built with Go once.",
)
@click.option(
    "--nodes-per-zone",
    type=click.IntRange(0, 60),
    help="At least so many simulated nodes in each of the three zones (at first 2, or none beside real "
    "nodes; later as it was).",
)
@click.option(
    "--real-nodes",
    type=click.IntRange(0, 12),
    help="At least so many real nodes, spread over the zones: kubelet, containers and disks that hold data. "
    "Needs root and Debian's containerd, which is installed (none at first, later as it was).",
)
@click.option(
    "--prometheus/--no-prometheus",
    default=None,
    help="Also run a Prometheus that scrapes it all (at first if there are real nodes, later as it was).",
)
@click.option("--ui/--no-ui", default=None, help="Also serve Temporal's web page.")
@json_option
@click.pass_context
def up(
    ctx: click.Context,
    name: str,
    bin_dir: Path | None,
    nodes_per_zone: int | None,
    real_nodes: int | None,
    prometheus: bool | None,
    ui: bool | None,
    as_json: bool,
) -> None:
    """Bring a sandbox up, or repair it after anything; safe to repeat."""
    from sandbox import lifecycle
    from sandbox.progress import Progress

    with explained():
        status = lifecycle.up(
            name,
            bin_dir=bin_dir,
            nodes_per_zone=nodes_per_zone,
            real_nodes=real_nodes,
            prometheus=prometheus,
            ui=ui,
            progress=Progress(),
        )
    if wants_json(ctx, as_json):
        print_json(_status_document(status))
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
@name_option
@click.option("--keep-state", is_flag=True, help="End the processes only; `up` continues where it was.")
def down(name: str, keep_state: bool) -> None:
    """End every process of a sandbox and remove its state."""
    from sandbox import lifecycle

    started = time.monotonic()
    with explained():
        existed = lifecycle.down(name, keep_state=keep_state)
    if existed:
        left = "its state is kept" if keep_state else "nothing is left of it"
        click.echo(f"Sandbox {name} is down, {left} ({time.monotonic() - started:.1f} s).", err=True)
    else:
        click.echo(f"There is no sandbox {name}.", err=True)


@sandbox.command()
@name_option
@json_option
@click.pass_context
def status(ctx: click.Context, name: str, as_json: bool) -> None:
    """How each process of a sandbox is; exit code 1 if not all is well."""
    from sandbox import lifecycle

    with explained():
        found = lifecycle.status(name)
    if wants_json(ctx, as_json):
        print_json(_status_document(found))
    elif found.exists:
        print_table(
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
@name_option
@click.option("-n", "--lines", type=click.IntRange(0), default=40, show_default=True, help="Last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, until Ctrl-C.")
def logs(process: str | None, name: str, lines: int, follow: bool) -> None:
    """The log of one process; without PROCESS, where the logs are."""
    from sandbox import lifecycle

    with explained():
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
    """Break things on purpose: calls to the simulated AWS, whole processes, or real nodes."""


fault.add_command(node)
sandbox.add_command(nodes)
sandbox.add_command(image)


@fault.command(name="add")
@click.argument("effect", type=click.Choice(_EFFECTS))
@name_option
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
@json_option
@click.pass_context
def add(
    ctx: click.Context, /, effect: str, name: str, action: str, count: int, as_json: bool, **more: Any
) -> None:
    """Make calls to the simulated AWS meet trouble.

    EFFECT is throttle, error (with --code), delay or slow (with --seconds), fail (what the call starts ends
    as failed), drop-before or drop-after (the connection breaks before or after the call was applied), or crash
    (the simulator dies; bring it back with `sandbox fault restart aws`).
    """
    more["status"] = more.pop("http_status")
    fields = {key: value for key, value in more.items() if value is not None}
    with explained():
        made = _admin(name).add_fault(effect, action, count=count or None, **fields)
    if wants_json(ctx, as_json):
        print_json(made)
    else:
        click.echo(made["id"])


@fault.command(name="list")
@name_option
@json_option
@click.pass_context
def list_(ctx: click.Context, name: str, as_json: bool) -> None:
    """The faults, and how often each has struck."""
    with explained():
        found = _admin(name).faults()
    if wants_json(ctx, as_json):
        print_json(found)
        return
    print_table(
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
@name_option
def clear(fault_id: str | None, name: str) -> None:
    """End one fault, or all of them."""
    with explained():
        cleared = _admin(name).clear_faults(fault_id)
    click.echo(f"{cleared} faults cleared.", err=True)


@fault.command()
@click.argument("process")
@name_option
def kill(process: str, name: str) -> None:
    """End a process at once (SIGKILL), as a crash would; `restart` or `up` brings it back."""
    from sandbox import lifecycle

    with explained():
        killed = lifecycle.kill(name, process)
    click.echo(f"{process} {'is killed' if killed else 'was not running'}.", err=True)


@fault.command()
@click.argument("process")
@name_option
def restart(process: str, name: str) -> None:
    """End a process at once and start it again; returns when it serves."""
    from sandbox import lifecycle

    with explained():
        lifecycle.kill(name, process)
        lifecycle.start(name, process)
    click.echo(f"{process} serves again.", err=True)


def _admin(name: str) -> "Admin":
    from sandbox import lifecycle
    from sandbox.aws.admin import Admin

    return Admin(lifecycle.aws_address(name))


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
