"""The owner's interface under `/_sandbox/`: faults, the log of calls, clock, limits, health. Answers JSON; used by
`sandbox.aws.server`, and from outside through `sandbox.aws.admin`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from sandbox.aws import calls, faults, protocol, settings
from sandbox.aws.auth import ACCOUNT
from sandbox.aws.simulator import Simulator
from sandbox.aws.store import Table, Transaction

Answer = tuple[int, Any]


@dataclass(frozen=True, slots=True)
class LastFault:
    number: int = 0


# Numbers are never used twice, so that the id of a cleared fault does not come to mean another one.
FAULT_IDS = Table("fault-ids", LastFault)


class AdminRoutes:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._routes: dict[tuple[str, str], Callable[[Transaction, dict[str, Any]], Any]] = {
            ("GET", "calls"): self._calls,
            ("POST", "clock"): self._set_clock,
            ("GET", "clock"): self._clock,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._add_fault,
            ("GET", "health"): self._health,
            ("GET", "limits"): self._limits,
            ("POST", "limits"): self._set_limits,
        }

    def answer(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if "origin" in headers:
            # A web page anywhere could otherwise reach this port through its visitor's browser.
            return 403, {"error": "the sandbox's own interface does not answer web pages"}
        noun, _, rest = path.removeprefix("/_sandbox/").strip("/").partition("/")
        if method == "DELETE" and noun == "faults" and rest:
            return self._delete_fault(rest)
        handler = self._routes.get((method, noun)) if not rest else None
        if handler is None:
            return 404, {"error": f"there is no {method} {path}"}
        try:
            asked = json.loads(body) if body.strip() else dict(parse_qsl(query))
        except ValueError:
            return 400, {"error": "the body is not JSON"}
        if not isinstance(asked, dict):
            return 400, {"error": "the body must be a JSON object"}
        try:
            with self._simulator.store.begin() as tx:
                result = handler(tx, asked)
                tx.commit()
            return 200, result
        except (faults.BadFault, settings.BadLimit, ValueError) as error:
            return 400, {"error": str(error)}

    def _add_fault(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        last = tx.find(FAULT_IDS, "last") or LastFault()
        tx.put(FAULT_IDS, "last", LastFault(last.number + 1))
        return faults.describe(faults.add(tx, f"fault-{last.number + 1}", asked))

    def _calls(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        since, limit = int(asked.get("since", 0)), int(asked.get("limit", 10_000))
        found = calls.read(tx, since, limit)
        return {"calls": found, "last": found[-1]["seq"] if found else max(since, 0)}

    def _clear_faults(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        found = tx.all(faults.FAULTS)
        for fault in found:
            tx.delete(faults.FAULTS, fault.id)
        return {"cleared": len(found)}

    def _clock(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        clock = self._simulator.clock
        return {"now": clock.now(), "time": protocol.timestamp(clock.now()), "speed": clock.state.speed}

    def _delete_fault(self, fault_id: str) -> Answer:
        with self._simulator.store.begin() as tx:
            if tx.find(faults.FAULTS, fault_id) is None:
                return 404, {"error": f"there is no fault {fault_id}"}
            tx.delete(faults.FAULTS, fault_id)
            tx.commit()
        return 200, {"cleared": 1}

    def _faults(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        return {"faults": [faults.describe(fault) for fault in tx.all(faults.FAULTS)]}

    def _health(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        return {
            "status": "ok",
            "account": ACCOUNT,
            "pid": os.getpid(),
            "seed": self._simulator.seed,
            "last_call": calls.last(tx),
            **self._clock(tx, asked),
        }

    def _limits(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        return settings.describe(settings.limits(tx))

    def _set_clock(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        unknown = sorted(set(asked) - {"advance", "speed"})
        if unknown or not asked:
            raise ValueError('the clock takes {"advance": seconds} and {"speed": factor}')
        for value in asked.values():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError("advance and speed must be numbers")
        if "advance" in asked:
            self._simulator.clock.advance(asked["advance"])
        if "speed" in asked:
            self._simulator.clock.set_speed(asked["speed"])
        self._simulator.save_clock(tx)
        return self._clock(tx, asked)

    def _set_limits(self, tx: Transaction, asked: dict[str, Any]) -> Any:
        return settings.describe(settings.set_limits(tx, asked))
