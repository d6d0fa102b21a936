"""One call from door to door: who asks, which fault it meets, whether the rate allows it, what the action does
in its transaction, what is written down and what is answered. Used by `sandbox.aws.server`."""

from __future__ import annotations

import logging
import os
import re
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from sandbox.aws import auth, calls, faults, protocol, registry, settings
from sandbox.aws.auth import ACCOUNT, KEYS, HttpRequest, Key
from sandbox.aws.clock import Clock, ClockState
from sandbox.aws.errors import AwsError, unsupported
from sandbox.aws.faults import Fault
from sandbox.aws.moto_proxy import Moto, Reply
from sandbox.aws.registry import ACTIONS, HOUSEKEEPERS, IDENTITY, REFUSED, TAGGABLES, Call, Identity
from sandbox.aws.store import Store, Table, Transaction
from sandbox.aws.throttle import Throttle

log = logging.getLogger(__name__)

CLOCK = Table("clock", ClockState)
# Old records cost a little time per call; how many gather between two clearings hardly matters.
_TIDY_EVERY_SECONDS = 300.0
# The only calls that identify their caller by what they carry and not by a signature.
_UNSIGNED = {("sts", "AssumeRoleWithWebIdentity"), ("sts", "AssumeRoleWithSAML")}


@dataclass
class _Asked:
    """A request as far as it is understood, and what happened to it; becomes a line in the log of calls."""

    request: HttpRequest
    request_id: str
    service: str = "ec2"
    region: str = "us-east-1"
    action: str = ""
    style: str = "query"
    form: dict[str, str] = field(default_factory=dict)
    key: Key | None = None
    struck: list[Fault] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    started: float = 0.0


class Simulator:
    def __init__(
        self,
        store: Store,
        key: Key,
        seed: int | None = None,
        speed: float | None = None,
        real: Callable[[], float] = time.time,
    ) -> None:
        registry.load_actions()
        self.store = store
        self._real = real
        self._key = key
        with store.begin() as tx:
            identity = tx.find(IDENTITY, "identity") or Identity(seed=seed if seed is not None else 0)
            self.clock = Clock(tx.find(CLOCK, "clock"), real)
            if speed is not None:
                self.clock.set_speed(speed)
            tx.put(IDENTITY, "identity", identity)
            tx.put(CLOCK, "clock", self.clock.state)
            journal = [
                (int(seq), str(body))
                for seq, body in tx.query("SELECT seq, body FROM passed_on ORDER BY seq")
            ]
            tx.commit()
        self.seed = identity.seed
        self._tidied_at = self.clock.now()
        self.throttle = Throttle()
        self.moto = Moto(ACCOUNT, self.seed, journal)

    def handle(self, request: HttpRequest) -> Reply:
        asked = _Asked(request, str(uuid.uuid4()), started=self._real())
        try:
            _understand(asked)
            self._authenticate(asked)
            reply = self._meet_faults_and_serve(asked)
        except AwsError as error:
            reply = self._refusal(asked, error)
            self._note(asked, error.code)
        except _Dropped as dropped:
            self._note(asked, dropped.outcome)
            reply = Reply(0, b"", dropped=True)
        except sqlite3.Error as error:
            log.error("the state file cannot be written: %s", error)
            reply = self._refusal(asked, AwsError("InternalError", "An internal error has occurred", 500))
        except Exception:
            # A fault of the simulator itself must reach its log in full and the client in the vendor's form.
            log.exception("%s %s failed", asked.service, asked.action)
            reply = self._refusal(asked, AwsError("InternalError", "An internal error has occurred", 500))
            self._note(asked, "InternalError")
        reply.headers.setdefault("x-amzn-RequestId", asked.request_id)
        return reply

    def save_clock(self, tx: Transaction) -> None:
        tx.put(CLOCK, "clock", self.clock.state)

    def _authenticate(self, asked: _Asked) -> None:
        scope = auth.read_scope(asked.request)
        if scope is None:
            if (asked.service, asked.action) in _UNSIGNED:
                return
            raise auth.missing_signature(asked.service)
        asked.key = auth.authenticate(asked.request, scope, self._find_key, self.clock.now(), self._real())

    def _find_key(self, access_key_id: str) -> Key | None:
        if access_key_id == self._key.access_key_id:
            return self._key
        with self.store.begin() as tx:
            return tx.find(KEYS, access_key_id)

    def _meet_faults_and_serve(self, asked: _Asked) -> Reply:
        asked.struck = self._strike(asked)
        for fault in asked.struck:
            if fault.when == "before" and fault.effect != "drop-after":
                self._suffer(asked, fault)
        with self.store.begin() as tx:
            limits = settings.limits(tx)
            self._tidy(tx, limits)
            if not self.throttle.allows(limits.throttle, asked.action, self.clock.now()):
                raise _throttled(asked.service)
            reply = self._serve(asked, tx, limits)
            self._record(tx, asked, "ok" if reply.status < 400 else str(reply.status))
            tx.commit()
        for fault in asked.struck:
            if fault.when == "after" or fault.effect == "drop-after":
                self._suffer(asked, fault)
        return reply

    def _tidy(self, tx: Transaction, limits: settings.Limits) -> None:
        """Now and then drops what no call can see any more; in a transaction of its own."""
        now = self.clock.now()
        if now - self._tidied_at < _TIDY_EVERY_SECONDS:
            return
        self._tidied_at = now
        for task in HOUSEKEEPERS:
            task(tx, now, limits)
        tx.commit()

    def _strike(self, asked: _Asked) -> list[Fault]:
        with self.store.begin() as tx:
            if not tx.all(faults.FAULTS):
                return []
            struck = faults.strike(tx, self.seed, asked.action, _words(tx, asked.form))
            tx.commit()
            return struck

    def _suffer(self, asked: _Asked, fault: Fault) -> None:
        if fault.effect == "delay":
            time.sleep(fault.seconds)
        elif fault.effect == "throttle":
            raise _throttled(asked.service)
        elif fault.effect == "error":
            status = fault.status or (
                500 if fault.code in (None, "InternalError", "InternalFailure") else 400
            )
            raise AwsError(
                fault.code or "InternalError", fault.message or _default_message(fault.code), status
            )
        elif fault.effect == "crash":
            self._note(asked, f"crashed {fault.when}")
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.effect in ("drop-before", "drop-after"):
            raise _Dropped(fault.effect)

    def _serve(self, asked: _Asked, tx: Transaction, limits: settings.Limits) -> Reply:
        name = (asked.service, asked.action)
        found = ACTIONS.get(name)
        if found is None and name in REFUSED:
            raise unsupported(REFUSED[name])
        if found is None:
            return self._pass_on(asked, tx)
        params = protocol.parse(asked.service, asked.action, asked.form)
        call = Call(
            service=asked.service,
            action=asked.action,
            params=params,
            form=asked.form,
            region=asked.region,
            account=ACCOUNT,
            caller_arn=asked.key.arn if asked.key else "",
            caller_id=asked.key.user_id if asked.key else "",
            now=self.clock.now(),
            tx=tx,
            limits=limits,
            moto=self.moto,
            request=asked.request,
            dry_run=bool(params.pop("DryRun", False)),
            slow_seconds=sum(fault.seconds for fault in asked.struck if fault.effect == "slow"),
            fails=any(fault.effect == "fail" for fault in asked.struck),
            made=asked.made,
        )
        result = found.handler(call)
        if call.dry_run:
            # The action ran with all its checks; leaving the block without a commit undoes it.
            asked.made.clear()
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        body = protocol.render(asked.service, asked.action, result, asked.request_id)
        return Reply(200, body, {"Content-Type": "text/xml;charset=UTF-8"})

    def _pass_on(self, asked: _Asked, tx: Transaction) -> Reply:
        if asked.service == "ec2":
            protocol.operation("ec2", asked.action)
        reply = self.moto.serve(asked.request, asked.service, asked.region, asked.action, tx)
        html = "html" in reply.headers.get("Content-Type", "") and reply.body[:9].lower().startswith(
            b"<!doctype"
        )
        if html and asked.service != "s3":
            raise unsupported(
                f"The sandbox does not simulate {asked.service} {asked.action} with these parameters"
            )
        return reply

    def _refusal(self, asked: _Asked, error: AwsError) -> Reply:
        body, headers = protocol.render_error(asked.service, asked.style, error, asked.request_id)
        return Reply(error.status, body, headers)

    def _note(self, asked: _Asked, outcome: str) -> None:
        """Writes down a call that changed nothing, or whose change is already committed."""
        try:
            with self.store.begin() as tx:
                self._record(tx, asked, outcome)
                tx.commit()
        except sqlite3.Error as error:
            # A full disk must not take the answer from the client: it is the answer that tells what is wrong.
            log.error("the state file cannot be written: %s", error)

    def _record(self, tx: Transaction, asked: _Asked, outcome: str) -> None:
        real_now = self._real()
        entry: dict[str, Any] = {
            "time": protocol.timestamp(self.clock.now()),
            "service": asked.service,
            "region": asked.region,
            "action": asked.action,
            "params": calls.without_secrets(asked.form),
            "token": asked.form.get("ClientToken"),
            "key": asked.key.access_key_id if asked.key else None,
            "outcome": outcome,
            "made": list(asked.made),
            "faults": [fault.id for fault in asked.struck],
            "seconds": round(real_now - asked.started, 4),
            "request_id": asked.request_id,
        }
        calls.record(tx, entry, real_now)


class _Dropped(Exception):
    """The connection is to be closed without an answer."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def _throttled(service: str) -> AwsError:
    if service == "ec2":
        return AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)
    return AwsError("Throttling", "Rate exceeded", 400)


def _understand(asked: _Asked) -> None:
    """Finds service, region and action; before the signature is checked, so that a refusal has the right form."""
    request = asked.request
    target = request.headers.get("x-amz-target")
    scope_text = request.headers.get("authorization", "") + dict(parse_qsl(request.query)).get(
        "X-Amz-Credential", ""
    )
    scope = re.search(r"/\d{8}/([^/]+)/([^/]+)/aws4_request", scope_text)
    if scope:
        asked.region, asked.service = scope.group(1), scope.group(2)
    form_encoded = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if target:
        asked.style = "json"
        asked.action = target.rpartition(".")[2]
        return
    text = request.body.decode("utf-8", "replace") if form_encoded else ""
    form = dict(parse_qsl(text, keep_blank_values=True)) or dict(
        parse_qsl(request.query, keep_blank_values=True)
    )
    if "Action" in form:
        asked.form = form
        asked.action = form["Action"]
        if not scope and form.get("Version") == "2011-06-15":
            asked.service = "sts"
        return
    asked.style = "rest" if scope else "query"
    asked.action = f"{request.method} {request.path}"
    if not scope:
        asked.service = "s3" if request.method == "GET" and request.path != "/" else "ec2"


def _words(tx: Transaction, form: dict[str, str]) -> list[str]:
    """What a fault's `resource` is looked for in: every parameter, and the tags of every resource named."""
    words = [value for name, value in form.items() if name not in ("Action", "Version")]
    for value in list(words):
        kind = TAGGABLES.get(value.partition("-")[0])
        record = tx.find(kind.table, value) if kind else None
        if record is not None:
            words.extend(f"{key}={text}" for key, text in record.tags.items())
    return words


def _default_message(code: str | None) -> str:
    return (
        f"A fault of the sandbox refused the request with {code}"
        if code
        else "An internal error has occurred"
    )
