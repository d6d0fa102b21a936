"""Starts, finds and ends the processes of one sandbox.

A process is known by its pid, its start and the boot it belongs to, so a recycled pid is never taken for
ours. It also carries the sandbox's folder in its environment, so one whose record was lost in a crash is
still found.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.layout import Layout, write_private

# Its value is the sandbox's folder; every process inherits it, also through kwokctl.
MEMBERSHIP = "SUPERGIANT_SANDBOX_MEMBER_OF"
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Command:
    """What to run under which name."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Running:
    """One living process of the sandbox. The start makes the pid unique until the next boot."""

    pid: int
    start_ticks: int

    @property
    def started_at(self) -> float:
        """Seconds since the epoch."""
        return time.time() - _uptime_seconds() + self.start_ticks / _TICKS_PER_SECOND

    @property
    def memory_mib(self) -> int:
        """Resident memory; zero if it is gone."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * _PAGE_BYTES // 1024**2

    def lives(self) -> bool:
        """Whether the same process still runs; a zombie does not."""
        return _start_ticks(self.pid) == self.start_ticks


class Processes:
    """The processes of one sandbox, by name."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def find(self, name: str) -> Running | None:
        """The living process of this name."""
        try:
            record = json.loads(self._record(name).read_text())
            running = Running(record["pid"], record["start_ticks"])
        except (OSError, ValueError, KeyError):
            return None
        return running if record.get("boot") == _boot() and running.lives() else None

    def start(self, command: Command) -> Running:
        """Run a command in the background, detached from whoever asked for it."""
        log = self.log(command.name)
        environment = {**command.environment, MEMBERSHIP: str(self._layout.folder)}
        # The shell only changes to the sandbox's folder, so that no folder of the caller's is held busy.
        wrapped = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', str(self._layout.folder), *command.arguments)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            pid = os.posix_spawn(
                wrapped[0],
                wrapped,
                environment,
                setsid=True,
                # Python ignores this signal, and programs it starts would inherit that.
                setsigdef=(signal.SIGPIPE,),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
            )
        except OSError as error:
            raise SandboxError(f"Cannot start {command.name}: {error.strerror}.") from error
        return self.adopt(command.name, command.arguments, pid)

    def adopt(self, name: str, arguments: tuple[str, ...], pid: int) -> Running:
        """Record a process that runs already, with the arguments that would start it again."""
        start_ticks = _start_ticks(pid)
        if start_ticks is None:
            log = self.log(name)
            raise SandboxError(f"{name} ended: {last_line(log)}", f"Its log: {log}")
        record = {"pid": pid, "start_ticks": start_ticks, "boot": _boot(), "arguments": arguments}
        write_private(self._record(name), json.dumps(record, indent=2) + "\n")
        return Running(pid, start_ticks)

    def recorded_arguments(self, name: str) -> tuple[str, ...] | None:
        """What a process was last started with."""
        try:
            return tuple(json.loads(self._record(name).read_text())["arguments"])
        except (OSError, ValueError, KeyError):
            return None

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send a signal and wait until the process is gone; False if there was none."""
        running = self.find(name)
        if running is None:
            return False
        end([running], number, patience_seconds=10.0)
        return True

    def log(self, name: str) -> Path:
        """Where a process writes."""
        return self._layout.logs / f"{name}.log"

    def members(self) -> list[Running]:
        """Every living process of the sandbox, recorded or not."""
        recorded = (self.find(path.stem) for path in self._layout.processes.glob("*.json"))
        found = {running for running in recorded if running is not None}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and self._is_member(int(entry.name)):
                pid = int(entry.name)
                start_ticks = _start_ticks(pid)
                if start_ticks is not None:
                    found.add(Running(pid, start_ticks))
        return sorted(found, key=lambda running: running.start_ticks)

    def end_unrecorded(self) -> None:
        """End what an interrupted `up` started and did not come to write down."""
        found = (self.find(path.stem) for path in self._layout.processes.glob("*.json"))
        recorded = {running.pid for running in found if running is not None}
        end(it for it in self.members() if not recorded & {it.pid, _session(it.pid)})

    def _record(self, name: str) -> Path:
        return self._layout.processes / f"{name}.json"

    def _is_member(self, pid: int) -> bool:
        return os.fsencode(f"{MEMBERSHIP}={self._layout.folder}") in _environment(pid)


def end(
    processes: Iterable[Running], number: signal.Signals = signal.SIGTERM, patience_seconds: float = 3.0
) -> None:
    """Signal processes and wait until they are gone; those that do not go in time are killed."""
    left = list(processes)
    _signal(left, number)
    deadline = time.monotonic() + patience_seconds
    while left := [process for process in left if process.lives()]:
        if time.monotonic() > deadline:
            if number is signal.SIGKILL:
                pids = ", ".join(str(process.pid) for process in left)
                raise SandboxError(f"Processes {pids} do not end even when killed.", "Ask your kernel.")
            return end(left, signal.SIGKILL, patience_seconds=10.0)
        time.sleep(0.02)


def last_line(log: Path) -> str:
    """The last thing that a process wrote, which mostly tells why it ended."""
    with contextlib.suppress(OSError, IndexError):
        return log.read_text(errors="replace").strip().splitlines()[-1][-300:]
    return "it wrote nothing"


def _signal(processes: Iterable[Running], number: signal.Signals) -> None:
    for process in processes:
        if process.lives():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _start_ticks(pid: int) -> int | None:
    # A child of this very process stays a zombie until it is waited for.
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return None
    # Its first thread may be dead while others still hold the process's ports and files.
    return None if fields[0] in "ZX" and threads == 1 else int(fields[19])


def _environment(pid: int) -> list[bytes]:
    """Its variables; empty for what has none, such as the kernel's own threads."""
    for _ in range(20):
        try:
            content = Path(f"/proc/{pid}/environ").read_bytes()
            kernels = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[6]) & 0x200000
        except OSError:
            return []
        if content or kernels or _start_ticks(pid) is None:
            return content.split(b"\0")
        # It is just becoming another program, and shows no environment for a moment.
        time.sleep(0.005)
    return []


def _session(pid: int) -> int:
    # Children that a recorded process has of its own share its session.
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return pid


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _uptime_seconds() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])
