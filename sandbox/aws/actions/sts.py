"""Who am I, and keys for a while: the part of STS that SDKs and Kubernetes drivers use."""

from __future__ import annotations

import hashlib
import re
import secrets

from sandbox.aws.auth import KEYS, Key
from sandbox.aws.errors import AwsError
from sandbox.aws.registry import Call, Result, action, housekeeping
from sandbox.aws.settings import Limits
from sandbox.aws.store import Transaction

# For a day an old key is told that it expired; later nobody knows it.
_EXPIRED_SHOWN_SECONDS = 24 * 3600.0


@action("GetCallerIdentity", service="sts")
def get_caller_identity(call: Call) -> Result:
    return {"Account": call.account, "Arn": call.caller_arn, "UserId": call.caller_id}


@action("AssumeRole", service="sts", changes=True)
def assume_role(call: Call) -> Result:
    return _assumed(call, call.params["RoleArn"], call.params["RoleSessionName"])


@action("AssumeRoleWithWebIdentity", service="sts", changes=True)
def assume_role_with_web_identity(call: Call) -> Result:
    """Any token is believed: the sandbox has no identity provider to ask."""
    session = call.params["RoleSessionName"]
    result = _assumed(call, call.params["RoleArn"], session)
    return {
        **result,
        "SubjectFromWebIdentityToken": session,
        "Provider": "sandbox",
        "Audience": "sts.amazonaws.com",
    }


@action("GetSessionToken", service="sts", changes=True)
def get_session_token(call: Call) -> Result:
    return {"Credentials": _hand_out(call, call.caller_arn, call.caller_id)}


@housekeeping
def forget_keys(tx: Transaction, now: float, limits: Limits) -> None:
    for key in tx.all(KEYS):
        if key.expires_at is not None and now > key.expires_at + _EXPIRED_SHOWN_SECONDS:
            tx.delete(KEYS, key.access_key_id)


def _assumed(call: Call, role_arn: str, session: str) -> Result:
    parts = re.fullmatch(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:.*/)?([\w+=,.@-]+)", role_arn)
    if parts is None:
        raise AwsError("ValidationError", f"{role_arn} is invalid")
    if not re.fullmatch(r"[\w+=,.@-]{2,64}", session):
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value '{session}' at 'roleSessionName' is invalid",
        )
    role_id = "AROA" + hashlib.sha256(role_arn.encode()).hexdigest()[:17].upper()
    arn = f"arn:aws:sts::{parts.group(1)}:assumed-role/{parts.group(2)}/{session}"
    user_id = f"{role_id}:{session}"
    return {
        "Credentials": _hand_out(call, arn, user_id),
        "AssumedRoleUser": {"AssumedRoleId": user_id, "Arn": arn},
    }


def _hand_out(call: Call, arn: str, user_id: str) -> Result:
    seconds = call.params.get("DurationSeconds", 3600)
    if not 900 <= seconds <= 129_600:
        raise AwsError("ValidationError", "DurationSeconds must be from 900 to 129600")
    key = Key(
        access_key_id="ASIA" + secrets.token_hex(8).upper(),
        secret=secrets.token_urlsafe(30),
        arn=arn,
        user_id=user_id,
        session_token=secrets.token_urlsafe(96),
        expires_at=call.now + seconds,
    )
    call.tx.put(KEYS, key.access_key_id, key)
    return {
        "AccessKeyId": key.access_key_id,
        "SecretAccessKey": key.secret,
        "SessionToken": key.session_token,
        "Expiration": key.expires_at,
    }
