"""How long the command line makes people wait: `supergiant --help`, and `op list` beyond what any program would
take that imports Temporal's client, connects and lists as many. Run by `make bench`.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from temporalio.client import Client

from bench.harness import (
    Figures,
    Place,
    Unmeasured,
    deploy_request,
    median,
    place,
    recipe,
    report,
    requests_of,
    run,
    say,
    table_of,
)

ROUNDS = 11
FEW, MANY = 300, 10_000
#: So many starts are under way at once; more only wait in the server.
_AT_ONCE = 64
_LISTED_TRIES = 600

_SUPERGIANT = (sys.executable, "-m", "starter.cli.main")
#: The least that a program has to do for a list of operations of the same length.
_BARE = """
import asyncio, sys
from temporalio.client import Client

async def listed():
    client = await Client.connect(sys.argv[1])
    query = "WorkflowType = 'operation'"
    print(len([one async for one in client.list_workflows(query, limit=50, page_size=50)]))

asyncio.run(listed())
"""


def main() -> None:
    with place("bench-cli") as here:
        figures = measure(here)
    table = table_of("Command line", "what", "median of " + str(ROUNDS))
    table.add_row("supergiant --help", f"{figures['help_seconds']:.3f} s")
    table.add_row(f"supergiant op list, {FEW} operations", f"{figures['op_list_seconds']:.3f} s")
    table.add_row("a bare program that lists as many", f"{figures['bare_list_seconds']:.3f} s")
    table.add_row("op list, less that", f"{figures['op_list_own_seconds']:.3f} s")
    table.add_row(f"supergiant op list, {MANY} operations", f"{figures['op_list_10000_seconds']:.3f} s")
    table.add_row("op list, less the bare program then", f"{figures['op_list_10000_own_seconds']:.3f} s")
    report("cli", table, figures)


def measure(here: Place) -> Figures:
    environment = {**os.environ, "SUPERGIANT_SETTINGS": str(here.layout.settings)}
    bare = (sys.executable, "-c", _BARE, f"127.0.0.1:{here.memory.ports['temporal']}")
    op_list = (*_SUPERGIANT, "op", "list")
    helps = [_seconds((*_SUPERGIANT, "--help"), environment) for _ in range(ROUNDS)]
    asyncio.run(_fill(here, 0, FEW))
    few = _side_by_side(op_list, bare, environment)
    asyncio.run(_fill(here, FEW, MANY))
    many = _side_by_side(op_list, bare, environment)
    return {
        "help_seconds": median(helps),
        "op_list_seconds": median([ours for ours, _ in few]),
        "bare_list_seconds": median([theirs for _, theirs in few]),
        "op_list_own_seconds": median([ours for ours, _ in few]) - median([theirs for _, theirs in few]),
        "op_list_10000_seconds": median([ours for ours, _ in many]),
        "op_list_10000_own_seconds": median([ours for ours, _ in many])
        - median([theirs for _, theirs in many]),
    }


def _side_by_side(
    ours: Sequence[str], theirs: Sequence[str], environment: dict[str, str]
) -> list[tuple[float, float]]:
    """Seconds of both, in turn, so that a busy machine slows both."""
    for command in (ours, theirs):
        _seconds(command, environment)
    return [(_seconds(ours, environment), _seconds(theirs, environment)) for _ in range(ROUNDS)]


def _seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    began = time.monotonic()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if result.returncode or not result.stdout:
        raise Unmeasured(f"{' '.join(command[1:4])} ended with {result.returncode}: {result.stderr.strip()}")
    return seconds


async def _fill(here: Place, first: int, last: int) -> None:
    """Operations from number `first` up to `last`: asked for as any other, on a queue that no worker serves, so
    that they only stand in the lists."""
    client: Client = await here.client()
    operations = requests_of(client, task_queue="nobody")
    document = recipe("redis", "listed")
    limit = asyncio.Semaphore(_AT_ONCE)

    async def ask(number: int) -> None:
        async with limit:
            await operations.start(deploy_request(document.model_copy(update={"app": f"listed{number}"})))

    began = time.monotonic()
    await asyncio.gather(*(ask(number) for number in range(first, last)))
    say(f"{last} operations are in the server ({last - first} in {time.monotonic() - began:.0f} s).")
    await _until_listed(client, last)


async def _until_listed(client: Client, wanted: int) -> None:
    """The lists follow the server's own record with a delay."""
    for _ in range(_LISTED_TRIES):
        if (await client.count_workflows("WorkflowType = 'operation'")).count >= wanted:
            return
        await asyncio.sleep(0.1)
    raise Unmeasured(f"the lists do not show {wanted} operations")


if __name__ == "__main__":
    run(main)
