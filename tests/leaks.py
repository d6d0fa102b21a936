"""What programs can leave behind on a machine, as a picture that can be compared with a later one.

Only what came into being counts: what somebody else takes away meanwhile is not ours to explain.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

Picture = dict[str, set[str]]

_NAMESPACES = ("ipc", "mnt", "net", "pid", "uts")
#: Counters and the moment of writing differ from one look to the next.
_CHANGING = re.compile(r"\[\d+:\d+\]|^#.*")


def picture() -> Picture:
    """Mounts, disks, namespaces, cgroups, links, addresses, routes and packet filters of this machine."""
    return {
        "mounts": _lines(Path("/proc/self/mountinfo").read_text(), columns=slice(3, 5)),
        "loop devices": set(_loop_devices()),
        "namespaces": set(_namespaces()),
        "cgroups": set(_cgroups()),
        "links": _said("ip", "-oneline", "link", columns=slice(1, 2)),
        "addresses": _said("ip", "-oneline", "address", columns=slice(1, 4)),
        "routes": _said("ip", "route", "show", "table", "all"),
        "named network namespaces": _said("ip", "netns", "list"),
        "packet filters": _said("iptables-save") | _said("ip6tables-save") | _said("nft", "list", "ruleset"),
    }


def new(before: Picture, after: Picture) -> dict[str, list[str]]:
    """What is there now and was not before; empty when nothing was left."""
    return {what: sorted(found - before[what]) for what, found in after.items() if found - before[what]}


def _loop_devices() -> Iterator[str]:
    for block in Path("/sys/block").glob("loop*"):
        with suppress(OSError):
            yield f"{block.name} {(block / 'loop/backing_file').read_text().strip()}"


def _namespaces() -> Iterator[str]:
    """Those that a process is in, with the first such process."""
    seen = dict[str, str]()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            for kind in _NAMESPACES:
                with suppress(OSError):
                    seen.setdefault(os.readlink(process / "ns" / kind), process.name)
    yield from seen


def _cgroups() -> Iterator[str]:
    root = Path("/sys/fs/cgroup")
    for folder, _, _ in os.walk(root):
        yield str(Path(folder).relative_to(root))


def _said(*command: str, columns: slice = slice(None)) -> set[str]:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        # A program that is not there has not been used to leave anything.
        return set()
    return _lines(result.stdout, columns)


def _lines(text: str, columns: slice = slice(None)) -> set[str]:
    cleaned = (_CHANGING.sub("", line).strip() for line in text.splitlines())
    return {" ".join(line.split()[columns]) for line in cleaned if line}
