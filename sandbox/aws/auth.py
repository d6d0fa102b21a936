"""Checks who signed a request (Signature Version 4, in headers or in the address) against the keys the
simulator knows. Used by `sandbox.aws.simulator` before anything else looks at a request."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote

from sandbox.aws.errors import AwsError
from sandbox.aws.store import Table

# The vendor allows 5 minutes; a sandbox also meets machines whose clock is a day off or frozen for a test.
ALLOWED_SKEW_SECONDS = 36 * 3600


@dataclass(frozen=True, slots=True)
class Key:
    """An access key; keys handed out by STS end and demand their session token."""

    access_key_id: str
    secret: str
    arn: str
    user_id: str
    session_token: str = ""
    expires_at: float | None = None


# The account every key belongs to; moto uses the same one.
ACCOUNT = "123456789012"
# Keys handed out by STS; the one long-lived key comes from the simulator's configuration.
KEYS = Table("key", Key)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature says about its request: whose key, for which region and service."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    signed_at: str
    presigned: bool
    session_token: str


def read_scope(request: HttpRequest) -> Scope | None:
    """The scope of a signed request, or None when it carries no signature."""
    header = request.headers.get("authorization", "")
    if header.startswith("AWS4-HMAC-SHA256"):
        fields = dict(re.findall(r"(Credential|SignedHeaders|Signature)=([^,\s]+)", header))
        signed_at = request.headers.get("x-amz-date", "")
        token = request.headers.get("x-amz-security-token", "")
        presigned = False
    else:
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        if "X-Amz-Credential" not in query:
            return None
        fields = {
            name: query.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")
        }
        signed_at = query.get("X-Amz-Date", "")
        token = query.get("X-Amz-Security-Token", "")
        presigned = True
    credential = fields.get("Credential", "").split("/")
    if len(credential) != 5 or not fields.get("Signature"):
        raise AwsError("IncompleteSignature", "The request signature does not conform to AWS standards.", 400)
    return Scope(
        access_key_id=credential[0],
        date=credential[1],
        region=credential[2],
        service=credential[3],
        signed_headers=tuple(fields.get("SignedHeaders", "").split(";")),
        signature=fields["Signature"],
        signed_at=signed_at,
        presigned=presigned,
        session_token=token,
    )


def authenticate(
    request: HttpRequest,
    scope: Scope,
    find_key: Callable[[str], Key | None],
    simulated_now: float,
    real_now: float,
) -> Key:
    """The key that signed the request; refuses in the words of the called service."""
    key = find_key(scope.access_key_id)
    if key is None:
        raise _unknown_key(scope.service)
    if key.session_token and not hmac.compare_digest(key.session_token, scope.session_token):
        raise _unknown_key(scope.service)
    if key.expires_at is not None and key.expires_at <= simulated_now:
        code = "RequestExpired" if scope.service == "ec2" else "ExpiredToken"
        raise AwsError(code, "The security token included in the request is expired", 400)
    if not hmac.compare_digest(_signature(request, scope, key.secret), scope.signature):
        raise _wrong_signature(scope.service)
    _check_date(scope, real_now)
    return key


def missing_signature(service: str) -> AwsError:
    if service == "ec2":
        return AwsError("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    return AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)


def _unknown_key(service: str) -> AwsError:
    if service == "ec2":
        return AwsError("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    code = {"s3": "InvalidAccessKeyId"}.get(service, "InvalidClientTokenId")
    return AwsError(code, "The security token included in the request is invalid.", 403)


def _wrong_signature(service: str) -> AwsError:
    if service == "ec2":
        return AwsError("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    return AwsError(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method.",
        403,
    )


def _check_date(scope: Scope, real_now: float) -> None:
    try:
        signed = datetime.strptime(scope.signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise AwsError("IncompleteSignature", "Date must be in ISO-8601 'basic format'.", 400) from None
    if abs(signed - real_now) > ALLOWED_SKEW_SECONDS:
        raise AwsError("RequestExpired", "Request has expired.", 400)


def _signature(request: HttpRequest, scope: Scope, secret: str) -> str:
    credential_scope = f"{scope.date}/{scope.region}/{scope.service}/aws4_request"
    canonical = hashlib.sha256(_canonical_request(request, scope).encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{scope.signed_at}\n{credential_scope}\n{canonical}"
    key = _signing_key(secret, scope.date, scope.region, scope.service)
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=256)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical_request(request: HttpRequest, scope: Scope) -> str:
    pairs = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(request.query, keep_blank_values=True)
        if name != "X-Amz-Signature"
    ]
    query = "&".join(f"{name}={value}" for name, value in sorted(pairs))
    headers = "".join(
        f"{name}:{re.sub(' +', ' ', request.headers.get(name, '').strip())}\n"
        for name in scope.signed_headers
    )
    # S3 signs the path as sent; every other service signs it encoded once more.
    path = request.path if scope.service == "s3" else quote(request.path, safe="/-_.~")
    payload = request.headers.get("x-amz-content-sha256")
    if payload is None:
        unsigned = scope.presigned and scope.service == "s3"
        payload = "UNSIGNED-PAYLOAD" if unsigned else hashlib.sha256(request.body).hexdigest()
    elif re.fullmatch("[0-9a-f]{64}", payload) and payload != hashlib.sha256(request.body).hexdigest():
        payload = "body-and-its-hash-differ"
    return "\n".join((request.method, path or "/", query, headers, ";".join(scope.signed_headers), payload))
