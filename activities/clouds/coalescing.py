"""Puts questions asked at the same time into one call, where a cloud limits how often it may be asked.

While a call is under way, those who ask wait; when it ends, one of them asks for all. A single asker loses no
time, and with a hundred there is never more than one call under way. Every answer was fetched after its
question was asked, so nobody sees an older world than by asking alone.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from activities.errors import SupergiantError

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(eq=False)
class _Asked(Generic[Q, A]):
    """One question. Its thread is woken when the answer is there, or to ask for those who wait."""

    question: Q
    woken: threading.Event = field(default_factory=threading.Event)
    answer: A | None = None
    error: BaseException | None = None
    answered: bool = False


class Coalescing(Generic[Q, A]):
    """`ask_all` answers a list of questions in their order; `most` is how many it takes at once."""

    def __init__(self, ask_all: Callable[[list[Q]], Sequence[A]], most: int) -> None:
        self._ask_all = ask_all
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[_Asked[Q, A]] = []
        self._busy = False

    def ask(self, question: Q) -> A:
        mine: _Asked[Q, A] = _Asked(question)
        with self._lock:
            self._waiting.append(mine)
            if not self._busy:
                self._busy = True
                mine.woken.set()
        mine.woken.wait()
        if not mine.answered:
            self._ask_for_those_who_wait()
        if isinstance(mine.error, SupergiantError):
            # Whoever catches one may write into it what holds for its own caller alone.
            raise copy.copy(mine.error) from mine.error
        if mine.error is not None:
            raise mine.error
        return mine.answer  # type: ignore[return-value]  # None is an answer, too

    def _ask_for_those_who_wait(self) -> None:
        # Who was woken to ask is the first in the row, so this call answers them as well. The next call is
        # another's, or the first thread would serve the others until its own time is up.
        with self._lock:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            answers = self._ask_all([asked.question for asked in batch])
            for asked, answer in zip(batch, answers, strict=True):
                asked.answer = answer
        except BaseException as error:
            for asked in batch:
                asked.error = error
        finally:
            for asked in batch:
                asked.answered = True
                asked.woken.set()
            with self._lock:
                if self._waiting:
                    self._waiting[0].woken.set()
                else:
                    self._busy = False
