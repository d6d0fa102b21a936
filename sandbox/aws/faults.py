"""Faults on request: which calls meet trouble, of what kind and how often. The admin interface adds them; the
simulator asks before it serves a call. Counts live in the store, so a fault that kills the simulator is spent."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from sandbox.aws.store import Table, Transaction

EFFECTS = ("throttle", "error", "delay", "slow", "fail", "drop-before", "drop-after", "crash")


@dataclass(frozen=True, slots=True)
class Fault:
    """`nth` - 1 matching calls pass first, then `count` calls (None: all that follow) meet the effect."""

    id: str
    effect: str
    action: str = "*"
    resource: str | None = None
    code: str | None = None
    status: int | None = None
    message: str | None = None
    seconds: float = 0.0
    count: int | None = 1
    nth: int = 1
    probability: float = 1.0
    when: str = "before"
    seen: int = 0
    hits: int = 0


FAULTS = Table("fault", Fault)


class BadFault(Exception):
    """The description of a fault cannot be used; the text says which field and why."""


def add(tx: Transaction, fault_id: str, description: dict[str, Any]) -> Fault:
    settable = {"action", "resource", "effect", "code", "status", "message", "seconds", "count", "nth"}
    settable |= {"probability", "when"}
    unknown = sorted(set(description) - settable)
    if unknown:
        raise BadFault(f"unknown field {unknown[0]!r}; a fault has {', '.join(sorted(settable))}")
    effect = description.get("effect")
    if effect not in EFFECTS:
        raise BadFault(f"effect must be one of {', '.join(EFFECTS)}, not {effect!r}")
    _check_kinds(description)
    if description.get("resource"):
        try:
            re.compile(description["resource"])
        except re.error as error:
            raise BadFault(f"resource is not a regular expression: {error}") from error
    fault = Fault(id=fault_id, **description)
    tx.put(FAULTS, fault.id, fault)
    return fault


def describe(fault: Fault) -> dict[str, Any]:
    spent = fault.count is not None and fault.hits >= fault.count
    return {**asdict(fault), "spent": spent}


def strike(tx: Transaction, seed: int, action: str, words: list[str]) -> list[Fault]:
    """The faults that hit this call; counts every match. `words` are the ids and tags the call is about."""
    struck: list[Fault] = []
    for fault in tx.all(FAULTS):
        if fault.count is not None and fault.hits >= fault.count:
            continue
        if not fnmatch.fnmatchcase(action, fault.action):
            continue
        if fault.resource and not any(re.search(fault.resource, word) for word in words):
            continue
        seen = fault.seen + 1
        hit = seen >= fault.nth and _chance(seed, fault.id, seen) < fault.probability
        counted = replace(fault, seen=seen, hits=fault.hits + int(hit))
        tx.put(FAULTS, fault.id, counted)
        if hit:
            struck.append(counted)
    return struck


def _chance(seed: int, fault_id: str, match: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments, so that a run can be repeated."""
    digest = hashlib.sha256(f"{seed}/{fault_id}/{match}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _check_kinds(description: dict[str, Any]) -> None:
    for name in ("action", "resource", "code", "message"):
        if not isinstance(description.get(name, ""), str | None):
            raise BadFault(f"{name} must be text")
    for name, lowest in (("count", 1), ("nth", 1), ("status", 400)):
        value = description.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < lowest):
            raise BadFault(f"{name} must be a whole number of {lowest} or more")
    if "nth" in description and description["nth"] is None:
        raise BadFault("nth must be a whole number of 1 or more")
    for name, highest in (("seconds", 3600.0), ("probability", 1.0)):
        value = description.get(name, 0.0)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= highest:
            raise BadFault(f"{name} must be a number from 0 to {highest:g}")
    if description.get("when", "before") not in ("before", "after"):
        raise BadFault("when must be 'before' or 'after'")
