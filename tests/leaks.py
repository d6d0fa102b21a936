"""What programs can change on a machine beyond their own lives, as a picture that can be compared with a later one."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

Picture = dict[str, set[str]]

_NAMESPACES = ("ipc", "mnt", "net", "pid", "uts")
#: Counters and the moment of writing differ from one look to the next.
_CHANGING = re.compile(r"\[\d+:\d+\]|^#.*|expires \d+sec")
_CONNTRACK = "net/netfilter/nf_conntrack_max"


def picture() -> Picture:
    """Mounts, disks, namespaces, cgroups, links, addresses, routes, packet filters and settings of this machine."""
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
        "kernel settings": set(_settings()),
    }


def differences(before: Picture, after: Picture) -> list[str]:
    """What is there now and was not before, or the other way round; empty when the machine is as it was."""
    found = [f"new {what}: {one}" for what in before for one in sorted(after[what] - before[what])]
    # A process of somebody else may end meanwhile, and take what was its own along.
    gone = (what for what in before if what not in ("namespaces", "cgroups"))
    return found + [f"gone {what}: {one}" for what in gone for one in sorted(before[what] - after[what])]


def _settings() -> Iterator[str]:
    """Those that belong to the whole machine and that nodes' programs would set."""
    for pattern in (
        "kernel/panic*",
        "kernel/keys/root_*",
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        _CONNTRACK,
    ):
        for setting in Path("/proc/sys").glob(pattern):
            yield f"{setting} = {setting.read_text().strip()}"


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
    """Those that hold no process: what is left of ours has none, and whoever else runs something has one."""
    root = Path("/sys/fs/cgroup")
    for folder, _, _ in os.walk(root):
        with suppress(OSError):
            if not Path(folder, "cgroup.procs").read_text().strip():
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
