"""A thread that wakes up after its attempt was given up begins no change."""

import dataclasses
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from temporalio import activity
from temporalio.exceptions import CancelledError
from temporalio.testing import ActivityEnvironment

from activities.errors import NotReadyYet
from activities.idempotency import Beats, attempt_began, beats, check_time_to_act


def check(began_seconds_ago: float, allowed: timedelta | None = timedelta(seconds=60)) -> Callable[[], None]:
    def act() -> None:
        attempt_began.set(time.time() - began_seconds_ago)
        check_time_to_act()

    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(ActivityEnvironment.default_info(), start_to_close_timeout=allowed)
    return lambda: environment.run(act)


@pytest.mark.parametrize("seconds", [0, 10, 30])
def test_early_in_an_attempt_there_is_time(seconds: float) -> None:
    check(seconds)()


@pytest.mark.parametrize("seconds", [36, 59, 61, 10_000])
def test_late_in_an_attempt_there_is_none(seconds: float) -> None:
    with pytest.raises(NotReadyYet):
        check(seconds)()


def test_a_short_attempt_has_a_quarter_of_its_time() -> None:
    check(2, timedelta(seconds=10))()
    with pytest.raises(NotReadyYet):
        check(3, timedelta(seconds=10))()


def test_after_a_cancel_nothing_is_begun() -> None:
    environment = ActivityEnvironment()

    def act() -> None:
        attempt_began.set(time.time())
        with activity.shield_thread_cancel_exception():
            environment.cancel()
            with pytest.raises(NotReadyYet):
                check_time_to_act()

    with pytest.raises(CancelledError):
        environment.run(act)


def test_outside_of_activities_nothing_is_checked() -> None:
    check_time_to_act()


def test_a_worker_that_stood_still_for_longer_than_its_life_signs_allow_begins_nothing() -> None:
    def act(paused_seconds: float, beats_again: bool) -> None:
        attempt_began.set(time.time())
        life = Beats(timedelta(seconds=5))
        beats.set(life)
        check_time_to_act()
        life._last -= paused_seconds
        if beats_again:
            # The one who beats may wake up before the one who acts.
            life.beat()
        check_time_to_act()

    environment = ActivityEnvironment()
    environment.run(act, 2.0, False)
    for beats_again in (False, True):
        with pytest.raises(NotReadyYet, match="stood still"):
            environment.run(act, 4.0, beats_again)
