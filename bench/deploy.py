"""How long a deploy takes, against what it could take at least, and what fifty at once cost one worker.

The lower bound is the delay that the simulated cloud has for creating a disk, plus a bare `kubectl apply` of the
same objects onto disks that are ready, until every pod is Ready. Rounds of both alternate, so that a busy
machine slows both. Run by `make bench`.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from bench.bare import Bare
from bench.harness import (
    Figures,
    Place,
    Unmeasured,
    deploy,
    deploy_request,
    median,
    place,
    recipe,
    record_of,
    report,
    requests_of,
    run,
    say,
    table_of,
)
from sandbox.kubernetes import control_plane
from starter.snapshots import Snapshot
from workflows.models.operations import OperationState
from workflows.models.steps import StepState

ROUNDS = 5
COMPONENTS = 50
#: A hundred times what the deploy of one takes; reached only if something is stuck.
_FIFTY_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True)
class Fifty:
    seconds: float
    worker_mib: float
    worker_cpu_seconds: float
    failed_steps: int


def main() -> None:
    with place("bench-deploy") as here:
        figures = asyncio.run(measure(here))
    table = table_of("Deploy", "what", "measured")
    table.add_row(
        "3 instances of Redis, first deploy of a fresh worker", f"{figures['first_deploy_seconds']:.2f} s"
    )
    table.add_row(f"3 instances of Redis, median of {ROUNDS}", f"{figures['deploy_seconds']:.2f} s")
    table.add_row("lower bound: the cloud's delay for creating disks", f"{figures['disk_seconds']:.2f} s")
    table.add_row("lower bound: kubectl apply until Ready, median", f"{figures['apply_seconds']:.2f} s")
    table.add_row("lower bound", f"{figures['lower_bound_seconds']:.2f} s")
    table.add_row("ratio", f"{figures['ratio']:.2f}")
    table.add_row(f"{COMPONENTS} components at once, one worker", f"{figures['fifty_seconds']:.1f} s")
    table.add_row("memory of that worker at its highest", f"{figures['worker_mib']:.0f} MiB")
    table.add_row("processor time of that worker", f"{figures['worker_cpu_seconds']:.1f} s")
    table.add_row("steps that failed", f"{figures['failed_steps']:.0f}")
    report("deploy", table, figures)


async def measure(here: Place) -> Figures:
    here.worker.start()
    client = await here.client()
    bare = Bare(here, control_plane.api_of(here.layout, here.memory))
    first = await deploy(client, recipe("redis", "first"))
    say(f"First deploy: {first:.2f} s.")
    deploys: list[float] = []
    applies: list[float] = []
    for number in range(1, ROUNDS + 1):
        app = f"deploy{number}"
        deploys.append(await deploy(client, recipe("redis", app)))
        applies.append(await asyncio.to_thread(bare.seconds, app, f"bare{number}"))
        say(f"Round {number}: deploy {deploys[-1]:.2f} s, kubectl apply {applies[-1]:.2f} s.")
    disk = float(here.admin.limits()["volume_creating_seconds"])
    lower = disk + median(applies)
    fifty = await _fifty(here, client)
    return {
        "first_deploy_seconds": first,
        "deploy_seconds": median(deploys),
        "disk_seconds": disk,
        "apply_seconds": median(applies),
        "lower_bound_seconds": lower,
        "ratio": median(deploys) / lower,
        "fifty_seconds": fifty.seconds,
        "worker_mib": fifty.worker_mib,
        "worker_cpu_seconds": fifty.worker_cpu_seconds,
        "failed_steps": fifty.failed_steps,
    }


async def _fifty(here: Place, client: Client) -> Fifty:
    """Fifty apps of one component each, asked for at once of a worker that has done nothing before."""
    here.worker.stop()
    worker = here.worker.start()
    documents = [recipe("redis", f"fifty{number}", instances=1) for number in range(1, COMPONENTS + 1)]
    say(f"{COMPONENTS} components at once.")
    asked = time.monotonic()
    operations = requests_of(client)
    await asyncio.gather(*(operations.start(deploy_request(one)) for one in documents))
    ends = asyncio.gather(*(record_of(client, one.app) for one in documents))
    stuck = False
    try:
        await asyncio.wait_for(ends, _FIFTY_TIMEOUT_SECONDS)
    except TimeoutError:
        stuck = True
    seconds = time.monotonic() - asked
    snapshots = [await operations.look(one.app) for one in documents]
    if not worker.lives():
        raise Unmeasured("the worker died")
    failed = sum(_failed(snapshot) for snapshot in snapshots)
    if stuck and not failed:
        raise Unmeasured(f"{COMPONENTS} components took more than {_FIFTY_TIMEOUT_SECONDS:.0f} s")
    return Fifty(seconds, highest_mib(worker.pid), cpu_seconds(worker.pid), failed)


def highest_mib(pid: int) -> float:
    """The most resident memory that a living process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    highest = next(line for line in lines if line.startswith("VmHWM:"))
    return int(highest.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """The processor time that a living process has used, its start included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _failed(snapshot: Snapshot) -> int:
    """Steps that parked, were given up, or needed a person; an operation that never began counts as one."""
    bad = sum(step.state is not StepState.DONE or step.tries > 0 for _, step in snapshot.steps)
    return bad or int(snapshot.record.state is not OperationState.SUCCEEDED)


if __name__ == "__main__":
    run(main)
