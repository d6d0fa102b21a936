"""`python -m sandbox.demo up|down`, which `make demo` and `make demo-down` call: a sandbox, a worker, the Redis
recipe deployed, and the worker killed in the middle of it.

    sandbox up ─► worker ─► deploy ─► in the middle of it ─► SIGKILL ─► new worker ─► done ─► proof

The middle is, on real nodes, when Redis has taken the first data; on simulated nodes, where no Redis runs, when the
disks are being attached. Real nodes are used where the machine allows it.

It ends with 0 only if everything is as promised; `sandbox.demo_proof` holds the promises against what the
product and the simulated cloud say.
"""

import argparse
import os
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sandbox import lifecycle
from sandbox.aws.admin import Admin, AdminError
from sandbox.demo_commands import Following, Supergiant
from sandbox.demo_data import Data
from sandbox.demo_proof import INSTANCES, Evidence, Json, attached_by, made_by, problems, step_runs
from sandbox.demo_tables import disks_table, instances_table, steps_table
from sandbox.demo_worker import Worker
from sandbox.errors import SandboxError
from sandbox.layout import layout_of, read_memory
from sandbox.nodes import requirements
from sandbox.processes import Processes
from sandbox.progress import Progress

NAME = "demo"
APP = "redis"
COMPONENT = "redis"
REAL_NODES = 3

_PARKED = 3
_INTERRUPTED = 130
#: The deploy takes ten seconds, the kill adds as much; a machine may be very short of CPU (guessed).
_FOLLOW_SECONDS = 600.0
_PERIOD_SECONDS = 0.05
#: Longer than the first Redis takes to start (about six seconds), by as much again.
_SLOW_SECONDS = 12.0
#: Nobody wraps lines in a pipe, and whoever reads a log later has a wide window.
_PIPE_COLUMNS = 160


def main() -> int:
    """Run one of the two commands and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description="Supergiant in one command.")
    parser.add_argument("command", choices=("up", "down"))
    command = parser.parse_args().command
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
    story = Story(console)
    try:
        return Demo(story).up() if command == "up" else down(story)
    except (SandboxError, AdminError) as error:
        story.failed([getattr(error, "problem", str(error)), getattr(error, "way_out", "")])
        return 1
    except OSError as error:
        story.failed([f"{error.filename or 'this machine'}: {error.strerror or error}"])
        return 1
    except KeyboardInterrupt:
        story.failed(["interrupted; what runs goes on: `make demo` begins again, `make demo-down` ends it"])
        return _INTERRUPTED


def down(story: "Story") -> int:
    """Stop the worker and the sandbox, and see that nothing is left."""
    layout = layout_of(NAME)
    if lifecycle.status(NAME).exists and (stopped := Worker(layout).stop()):
        story.say(f"The worker (pid {stopped.pid}) is stopped.")
    existed = lifecycle.down(NAME)
    left = [f"process {running.pid} still runs" for running in Processes(layout).members()]
    left += [
        f"{path} is still there" for path in (layout.folder, layout.lock, layout.csi_socket) if path.exists()
    ]
    if left:
        story.failed(left)
        return 1
    if existed:
        story.say(f"The sandbox is down. Nothing is left: no process, and {layout.folder} is gone.")
    else:
        story.say("There is no demo, and nothing is left of one.")
    return 0


class Story:
    """What the person at the terminal reads: chapters, sentences, the product's own lines, and tables."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._chapter = 0

    def chapter(self, title: str) -> None:
        """A numbered heading."""
        self._chapter += 1
        self.console.print(Text(f"\n{self._chapter}. {title}", "bold"))

    def say(self, text: str, style: str = "") -> None:
        """A sentence."""
        self.console.print(Text(text, style), soft_wrap=True)

    def quote(self, line: str) -> None:
        """A line that the product wrote."""
        self.console.print(Text(f"   | {line}", "dim"), soft_wrap=True)

    def failed(self, lines: list[str]) -> None:
        """What is wrong, and where to look."""
        self.console.print(Text("\nThe demo failed:", "bold red"))
        logs = layout_of(NAME).logs
        for line in [*lines, f"Logs: {logs}" if logs.exists() else ""]:
            if line:
                self.console.print(Text(f"  {line}", "red"), soft_wrap=True)


class Demo:
    """One run, from whatever an earlier one left."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._layout = layout_of(NAME)
        self._product = Supergiant(self._layout.settings, story.quote)

    def up(self) -> int:
        """Returns 0 when everything is as promised, 1 when something is not."""
        story = self._story
        story.chapter("A cloud on this machine: Temporal, Kubernetes, simulated AWS")
        data = self._sandbox_up()
        self._admin = Admin(lifecycle.aws_address(NAME))

        story.chapter("A worker, which carries operations out")
        self._worker = Worker(self._layout)
        if old := self._worker.stop():
            story.say(f"The worker of an earlier run (pid {old.pid}) is stopped.")
        first = self._worker.start()
        story.say(f"Worker {first.pid} is ready. Its log: {self._worker.log}")
        self._clear_away()

        story.chapter("Deploy Redis: three instances in three zones, each with a disk of its own")
        if data:
            # On a fast machine all would be done before anybody could kill anything.
            slow = {"action": "CreateVolume", "resource": f"{APP}/{COMPONENT}-{INSTANCES - 1}-"}
            self._admin.add_fault("slow", seconds=_SLOW_SECONDS, **slow)
            story.say(
                f"The cloud is told to take {_SLOW_SECONDS:.0f} s longer over the last disk: so there is a middle."
            )
        since = self._last_call()
        operation = f"demo-{secrets.token_hex(4)}"
        story.say(f"$ supergiant app deploy --recipe redis --yes --watch --id {operation}")
        deploy = ("app", "deploy", "--recipe", "redis", "--app", APP, "--yes", "--watch", "--id", operation)
        with self._product.follow(*deploy, "--reason", "make demo") as following:
            if not data:
                self._await_attaching(following, since)
            written = f"written while worker {first.pid} lived"
            if data:
                data.write_as_soon_as_possible(written)
            killed_at = datetime.now(UTC)
            self._worker.kill()
            if data:
                story.say(f'>>> Redis has just taken its first data: "{written}".', "bold")
            moment = (
                f"while redis-{INSTANCES - 1} is still to come"
                if data
                else "while the cloud attaches the disks"
            )
            story.say(f">>> SIGKILL: worker {first.pid} is dead, {moment}.", "bold red")
            second = self._worker.start()
            story.say(
                f">>> A new worker, {second.pid}, is ready. Nobody tells it what was going on.", "bold green"
            )
            following.result(_FOLLOW_SECONDS)
        export = self._product.ask("op", "export", operation)
        evidence = Evidence(
            app=self._product.ask("app", "show", APP),
            operation=export["operation"],
            steps=step_runs(export, killed_at),
            killed_pid=first.pid,
            new_pid=second.pid,
            made=made_by(self._admin.calls(since)),
            written=written if data else None,
            read=[data.read(instance) for instance in range(INSTANCES)] if data else [],
        )
        return self._judge(evidence)

    def _sandbox_up(self) -> Data | None:
        """Bring it up; what can write data, if its nodes are real."""
        before = read_memory(self._layout)
        progress = Progress(sys.stdout)
        real_nodes, obstacle = (before.real_nodes, "it was made so") if before else self._real_nodes(progress)
        if real_nodes:
            self._story.say(
                f"{real_nodes} real nodes in three zones: kubelets, containers, and disks that hold data."
            )
        else:
            self._story.say(f"Its nodes are simulated, so no Redis runs and no data is shown: {obstacle}")
        lifecycle.up(NAME, real_nodes=real_nodes, progress=progress)
        memory = read_memory(self._layout)
        return Data(self._layout, memory, APP, COMPONENT) if memory and real_nodes else None

    def _real_nodes(self, progress: Progress) -> tuple[int, str]:
        """How many there can be on this machine, and if none, why not."""
        if obstacle := requirements.obstacle(self._layout.folder):
            return 0, obstacle
        try:
            requirements.ensure(self._layout.folder, progress)
        except SandboxError as error:
            return 0, error.problem
        return REAL_NODES, ""

    def _clear_away(self) -> None:
        """Take back the faults of earlier tries, let operations end, and delete the app that is there."""
        if cleared := self._admin.clear_faults():
            self._story.say(f"Faults of earlier tries are cleared: {cleared}.")
        for one in self._product.ask("op", "list", "--app", APP):
            if one["ended_at"] is None:
                self._story.say(f"Operation {one['id']} of an earlier run is under way: it comes first.")
                if self._end_of("op", "watch", one["id"]) == _PARKED:
                    self._story.say("It waits for a person, who says: abort, and undo what was done.")
                    self._end_of("op", "abort", one["id"], "--watch", "--reason", "make demo, again")
        apps = [app for app in self._product.ask("app", "list") if app["app"] == APP and app["components"]]
        if not apps:
            return
        self._story.chapter(
            "What an earlier run left is deleted, with its disks, by an operation like any other"
        )
        self._show(apps[0])
        self._story.say(f"$ supergiant app delete {APP} --delete-disks --yes --watch")
        code = self._end_of(
            "app", "delete", APP, "--delete-disks", "--yes", "--watch", "--reason", "make demo, again"
        )
        if code:
            raise SandboxError(
                f"The app of an earlier run could not be deleted (exit code {code}).", _BEGIN_ANEW
            )

    def _end_of(self, *arguments: str) -> int:
        with self._product.follow(*arguments) as following:
            return following.result(_FOLLOW_SECONDS)[0]

    def _await_attaching(self, following: Following, since: int) -> None:
        """Returns when the cloud has been asked to attach every disk; each takes it two seconds."""
        deadline = time.monotonic() + _FOLLOW_SECONDS
        while len(attached_by(self._admin.calls(since))) < INSTANCES:
            if following.ended:
                raise SandboxError(
                    "The deploy ended before its disks were attached.", "Its own lines say why."
                )
            if time.monotonic() > deadline:
                raise SandboxError(f"The disks were not attached in {_FOLLOW_SECONDS:.0f} s.")
            time.sleep(_PERIOD_SECONDS)

    def _last_call(self) -> int:
        calls = self._admin.calls()
        return int(calls[-1]["seq"]) if calls else 0

    def _judge(self, evidence: Evidence) -> int:
        story = self._story
        story.chapter("What there is now")
        self._show(evidence.app)
        if evidence.operation["ended_at"]:
            story.console.print(steps_table(evidence.steps, evidence.operation, evidence.killed_pid))
        if wrong := problems(evidence):
            story.failed(wrong)
            return 1
        interrupted = sum(step.interrupted for step in evidence.steps)
        steps = "1 step was" if interrupted == 1 else f"{interrupted} steps were"
        made = len(evidence.made)
        story.say(
            f"All as promised. Worker {evidence.killed_pid} was killed while {steps} under way, and worker "
            f"{evidence.new_pid} took over. {INSTANCES} disks were wanted, and the cloud's own log says that "
            f"{made} were made: nothing twice, nothing lost.",
            "bold green",
        )
        if evidence.written:
            story.say(
                f'Read from every instance: "{evidence.read[0]}". It was written before the worker died.',
                "bold green",
            )
        self._say_what_next(evidence.operation["id"])
        return 0

    def _show(self, app: Json) -> None:
        self._story.console.print(instances_table(app))
        self._story.console.print(disks_table(app))

    def _say_what_next(self, operation: str) -> None:
        story = self._story
        story.chapter("Yours to try")
        story.say("In this shell:", "bold")
        for line in _exports(self._layout.folder, self._layout.settings, self._layout.kubeconfig):
            story.say(f"  {line}")
        story.say("Look around:", "bold")
        story.say(f"  supergiant app show {APP}")
        story.say(f"  supergiant op show {operation}")
        story.say("  supergiant disk list")
        story.say(
            "Break something: over its quota, a deploy parks and says why; lift the fault, and it goes on:",
            "bold",
        )
        story.say(
            "  supergiant sandbox fault add error --code VolumeLimitExceeded --action CreateVolume --count 0"
        )
        story.say("  supergiant app deploy --recipe redis --app second --yes --watch --id try-1")
        story.say("  supergiant sandbox fault clear")
        story.say("  supergiant op retry try-1 --watch")
        story.say("Have it all gone:", "bold")
        story.say("  make demo-down")


_BEGIN_ANEW = (
    "See what is there with `supergiant op show`, or begin anew: `make demo-down`, then `make demo`."
)


def _exports(folder: Path, settings: Path, kubeconfig: Path) -> list[str]:
    # As it was called and not as links resolve: the environment's own folder is the one that holds the command.
    programs = Path(sys.executable).absolute().parent
    lines = [
        f'export PATH="{programs}:$PATH"',
        f"export SUPERGIANT_SETTINGS={settings} SUPERGIANT_SANDBOX_NAME={NAME} KUBECONFIG={kubeconfig}",
    ]
    if "SUPERGIANT_SANDBOX_HOME" in os.environ:
        lines.append(f"export SUPERGIANT_SANDBOX_HOME={folder.parent}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
