"""Client of the simulator's own interface, for tests and the CLI's sandbox command; standard library only, so
that importing it costs nothing."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

Json = dict[str, Any]


class AdminError(Exception):
    """The simulator refused or could not be reached; the text is fit for a terminal."""


class Admin:
    def __init__(self, url: str, timeout_seconds: float = 10.0) -> None:
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds

    def add_fault(self, effect: str, action: str = "*", **fields: Any) -> Json:
        """Adds a fault and returns it with its `id`; fields are those of `sandbox.aws.faults.Fault`."""
        return self._ask("POST", "faults", {"effect": effect, "action": action, **fields})

    def advance(self, seconds: float) -> Json:
        return self._ask("POST", "clock", {"advance": seconds})

    def calls(self, since: int = 0, action: str | None = None) -> list[Json]:
        """The log of calls after the call with number `since`, oldest first."""
        found: list[Json] = []
        while True:
            page = self._ask("GET", f"calls?since={since}&limit=10000")
            found += [call for call in page["calls"] if action in (None, call["action"])]
            if len(page["calls"]) < 10_000:
                return found
            since = page["last"]

    def clear_faults(self, fault_id: str | None = None) -> int:
        """Ends one fault, or all; returns how many."""
        return int(self._ask("DELETE", f"faults/{fault_id}" if fault_id else "faults")["cleared"])

    def clock(self) -> Json:
        return self._ask("GET", "clock")

    def faults(self) -> list[Json]:
        found: list[Json] = self._ask("GET", "faults")["faults"]
        return found

    def health(self) -> Json:
        return self._ask("GET", "health")

    def limits(self) -> Json:
        return self._ask("GET", "limits")

    def set_limits(self, **changes: Any) -> Json:
        return self._ask("POST", "limits", changes)

    def set_speed(self, factor: float) -> Json:
        return self._ask("POST", "clock", {"speed": factor})

    def wait_ready(self, timeout_seconds: float) -> Json:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return self.health()
            except AdminError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.05)

    def _ask(self, method: str, what: str, body: Json | None = None) -> Json:
        request = urllib.request.Request(  # noqa: S310 (the address is the sandbox's own)
            f"{self._url}/_sandbox/{what}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"},
        )
        # A proxy set for the outside world must not be asked for an address on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=self._timeout_seconds) as answer:
                result: Json = json.load(answer)
                return result
        except urllib.error.HTTPError as error:
            raise AdminError(_reason(error)) from None
        except (OSError, ValueError) as error:
            raise AdminError(f"the AWS simulator at {self._url} does not answer: {error}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the AWS simulator answered HTTP {error.code}"
