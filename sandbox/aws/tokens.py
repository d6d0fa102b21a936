"""Client tokens: which request a token was first used for and what it made, so that a repeated request makes
nothing twice. Used by every action that creates something and takes a ClientToken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.aws.errors import AwsError
from sandbox.aws.registry import TAGGABLES, Call, housekeeping
from sandbox.aws.settings import Limits
from sandbox.aws.store import Table, Transaction

_MAX_TOKEN_LENGTH = 64
# The vendor promises a day; a guess on the safe side.
_KEPT_SECONDS = 48 * 3600.0


@dataclass(frozen=True, slots=True)
class Token:
    fingerprint: str
    made: list[str]
    at: float


TOKENS = Table("token", Token)


def made_before(call: Call) -> list[str] | None:
    """What the same request made earlier, or None for a new token; another request with it is refused."""
    token = call.params.get("ClientToken")
    if not token:
        return None
    if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
        raise AwsError("InvalidParameterValue", "The client token must have at most 64 ASCII characters")
    known = call.tx.find(TOKENS, _key(call, token))
    if known is None:
        return None
    if known.fingerprint != _fingerprint(call.form):
        raise AwsError(
            "IdempotentParameterMismatch",
            "Parameters on this idempotent request are inconsistent with parameters used in previous request(s)",
        )
    return list(known.made)


def remember(call: Call, made: list[str]) -> None:
    token = call.params.get("ClientToken")
    if token:
        call.tx.put(TOKENS, _key(call, token), Token(_fingerprint(call.form), made, call.now))


@housekeeping
def forget_tokens(tx: Transaction, now: float, limits: Limits) -> None:
    """A token of something that still exists is kept for good: forgetting it would let a retry make a second."""
    for key, token in tx.items(TOKENS):
        if now - token.at > _KEPT_SECONDS and not any(_exists(tx, made) for made in token.made):
            tx.delete(TOKENS, key)


def already_deleted() -> AwsError:
    return AwsError(
        "IdempotentParameterMismatch",
        "The client token you have provided is associated with a resource that is already deleted. "
        "Please use a different client token.",
    )


def _exists(tx: Transaction, made: str) -> bool:
    kind = TAGGABLES.get(made.partition("-")[0])
    return kind is not None and tx.find(kind.table, made) is not None


def _key(call: Call, token: str) -> str:
    return f"{call.region}/{call.action}/{token}"


def _fingerprint(form: Mapping[str, str]) -> str:
    """Of the request as it came: what a launch template adds to it is not part of it."""
    said = {
        name: value for name, value in form.items() if name != "ClientToken" and not name.startswith("X-Amz-")
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
