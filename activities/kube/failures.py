"""What a Kubernetes API server's refusals mean to us: HTTP answers turned into `activities.errors`.

Called by `client` for every answer of 400 and above, and for every connection that fails.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from activities.errors import (
    AccessDenied,
    Conflict,
    InvalidSpec,
    NotFound,
    NotReadyYet,
    QuotaExceeded,
    SupergiantError,
    Throttled,
    Unreachable,
)

#: A namespace takes seconds to go away, so asking twice a second would only add load.
_NAMESPACE_POLL = timedelta(seconds=1)
_DEFAULT_BACK_OFF = timedelta(seconds=1)


def status_of(body: bytes) -> dict[str, Any] | None:
    """The Status object of an error answer; None when what answered is not a Kubernetes API server."""
    try:
        status = json.loads(body)
    except ValueError:
        return None
    return status if isinstance(status, dict) and status.get("kind") == "Status" else None


def refusal(host: str, what: str, code: int, headers: Mapping[str, str], body: bytes) -> SupergiantError:
    """The error for an answer `code` >= 400 to `what` ("create Service shop/db")."""
    status = status_of(body)
    said = (status or {}).get("message") or body[:300].decode(errors="replace").strip() or f"HTTP {code}"
    if code == 429:
        return Throttled(f"{host} asks us to slow down: {said}", retry_after=_retry_after(headers))
    if code >= 500 or code == 408:
        return Unreachable(
            f"the Kubernetes API server {host} could not {what}: {said}",
            help="it is tried again by itself; if it lasts, look at the API server and its etcd",
        )
    if status is None:
        return InvalidSpec(
            f"{host} does not answer like a Kubernetes API server (HTTP {code} to {what})",
            help="check the server address in the kubeconfig of this cluster",
        )
    if code == 403 and _is_namespace_going(status):
        return NotReadyYet(f"cannot {what} yet: {said}", retry_after=_NAMESPACE_POLL)
    if code == 403 and "exceeded quota" in said:
        return QuotaExceeded(
            f"cannot {what}: {said}", help="raise the ResourceQuota of the namespace, or ask for less"
        )
    if code in (401, 403):
        return AccessDenied(
            f"{host} does not let us {what}: {said}",
            help="see docs/guides/your-own-kubernetes.md for the permissions that are needed; "
            "'supergiant cluster check' names those that lack",
        )
    if code == 404:
        return NotFound(f"cannot {what}: {said}")
    if code in (409, 410):
        return Conflict(f"cannot {what}: {said}")
    return InvalidSpec(f"{host} refused to {what}: {said}")


def no_answer(host: str, what: str, error: Exception) -> SupergiantError:
    """The error for a request that got no answer at all."""
    cause = getattr(error, "reason", None) or (error.args[-1] if error.args else error)
    # urllib3 puts the description of its own connection object before what happened.
    text = str(cause).rpartition("): ")[2] or type(cause).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return AccessDenied(
            f"the certificate of {host} is not the one its kubeconfig trusts: {text}",
            help="take a fresh kubeconfig from the cluster's administrator",
        )
    return Unreachable(
        f"no answer from the Kubernetes API server {host} to {what}: {text}",
        help="it is tried again by itself; if it lasts, check the address in the kubeconfig and the network",
    )


def _retry_after(headers: Mapping[str, str]) -> timedelta:
    try:
        return timedelta(seconds=max(0, int(headers.get("Retry-After", ""))))
    except ValueError:
        return _DEFAULT_BACK_OFF


def _is_namespace_going(status: dict[str, Any]) -> bool:
    causes = (status.get("details") or {}).get("causes") or []
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
