"""What the sandbox's owner may change while it runs: quotas, how long state changes take, and request rates.
Read by the actions, changed through `/_sandbox/limits`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from sandbox.aws.store import Table, Transaction


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas (None: no quota), durations in simulated seconds, and rates per action."""

    max_volumes: int | None = 5000
    max_volume_gib: int | None = None
    # Storage of all volumes of a region that are being modified at once.
    max_modification_gib: int | None = None
    max_modifications_per_day: int | None = 4
    max_instances: int | None = None
    volume_creating_seconds: float = 1.5
    volume_deleting_seconds: float = 1.0
    volume_modifying_seconds: float = 3.0
    # The vendor names 6 hours for a full TiB, 21 seconds per GiB; volumes that hold little were seen to take less.
    volume_optimizing_seconds: float = 30.0
    volume_optimizing_seconds_per_gib: float = 1.0
    attaching_seconds: float = 2.0
    detaching_seconds: float = 2.0
    instance_pending_seconds: float = 3.0
    instance_stopping_seconds: float = 3.0
    instance_shutting_down_seconds: float = 3.0
    terminated_visible_seconds: float = 3600.0
    # How long a new id may be answered with NotFound: the vendor's eventual consistency.
    not_found_seconds: float = 0.0
    # Action (or "*") -> {"burst": calls, "per_second": calls}; a call beyond it is RequestLimitExceeded.
    throttle: dict[str, dict[str, float]] = field(default_factory=dict)


LIMITS = Table("limits", Limits)


class BadLimit(Exception):
    """A limit cannot be set so; the text says which and why."""


def limits(tx: Transaction) -> Limits:
    return tx.find(LIMITS, "limits") or Limits()


def set_limits(tx: Transaction, changes: dict[str, Any]) -> Limits:
    known = {item.name for item in fields(Limits)}
    for name, value in changes.items():
        if name not in known:
            raise BadLimit(f"unknown limit {name!r}; there are {', '.join(sorted(known))}")
        if name == "throttle":
            _check_throttle(value)
        elif value is None and not name.startswith("max_"):
            raise BadLimit(f"{name} must be a number")
        elif value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or value < 0
        ):
            raise BadLimit(f"{name} must be a number of 0 or more")
    changed = replace(limits(tx), **changes)
    tx.put(LIMITS, "limits", changed)
    return changed


def describe(current: Limits) -> dict[str, Any]:
    return asdict(current)


def _check_throttle(value: Any) -> None:
    if not isinstance(value, dict):
        raise BadLimit('throttle must be like {"CreateVolume": {"burst": 10, "per_second": 5}}')
    for action, bucket in value.items():
        good = isinstance(bucket, dict) and set(bucket) == {"burst", "per_second"}
        if not good or not all(isinstance(n, int | float) and n > 0 for n in bucket.values()):
            raise BadLimit(f"throttle for {action} must give burst and per_second, both above 0")
