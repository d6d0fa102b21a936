"""Where actions are announced and what they are given. A file in `sandbox/aws/actions/` decorates functions
with `@action(...)` and is found by itself, so a later feature (snapshots, modifications, load balancers) is
one more file there. Used by `sandbox.aws.simulator`."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.aws.auth import HttpRequest
from sandbox.aws.moto_proxy import Moto
from sandbox.aws.settings import Limits
from sandbox.aws.store import Table, Transaction

Params = dict[str, Any]
Result = dict[str, Any]


@dataclass
class Call:
    """One request as an action sees it: parameters in boto3's words, and the world it may read and change."""

    service: str
    action: str
    params: Params
    form: Mapping[str, str]
    region: str
    account: str
    caller_arn: str
    caller_id: str
    now: float
    tx: Transaction
    limits: Limits
    moto: Moto
    request: HttpRequest
    # A dry run is rolled back here; what moto keeps cannot be, so it must not be asked to change.
    dry_run: bool = False
    # Added by the fault "slow" to whatever transition the action starts.
    slow_seconds: float = 0.0
    # Set by the fault "fail": what the action starts is to end as a failure.
    fails: bool = False
    # Ids the action made, for the log of calls.
    made: list[str] = field(default_factory=list)

    def zone_id(self, zone: str) -> str | None:
        return self.moto.zone_ids(self.region).get(zone)

    def new_id(self, prefix: str, digits: int = 17) -> str:
        """An id nobody had before; the same for the same seed and history, so runs can be compared."""
        identity = self.tx.find(IDENTITY, "identity") or Identity(seed=0)
        self.tx.put(IDENTITY, "identity", replace(identity, last_id=identity.last_id + 1))
        text = f"{identity.seed}/{prefix}/{identity.last_id + 1}"
        made = f"{prefix}-0{hashlib.sha256(text.encode()).hexdigest()[: digits - 1]}"
        self.made.append(made)
        return made


@dataclass(frozen=True, slots=True)
class Identity:
    """The seed of a simulator and how many ids it has given out."""

    seed: int
    last_id: int = 0


IDENTITY = Table("identity", Identity)

Handler = Callable[[Call], Result]


@dataclass(frozen=True, slots=True)
class Action:
    service: str
    name: str
    handler: Handler
    changes: bool


@dataclass(frozen=True, slots=True)
class Taggable:
    """A kind of record that carries tags: how its ids begin, its name in the tag API, where it is kept, and how
    one is found (or refused) and all are listed as a caller may see them."""

    prefix: str
    resource_type: str
    table: Table[Any]
    get: Callable[[Call, str], Any]
    all: Callable[[Call], list[Any]]


Housekeeper = Callable[[Transaction, float, Limits], None]

HOUSEKEEPERS: list[Housekeeper] = []
ACTIONS: dict[tuple[str, str], Action] = {}
TAGGABLES: dict[str, Taggable] = {}


def action(name: str, *, service: str = "ec2", changes: bool = False) -> Callable[[Handler], Handler]:
    """Announces the function as the answer to an action; `changes` marks those that a dry run must not do."""

    def announce(handler: Handler) -> Handler:
        ACTIONS[(service, name)] = Action(service, name, handler, changes)
        return handler

    return announce


REFUSED: dict[tuple[str, str], str] = {}


def refuse(reason: str, *names: str, service: str = "ec2") -> None:
    """Names actions that moto must not answer, because it would do so from state that is kept here."""
    REFUSED.update({(service, name): reason for name in names})


def taggable(kind: Taggable) -> None:
    TAGGABLES[kind.prefix] = kind


def housekeeping(task: Housekeeper) -> Housekeeper:
    """Announces a function that drops records no call can see any more; it runs now and then."""
    HOUSEKEEPERS.append(task)
    return task


def load_actions() -> None:
    package = importlib.import_module("sandbox.aws.actions")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"sandbox.aws.actions.{module.name}")
