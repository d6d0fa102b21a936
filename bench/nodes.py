"""What real nodes cost: seconds from `up` to all nodes Ready, memory per node, and seconds until one instance with a
disk is Ready. Run by `make bench`; needs what real nodes need.
"""

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.harness import Figures, Place, deploy, median, place, recipe, report, run, say, table_of
from sandbox import lifecycle
from sandbox.nodes import faults, requirements

NODES = 3
ROUNDS = 3


def main() -> None:
    if obstacle := requirements.obstacle(Path(tempfile.gettempdir())):
        say(f"Real nodes are not measured: {obstacle}")
        return report("nodes", table_of("No real nodes"), {})
    with place("bench-nodes", real_nodes=NODES) as here:
        figures = measure(here)
    table = table_of(f"A sandbox with {NODES} real nodes", "what", f"median of {ROUNDS}")
    table.add_row("from `up` to all nodes Ready, with an empty state", f"{figures['up_seconds']:.1f} s")
    table.add_row("memory of one node without pods", f"{figures['node_mib']:.0f} MiB")
    table.add_row("memory of all the rest", f"{figures['rest_mib']:.0f} MiB")
    table.add_row("one Redis with a disk, from asking to healthy", f"{figures['instance_seconds']:.1f} s")
    table.add_row("a node that lost power, from reboot to its kubelet", f"{figures['reboot_seconds']:.1f} s")
    table.add_row("`down`", f"{figures['down_seconds']:.1f} s")
    report("nodes", table, figures)


def measure(here: Place) -> Figures:
    name = here.layout.name
    empty = [state.memory_mib for state in faults.states(here.layout)]
    rest = sum(process.memory_mib for process in lifecycle.status(name).processes)
    here.worker.start()
    instances = asyncio.run(_instances(here))
    reboots = [_reboot(here, str(number)) for number in range(1, NODES + 1)]
    here.worker.stop()
    ups, downs = list[float](), list[float]()
    for number in range(ROUNDS):
        say(f"Taking it down and bringing it up from nothing, {number + 1} of {ROUNDS} ...")
        downs.append(_seconds_of(lambda: lifecycle.down(name)))
        ups.append(_seconds_of(lambda: lifecycle.up(name, real_nodes=NODES)))
    return {
        "up_seconds": median(ups),
        "node_mib": median(empty),
        "rest_mib": rest,
        "instance_seconds": median(instances),
        "reboot_seconds": median(reboots),
        "down_seconds": median(downs),
    }


async def _instances(here: Place) -> list[float]:
    client = await here.client()
    return [await deploy(client, recipe("redis", f"one-{number}", instances=1)) for number in range(ROUNDS)]


def _reboot(here: Place, node: str) -> float:
    faults.crash(here.layout, node)
    return _seconds_of(lambda: faults.reboot(here.layout, node))


def _seconds_of(act: Callable[[], object]) -> float:
    started = time.monotonic()
    act()
    return time.monotonic() - started


if __name__ == "__main__":
    run(main)
