"""The log of calls: what was asked, by whom, with which token and how it ended. Kept in the store so that a
test that kills the simulator can still count; read through `/_sandbox/calls`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sandbox.aws.store import Transaction

# Old calls are dropped in steps, so that a sandbox that lives for weeks does not fill its disk.
KEPT_CALLS = 50_000
_TRIM_EVERY = 1_000
_SECRET_WORDS = ("secret", "password", "userdata", "webidentitytoken", "x-amz-signature", "securitytoken")


def record(tx: Transaction, entry: dict[str, Any], real_time: float) -> None:
    """Adds a call to the transaction that answers it, so the two cannot disagree."""
    tx.execute("INSERT INTO calls (real_time, body) VALUES (?, ?)", real_time, json.dumps(entry))
    tx.execute(
        "DELETE FROM calls WHERE (SELECT max(seq) FROM calls) % ? = 0 AND seq <= (SELECT max(seq) FROM calls) - ?",
        _TRIM_EVERY,
        KEPT_CALLS,
    )


def read(tx: Transaction, since: int, limit: int) -> list[dict[str, Any]]:
    rows = tx.query("SELECT seq, real_time, body FROM calls WHERE seq > ? ORDER BY seq LIMIT ?", since, limit)
    return [{"seq": seq, "real_time": real_time, **json.loads(body)} for seq, real_time, body in rows]


def last(tx: Transaction) -> int:
    return int(next(tx.query("SELECT coalesce(max(seq), 0) FROM calls"))[0])


def without_secrets(form: Mapping[str, str]) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name, value in form.items():
        if name in ("Action", "Version"):
            continue
        hidden = any(word in name.lower() for word in _SECRET_WORDS)
        shown[name] = "(hidden)" if hidden else value[:2000]
    return shown
