"""What somebody who follows an operation in a pipe reads: one line for each change, and no line twice."""

import pkgutil
from datetime import UTC, datetime, timedelta
from enum import Enum
from importlib import import_module

import pytest
from starter_fakes import NOW, a_plan, a_record

import starter
from starter.cli.follow import Lines, full_record
from starter.cli.output import lasting
from starter.cli.words import outcome_lines, record_lines, step_line, steps_lines
from starter.failures import CATEGORIES
from starter.snapshots import Attempt, Snapshot
from workflows.models.operations import ComponentRun, OperationState
from workflows.models.steps import Progress, StepRecord, StepState, StoryState

STEPS = a_plan().steps


def snapshot(first: StepState, second: StepState, **fields: object) -> Snapshot:
    state = fields.pop("state", OperationState.RUNNING)
    attempts = fields.pop("attempts", [])
    note = fields.pop("note", "")
    assert isinstance(state, OperationState)
    assert isinstance(attempts, list)
    steps = [
        StepRecord(step=STEPS[0], state=first, started_at=NOW, ended_at=NOW + timedelta(seconds=2)),
        StepRecord.model_validate({"step": STEPS[1], "state": second, "started_at": NOW, **fields}),
    ]
    run = ComponentRun(component="db", workflow_id="component/east/shop/db", run_id="r")
    parked = any(step.state is StepState.PARKED for step in steps)
    story = StoryState.PARKED if parked else StoryState.RUNNING
    progress = Progress(state=story, component="db", steps=steps, cancel_would="delete namespace shop")
    record = a_record(state, components=[run])
    return Snapshot(record, {"db": progress}, attempts, str(note))


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split("  ", 1)[1] for line in capsys.readouterr().err.splitlines()]


def test_each_change_is_one_line_and_what_stays_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Lines()
    screen.show(snapshot(StepState.DONE, StepState.RUNNING))
    assert [line for line in lines_of(capsys) if "db:" in line] == [
        "✓ db: make namespace shop: done (2.0 s)",
        "▸ db: create disk data of db-0: running",
    ]
    screen.show(snapshot(StepState.DONE, StepState.RUNNING))
    assert lines_of(capsys) == []
    screen.show(snapshot(StepState.DONE, StepState.PARKED, error="the volume limit is reached"))
    assert lines_of(capsys) == ["‖ db: create disk data of db-0: parked: the volume limit is reached"]


def test_silence_of_the_worker_is_said_once_and_its_end_too(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Lines()
    screen.show(snapshot(StepState.DONE, StepState.RUNNING))
    capsys.readouterr()
    for note in ("no worker answers", "no worker answers", ""):
        screen.show(snapshot(StepState.DONE, StepState.RUNNING, note=note))
    assert lines_of(capsys) == ["no worker answers", "the worker answers again"]


def test_a_step_that_waits_long_is_mentioned_ever_more_rarely(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Lines()
    screen.show(snapshot(StepState.DONE, StepState.RUNNING))
    capsys.readouterr()
    for number in range(2, 100):
        attempt = Attempt(step="db/0/disk/data", activity="create-volume", number=number, failure="not yet")
        screen.show(snapshot(StepState.DONE, StepState.RUNNING, attempts=[attempt]))
    assert lines_of(capsys) == [f"  db/0/disk/data: attempt {n}; last: not yet" for n in (4, 13, 40)]


def test_every_try_for_no_step_is_mentioned_because_there_is_nothing_else_to_see(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Lines()
    for number in (2, 2, 3):
        attempt = Attempt(step="", activity="read-deploy-facts", number=number, failure="no route")
        screen.show(Snapshot(a_record(OperationState.PLANNING, plan=None), attempts=[attempt]))
    assert [line for line in lines_of(capsys) if "read" in line] == [
        f"  read-deploy-facts: attempt {number}; last: no route" for number in (2, 3)
    ]


def test_planning_that_struggles_says_how_and_when_it_tries_again() -> None:
    attempt = Attempt(
        step="",
        activity="read-deploy-facts",
        number=3,
        failure="no route",
        next_at=datetime.now(UTC) + timedelta(hours=2, seconds=1),
    )
    lines = record_lines(Snapshot(a_record(OperationState.PLANNING, plan=None), attempts=[attempt]))
    assert "          read-deploy-facts: attempt 3, again in 2 h 0 min; last: no route" in lines


def test_an_undo_shows_the_attempts_of_the_activity_that_does_it() -> None:
    attempt = Attempt(step="db/0/disk/data/undo", activity="delete-volume", number=5, failure="in use")
    undoing = snapshot(StepState.DONE, StepState.UNDOING, attempts=[attempt])
    assert any("create disk" in line and "last: in use" in line for line in steps_lines(undoing, NOW))
    assert undoing.loose_attempts == []


def test_steps_of_an_ended_component_have_the_words_of_the_plan() -> None:
    steps = [StepRecord(step=step, state=StepState.DONE).trimmed() for step in STEPS]
    run = ComponentRun(component="db", workflow_id="component/east/shop/db", run_id="r", steps=steps)
    ended = Snapshot(a_record(OperationState.UNDONE, components=[run]))
    assert [step.step for _, step in ended.steps] == STEPS
    (shown,) = full_record(ended)["components"]  # type: ignore[misc]
    assert [step["step"]["title"] for step in shown["steps"]] == [step.title for step in STEPS]  # type: ignore[index]


@pytest.mark.parametrize("state", list(StepState))
def test_every_state_of_a_step_can_be_shown(state: StepState, capsys: pytest.CaptureFixture[str]) -> None:
    shown = snapshot(StepState.DONE, state)
    Lines().show(shown)
    assert record_lines(shown)
    # A step that has not begun is no change; every other state is one line.
    assert ("disk data of db-0" in capsys.readouterr().err) == (state is not StepState.WAITING)


def tables_by_enum() -> list[tuple[str, dict[Enum, object]]]:
    """Every table of the starter whose keys are members of an enum."""
    modules = [import_module(info.name) for info in pkgutil.walk_packages(starter.__path__, "starter.")]
    return [
        (f"{module.__name__}.{name}", table)
        for module in modules
        for name, table in vars(module).items()
        if isinstance(table, dict) and table and all(isinstance(key, Enum) for key in table)
    ]


@pytest.mark.parametrize(("name", "table"), tables_by_enum())
def test_a_table_by_enum_has_every_member(name: str, table: dict[Enum, object]) -> None:
    (kind,) = {type(key) for key in table}
    assert set(table) == set(kind)


def test_the_signs_of_steps_are_such_a_table() -> None:
    assert "starter.cli.words.SIGNS" in dict(tables_by_enum())


def test_every_state_in_which_an_operation_does_not_go_on_has_its_category() -> None:
    ends = {state.value for state in OperationState if state.ended}
    assert set(CATEGORIES) == {*ends, OperationState.PARKED.value}


def test_a_record_that_still_says_parked_does_not_stop_a_watch_once_the_steps_go_on() -> None:
    assert snapshot(StepState.DONE, StepState.PARKED, state=OperationState.PARKED).stands_still
    assert not snapshot(StepState.DONE, StepState.RUNNING, state=OperationState.PARKED).stands_still


def test_a_parked_operation_names_the_commands_that_help() -> None:
    lines = outcome_lines(
        snapshot(StepState.DONE, StepState.PARKED, state=OperationState.PARKED, help="lift it")
    )
    assert any("lift it" in line for line in lines)
    assert any("supergiant op retry op-1" in line and "supergiant op abort op-1" in line for line in lines)
    assert not any("op skip" in line for line in lines)


def test_a_running_step_shows_its_attempt_and_when_the_next_one_is() -> None:
    attempt = Attempt(
        step="s", activity="a", number=4, failure="throttled", next_at=NOW + timedelta(seconds=12)
    )
    record = StepRecord(step=STEPS[0], state=StepState.RUNNING, started_at=NOW - timedelta(minutes=2))
    line = step_line(1, 10, record, NOW, attempt)
    assert line == (
        "▸  1/10 make namespace shop: running, begun 2 min 0 s ago; attempt 4, again in 12 s; last: throttled"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (270_000, "3 d 3 h"),
    ],
)
def test_durations_are_rounded_to_what_matters(seconds: float, text: str) -> None:
    assert lasting(timedelta(seconds=seconds)) == text
