"""Questions asked at the same time share a call, and everybody gets their own and a fresh answer."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from activities.clouds.coalescing import Coalescing
from activities.errors import CameToFail


class Slow:
    """Answers with the square; each call waits until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, questions: list[int]) -> list[int]:
        self.batches.append(questions)
        self.begun.release()
        assert self.go.acquire(timeout=10)
        if 13 in questions:
            raise LookupError("thirteen")
        if 14 in questions:
            raise CameToFail("fourteen", help="ask for less")
        return [question**2 for question in questions]


@pytest.fixture
def slow() -> Slow:
    return Slow()


def ask_while_one_is_under_way(
    slow: Slow, asking: Coalescing[int, int], first: int, rest: list[int]
) -> list[Future[int]]:
    """`first` is under way when the rest ask."""
    pool = ThreadPoolExecutor(len(rest) + 1)
    futures = [pool.submit(asking.ask, first)]
    assert slow.begun.acquire(timeout=10)
    futures += [pool.submit(asking.ask, question) for question in rest]
    waiting = threading.Event()
    while len(asking._waiting) < len(rest):
        waiting.wait(0.001)
    pool.shutdown(wait=False)
    return futures


def test_who_asks_alone_is_answered_at_once(slow: Slow) -> None:
    slow.go.release()
    assert Coalescing(slow, 10).ask(7) == 49
    assert slow.batches == [[7]]


def test_those_who_ask_meanwhile_share_the_next_call(slow: Slow) -> None:
    futures = ask_while_one_is_under_way(slow, Coalescing(slow, 10), 1, [2, 3, 4])
    slow.go.release(2)
    assert sorted(future.result(10) for future in futures) == [1, 4, 9, 16]
    assert [sorted(batch) for batch in slow.batches] == [[1], [2, 3, 4]]


def test_nobody_is_answered_by_a_call_that_began_before_the_question(slow: Slow) -> None:
    futures = ask_while_one_is_under_way(slow, Coalescing(slow, 10), 5, [5])
    slow.go.release()
    assert futures[0].result(10) == 25
    assert slow.begun.acquire(timeout=10)
    assert not futures[1].done()
    slow.go.release()
    assert futures[1].result(10) == 25


def test_no_call_takes_more_than_the_cloud_allows(slow: Slow) -> None:
    futures = ask_while_one_is_under_way(slow, Coalescing(slow, 2), 1, [2, 3, 4, 5, 6])
    slow.go.release(4)
    assert sorted(future.result(10) for future in futures) == [1, 4, 9, 16, 25, 36]
    assert [len(batch) for batch in slow.batches] == [1, 2, 2, 1]


def test_a_failed_call_fails_for_those_who_shared_it_and_for_nobody_else(slow: Slow) -> None:
    asking = Coalescing(slow, 10)
    futures = ask_while_one_is_under_way(slow, asking, 1, [12, 13])
    slow.go.release(3)
    assert futures[0].result(10) == 1
    for future in futures[1:]:
        with pytest.raises(LookupError):
            future.result(10)
    assert asking.ask(2) == 4


def test_what_one_writes_into_the_failure_is_not_read_by_those_who_shared_it(slow: Slow) -> None:
    futures = ask_while_one_is_under_way(slow, Coalescing(slow, 10), 1, [14, 15])
    slow.go.release(2)
    errors = [future.exception(10) for future in futures[1:]]
    first, second = (error for error in errors if isinstance(error, CameToFail))
    first.untouched = True
    assert (second.untouched, str(second), second.help) == (False, "fourteen", "ask for less")


def test_an_answer_may_be_none() -> None:
    asking: Coalescing[int, None] = Coalescing(lambda questions: [None] * len(questions), 10)
    assert [asking.ask(1), asking.ask(2)] == [None, None]
