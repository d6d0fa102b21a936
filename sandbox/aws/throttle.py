"""Token buckets per action, as the vendor's API throttling; off unless `/_sandbox/limits` names an action.
Used by `sandbox.aws.simulator`."""

from __future__ import annotations

from collections.abc import Mapping


class Throttle:
    def __init__(self) -> None:
        self._buckets: dict[str, tuple[float, float]] = {}  # action -> tokens left, at which time

    def allows(self, rates: Mapping[str, Mapping[str, float]], action: str, now: float) -> bool:
        """Takes a token of the action's bucket; `*` gives every action without its own rate a bucket."""
        rate = rates.get(action) or rates.get("*")
        if rate is None:
            return True
        tokens, at = self._buckets.get(action, (rate["burst"], now))
        tokens = min(rate["burst"], tokens + max(0.0, now - at) * rate["per_second"])
        allowed = tokens >= 1.0
        self._buckets[action] = (tokens - 1.0 if allowed else tokens, now)
        return allowed
