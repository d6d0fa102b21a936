"""Our errors become Temporal's, with the same pace and the same words."""

import dataclasses
import inspect
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

from activities import errors
from activities.boundary import LONGEST_MESSAGE, translated
from activities.errors import (
    AccessDenied,
    NotReadyYet,
    Permanent,
    SupergiantError,
    Throttled,
    Transient,
    Unreachable,
)

INFO = ActivityEnvironment.default_info()
ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SupergiantError) and kind not in (SupergiantError, Transient, Permanent)
]


def translation_of(error: Exception, attempt: int = 1) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught, translated(dataclasses.replace(INFO, attempt=attempt)):
        raise error
    return caught.value


@pytest.mark.parametrize("kind", ALL)
def test_every_error_keeps_its_name_and_whether_it_is_worth_another_try(kind: type[SupergiantError]) -> None:
    error = translation_of(kind("what happened"))
    assert (error.type, error.message) == (kind.__name__, "what happened")
    assert error.non_retryable is issubclass(kind, Permanent)


@pytest.mark.parametrize("kind", ALL)
def test_only_waiting_is_no_news(kind: type[SupergiantError]) -> None:
    benign = translation_of(kind("x")).category is ApplicationErrorCategory.BENIGN
    assert benign is (kind is NotReadyYet)


def test_the_pace_of_the_error_is_kept() -> None:
    pace = timedelta(seconds=7)
    assert translation_of(NotReadyYet("x", retry_after=pace)).next_retry_delay == pace
    assert translation_of(Throttled("x", retry_after=pace)).next_retry_delay == pace
    assert translation_of(Unreachable("x")).next_retry_delay is None


def test_the_throttled_come_back_later_each_time_and_not_all_at_once() -> None:
    delays = [
        [translation_of(Throttled("x"), attempt).next_retry_delay or timedelta() for _ in range(20)]
        for attempt in (1, 4, 30)
    ]
    assert all(len(set(of_attempt)) > 1 for of_attempt in delays)
    assert max(delays[0]) <= timedelta(seconds=2) < timedelta(seconds=8) <= min(delays[1])
    assert max(delays[2]) <= timedelta(seconds=20)


@pytest.mark.parametrize("untouched", [True, False])
def test_a_failure_says_whether_the_world_is_as_it_was(untouched: bool) -> None:
    [failure] = translation_of(AccessDenied("no", untouched=untouched)).details
    assert failure.untouched is untouched


def test_of_an_error_that_may_pass_nobody_claims_that_nothing_was_touched() -> None:
    [failure] = translation_of(Unreachable("x")).details
    assert failure.untouched is False


def test_a_long_text_is_cut() -> None:
    error = translation_of(Unreachable("x" * 100_000))
    assert len(error.message) == LONGEST_MESSAGE + 1


def test_an_unforeseen_error_says_its_name_and_not_its_text() -> None:
    error = translation_of(ZeroDivisionError("the-secret"))
    assert "ZeroDivisionError" in error.message
    assert "the-secret" not in f"{error} {error.details} {error.__cause__}"
    assert error.__suppress_context__


def test_what_temporal_understands_already_is_left_alone() -> None:
    mine = ApplicationError("as it is", type="Mine")
    assert translation_of(mine) is mine
