"""How long an operation stood still is read off the history of its story."""

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from bench.harness import Unmeasured
from bench.resume import measured

KILLED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OLD, NEW = "worker-100", "worker-200"


class History:
    def __init__(self) -> None:
        self.events: list[HistoryEvent] = []

    def add(self, seconds: float, kind: "EventType.ValueType") -> HistoryEvent:
        event = HistoryEvent(event_id=len(self.events) + 1, event_type=kind)
        event.event_time.FromDatetime(KILLED_AT + timedelta(seconds=seconds))
        self.events.append(event)
        return event

    def asked(self, seconds: float, step: str) -> int:
        event = self.add(seconds, EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
        event.activity_task_scheduled_event_attributes.activity_id = step
        return event.event_id

    def done(self, seconds: float, scheduled: int, worker: str) -> None:
        attributes = self.add(
            seconds, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
        ).activity_task_completed_event_attributes
        attributes.scheduled_event_id, attributes.identity = scheduled, worker

    def noted(self, seconds: float) -> None:
        self.add(seconds, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)


def test_progress_is_when_the_story_has_noted_the_first_end_by_the_new_worker() -> None:
    history = History()
    first, second = history.asked(-2, "redis/0/start"), history.asked(-2, "redis/1/start")
    history.done(6, first, NEW)
    history.done(7, second, NEW)
    history.noted(8)
    one = measured(history.events, "redis/0/start", KILLED_AT, NEW)
    assert one is not None
    assert (one.step, one.running, one.progress_seconds, one.interrupted_seconds) == ("0/start", 2, 8.0, 7.0)


def test_what_the_old_worker_had_finished_is_not_progress_after_the_kill() -> None:
    history = History()
    early, late = history.asked(-2, "redis/0/start"), history.asked(-2, "redis/1/start")
    history.done(-1, early, OLD)
    history.noted(1)
    history.done(5, late, NEW)
    history.noted(6)
    one = measured(history.events, "redis/1/start", KILLED_AT, NEW)
    assert one is not None
    assert (one.running, one.progress_seconds) == (1, 6.0)


def test_a_step_that_was_over_before_the_kill_measures_nothing() -> None:
    history = History()
    early = history.asked(-2, "redis/0/start")
    history.done(-1, early, OLD)
    history.noted(-1)
    assert measured(history.events, "redis/0/start", KILLED_AT, NEW) is None


def test_a_history_in_which_nobody_went_on_cannot_be_measured() -> None:
    history = History()
    history.asked(-2, "redis/0/start")
    with pytest.raises(Unmeasured, match="redis/0/start"):
        measured(history.events, "redis/0/start", KILLED_AT, NEW)
