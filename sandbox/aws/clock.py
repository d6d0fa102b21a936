"""The simulator's own time, which runs faster than ours or jumps when asked; every state, age and rate is
measured with it. Used by the simulator, which keeps the anchors in its store so that a restart goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClockState:
    """Simulated time is `simulated_anchor` at the real time `real_anchor` and runs `speed` times as fast."""

    real_anchor: float
    simulated_anchor: float
    speed: float = 1.0


class Clock:
    def __init__(self, state: ClockState | None = None, real: Callable[[], float] = time.time) -> None:
        self._real = real
        self.state = state or ClockState(real_anchor=real(), simulated_anchor=real())

    def now(self) -> float:
        """Seconds since 1970 in simulated time."""
        state = self.state
        # A real clock that was set back must not take back what the simulator already answered.
        elapsed = max(0.0, self._real() - state.real_anchor)
        return state.simulated_anchor + elapsed * state.speed

    def advance(self, seconds: float) -> ClockState:
        if seconds < 0:
            raise ValueError("the clock only goes forward: advance must be 0 or more seconds")
        self.state = ClockState(self._real(), self.now() + seconds, self.state.speed)
        return self.state

    def set_speed(self, speed: float) -> ClockState:
        if speed < 0:
            raise ValueError("speed must be 0 (frozen) or more")
        self.state = ClockState(self._real(), self.now(), speed)
        return self.state
