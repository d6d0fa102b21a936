"""How the sandbox knows its own processes: with real ones."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.layout import Layout
from sandbox.processes import Command, Processes, end

SLEEP = Command("sleeper", ("sleep", "300"), {"PATH": os.environ["PATH"]})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout("t", tmp_path.resolve() / "t")
    for folder in (layout.folder, layout.logs, layout.processes):
        folder.mkdir()
    return layout


@pytest.fixture
def processes(layout: Layout) -> Iterator[Processes]:
    processes = Processes(layout)
    yield processes
    end(processes.members(), signal.SIGKILL)


def record_of(layout: Layout) -> Path:
    return layout.processes / "sleeper.json"


def test_a_started_process_is_found_by_its_name(processes: Processes) -> None:
    started = processes.start(SLEEP)
    assert processes.find("sleeper") == started
    assert processes.recorded_arguments("sleeper") == SLEEP.arguments


def test_a_killed_process_is_gone_when_kill_returns(processes: Processes) -> None:
    started = processes.start(SLEEP)
    assert processes.kill("sleeper")
    assert not started.lives()
    assert processes.find("sleeper") is None
    assert not processes.kill("sleeper")


def test_a_recycled_pid_is_never_killed(processes: Processes, layout: Layout) -> None:
    processes.start(SLEEP)
    processes.kill("sleeper")
    bystander = processes.start(Command("bystander", SLEEP.arguments, SLEEP.environment))
    # The record of the dead process now names the pid of a later one, as after a wrap of pids.
    record = json.loads(record_of(layout).read_text())
    earlier = {"pid": bystander.pid, "start_ticks": bystander.start_ticks - 1}
    record_of(layout).write_text(json.dumps(record | earlier))
    assert not processes.kill("sleeper")
    assert bystander.lives()


def test_a_record_of_an_earlier_boot_names_nothing(processes: Processes, layout: Layout) -> None:
    started = processes.start(SLEEP)
    record = json.loads(record_of(layout).read_text())
    record_of(layout).write_text(json.dumps(record | {"boot": "another"}))
    assert processes.find("sleeper") is None
    assert started.lives()


def test_a_process_whose_record_was_lost_is_still_a_member(processes: Processes, layout: Layout) -> None:
    started = processes.start(SLEEP)
    record_of(layout).unlink()
    assert started in processes.members()


def test_the_unrecorded_are_ended_and_the_recorded_spared(processes: Processes, layout: Layout) -> None:
    lost = processes.start(SLEEP)
    record_of(layout).unlink()
    kept = processes.start(Command("kept", SLEEP.arguments, SLEEP.environment))
    processes.end_unrecorded()
    assert not lost.lives()
    assert kept.lives()


def test_a_child_of_a_recorded_process_is_spared(processes: Processes) -> None:
    started = processes.start(Command("parent", ("sh", "-c", "sleep 300 & wait"), SLEEP.environment))
    while len(processes.members()) < 2:
        assert started.lives()
    processes.end_unrecorded()
    assert len(processes.members()) == 2


def test_a_process_of_another_sandbox_is_no_member(processes: Processes, tmp_path: Path) -> None:
    processes.start(SLEEP)
    assert Processes(Layout("u", tmp_path.resolve() / "u")).members() == []


def test_a_process_that_ignores_sigterm_is_killed_after_its_time(processes: Processes) -> None:
    stubborn = Command(
        "stubborn", ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"), SLEEP.environment
    )
    started = processes.start(stubborn)
    while "ready" not in processes.log("stubborn").read_text():
        assert started.lives()
    end([started], patience_seconds=0.2)
    assert not started.lives()


def test_a_log_is_appended_to_and_private(processes: Processes) -> None:
    speaker = Command("speaker", ("sh", "-c", "echo hello; sleep 300"), SLEEP.environment)
    for count in (1, 2):
        processes.start(speaker)
        while processes.log("speaker").read_text().count("hello") < count:
            assert processes.find("speaker")
        processes.kill("speaker")
    assert processes.log("speaker").stat().st_mode & 0o077 == 0


def test_a_program_that_has_ended_already_is_told_with_its_last_words(processes: Processes) -> None:
    processes.log("ghost").write_text("looked around\nno such luck\n")
    with pytest.raises(SandboxError, match="ghost ended: no such luck") as refusal:
        processes.adopt("ghost", ("ghost",), 2**22 + 1)
    assert str(processes.log("ghost")) in refusal.value.way_out
