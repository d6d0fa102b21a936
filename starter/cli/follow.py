"""Follows an operation to its end: a live list of steps on a terminal, one line for each change in a pipe.

Progress goes to stderr and the outcome to stdout, so the one can be watched while the other is kept.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import click

from starter.cli.context import Context
from starter.cli.output import clock, lasting, write_json
from starter.cli.words import (
    MOVING,
    SIGNS,
    STUCK,
    attempt_words,
    loose_lines,
    outcome_lines,
    standing,
    steps_lines,
)
from starter.failures import UNKNOWN
from starter.snapshots import Snapshot
from workflows.models.steps import StepState

if TYPE_CHECKING:
    from starter.operations import Operations

INTERRUPTED = 130


def follow(context: Context, operation: str) -> int:
    """Watch until it ends or needs a person; the exit code says which."""
    seen: list[Snapshot] = []

    async def watch(operations: "Operations") -> None:
        with _screen(context) as screen:
            async for snapshot in operations.watch(operation):
                seen[:] = [snapshot]
                screen.show(snapshot)

    try:
        context.ask(watch)
    except KeyboardInterrupt:
        click.echo(f"\nStopped watching; operation {operation} goes on.", err=True)
        click.echo(f"  watch it again:  supergiant op watch {operation}", err=True)
        click.echo(f"  cancel it:       supergiant op cancel {operation}", err=True)
        return INTERRUPTED
    return say_outcome(context, seen[0]) if seen else UNKNOWN.exit_code


def say_outcome(context: Context, snapshot: Snapshot) -> int:
    """Print how it ended, and return the exit code that says the same."""
    if context.as_json:
        write_json(full_record(snapshot))
    else:
        lines = outcome_lines(snapshot)
        color = {0: "green", 3: "yellow"}.get(snapshot.category.exit_code, "red")
        click.secho(lines[0], fg=color)
        for line in lines[1:]:
            click.echo(line)
    return snapshot.category.exit_code


def full_record(snapshot: Snapshot) -> dict[str, object]:
    """The record as JSON has it: with the steps as they are now, and what a program would have to work
    out."""
    record = snapshot.record
    return {
        **snapshot.whole_record.model_dump(mode="json"),
        "plan_hash": record.plan.hash if record.plan else None,
        "cancel_would": snapshot.cancel_would,
        "note": snapshot.note,
        "attempts": [asdict(attempt) for attempt in snapshot.attempts],
        "exit_code": snapshot.category.exit_code,
    }


class Screen(Protocol):
    def show(self, snapshot: Snapshot) -> None: ...


@contextmanager
def _screen(context: Context) -> Iterator[Screen]:
    if not sys.stderr.isatty() or context.as_json:
        yield Lines()
        return
    # Loading rich takes longer than everything else here, and only a terminal needs it.
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    with Live(console=console, auto_refresh=False) as live:
        yield Picture(lambda lines: live.update(Text("\n".join(lines)), refresh=True))


class Picture:
    """The whole list of steps, drawn anew; what does not fit on the screen gives way to what moves."""

    def __init__(self, draw: Callable[[list[str]], None]) -> None:
        self._draw = draw

    def show(self, snapshot: Snapshot) -> None:
        now = datetime.now(UTC)
        height = shutil.get_terminal_size().lines - 4
        lines = steps_lines(snapshot, now)
        if len(lines) > height:
            lines = steps_lines(snapshot, now, only_moving=True)[:height]
        record = snapshot.record
        head = f"{record.id}: {standing(snapshot)} ({lasting(now - record.asked_at)})"
        self._draw([head, *([snapshot.note] if snapshot.note else []), *loose_lines(snapshot, now), *lines])


class Lines:
    """One line for each thing that changed, with the time."""

    def __init__(self) -> None:
        self._standing = ""
        self._note = ""
        self._states: dict[tuple[str, str], StepState] = {}
        self._attempts: dict[tuple[str, str], int] = {}

    def show(self, snapshot: Snapshot) -> None:
        now = datetime.now(UTC)
        if snapshot.note != self._note:
            self._note = snapshot.note
            self._line(now, snapshot.note or "the worker answers again")
        for component, step in snapshot.steps:
            key = (component, step.step.id)
            before = self._states.get(key, StepState.WAITING)
            self._states[key] = step.state
            if step.state is before:
                continue
            what = step.step.undo if step.state is StepState.UNDONE and step.step.undo else step.step.title
            line = f"{SIGNS[step.state]} {component}: {what}: {step.state.value}"
            if step.state is StepState.DONE and step.ended_at and step.started_at:
                line += f" ({lasting(step.ended_at - step.started_at)})  {step.seen}".rstrip()
            if step.error and step.state in STUCK:
                line += f": {step.error}"
            self._line(now if step.state in MOVING else step.ended_at or now, line)
        for attempt in snapshot.attempts:
            tried = (attempt.step, attempt.activity)
            # Waiting shows as many attempts; a line for every third power is enough to see that it lives. What is
            # done for no step has few, and nothing else to show.
            rarely = 3 if attempt.step else 1
            if attempt.failure and attempt.number > rarely * self._attempts.get(tried, 1):
                self._attempts[tried] = attempt.number
                self._line(now, f"  {attempt.step or attempt.activity}: {attempt_words(attempt, now)}")
        where = standing(snapshot)
        if where != self._standing and not snapshot.ended:
            self._standing = where
            self._line(now, f"{snapshot.record.id}: {where}")

    def _line(self, at: datetime, text: str) -> None:
        click.echo(f"{clock(at)}  {text}", err=True)
