"""What AWS's error codes mean to us; pure, used by `aws`.

Codes are from the EC2 API reference, botocore's retry tables and the EBS CSI driver. A code that is not here
is a refusal that trying again would repeat.
"""

from datetime import timedelta

from activities.errors import (
    AccessDenied,
    Conflict,
    InvalidSpec,
    NotFound,
    NotReadyYet,
    OutOfCapacity,
    QuotaExceeded,
    SupergiantError,
    Throttled,
    Unreachable,
)

_THROTTLES = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}

_PERMISSION = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}

_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}

_CLOCK = {"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"}

_ACCOUNT = {"Blocked", "OptInRequired", "PendingVerification"}

_QUOTA = {
    "MaxIOPSLimitExceeded",
    "TagLimitExceeded",
    "VolumeLimitExceeded",
    "VolumeModificationSizeLimitExceeded",
}

_CAPACITY = {"InsufficientCapacity", "InsufficientVolumeCapacity"}

#: Named as not found, but part of what was asked for: nobody has deleted it.
_UNKNOWN_PARTS = {"InvalidZone.NotFound"}

_WAIT = {"IncorrectState", "VolumeInUse"}


def error_for(doing: str, code: str, status: int, message: str) -> SupergiantError:
    """Our error for AWS's; `doing` says in a few words what was asked, such as "create a disk"."""
    text = f"AWS would not {doing}: {_said(code, message)}"
    if code in _THROTTLES or status == 429:
        return Throttled(f"AWS asks us to slow down ({code}) when we {doing}")
    if code in _CAPACITY:
        return OutOfCapacity(text, help="Choose another zone or disk type, or try again later.")
    if code in _QUOTA:
        return QuotaExceeded(
            text, help="Ask AWS for a higher quota (Service Quotas, Amazon EBS) or delete disks, then retry."
        )
    if code in _CREDENTIALS:
        return AccessDenied(
            f"AWS does not accept the credentials: {_said(code, message)}",
            help="Whoever runs the worker must give it valid credentials for this account, then retry.",
        )
    if code in _CLOCK:
        return AccessDenied(text, help="The clock of the worker's machine is wrong; set it, then retry.")
    if code in _PERMISSION:
        return AccessDenied(
            text,
            help="Whoever administers the account must allow it; see docs/guides/your-own-aws.md.",
        )
    if code in _ACCOUNT:
        return AccessDenied(
            text, help="The AWS account itself is not ready for this; see its health dashboard."
        )
    if code == "IdempotentParameterMismatch":
        return Conflict(f"an earlier request with the same token is still under way: {_said(code, message)}")
    if code in _WAIT:
        return NotReadyYet(text, retry_after=timedelta(seconds=1))
    if code.endswith(".NotFound") and code not in _UNKNOWN_PARTS:
        return NotFound(text)
    if status >= 500 or code in {"RequestTimeout", "RequestTimeoutException", "InternalError", "Unavailable"}:
        return Unreachable(f"AWS failed to {doing}: {_said(code, message)}")
    if status in (401, 403):
        return AccessDenied(
            text, help="Check the credentials and permissions that the worker has for this account."
        )
    return InvalidSpec(text)


def _said(code: str, message: str) -> str:
    # Refusals end with the decision in encoded form, a kilobyte that tells a person nothing.
    message = message.split(" Encoded authorization failure message:")[0].strip()
    return f"{message} ({code})" if message and message != "None" else code
