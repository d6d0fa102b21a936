"""The table of AWS's error codes: what is tried again, what parks, and who is told to act."""

import pytest

from activities.clouds.aws_errors import error_for
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


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("RequestLimitExceeded", 503, Throttled),
        ("Throttling", 400, Throttled),
        ("SomethingNew", 429, Throttled),
        ("InternalError", 500, Unreachable),
        ("ServiceUnavailable", 503, Unreachable),
        ("RequestTimeout", 400, Unreachable),
        ("InsufficientVolumeCapacity", 500, OutOfCapacity),
        ("VolumeLimitExceeded", 400, QuotaExceeded),
        ("MaxIOPSLimitExceeded", 400, QuotaExceeded),
        ("IdempotentParameterMismatch", 400, Conflict),
        ("VolumeInUse", 400, NotReadyYet),
        ("IncorrectState", 400, NotReadyYet),
        ("InvalidVolume.NotFound", 400, NotFound),
        ("InvalidZone.NotFound", 400, InvalidSpec),
        ("AuthFailure", 401, AccessDenied),
        ("InvalidClientTokenId", 403, AccessDenied),
        ("SignatureDoesNotMatch", 403, AccessDenied),
        ("ExpiredToken", 400, AccessDenied),
        ("RequestExpired", 400, AccessDenied),
        ("UnauthorizedOperation", 403, AccessDenied),
        ("OptInRequired", 401, AccessDenied),
        ("SomethingNew", 403, AccessDenied),
        ("InvalidParameterValue", 400, InvalidSpec),
        ("InvalidParameterCombination", 400, InvalidSpec),
        ("SomethingNew", 400, InvalidSpec),
    ],
)
def test_a_code_has_one_meaning(code: str, status: int, error: type[SupergiantError]) -> None:
    assert type(error_for("create a disk", code, status, "because")) is error


@pytest.mark.parametrize(
    ("code", "who"),
    [
        ("AuthFailure", "Whoever runs the worker"),
        ("UnauthorizedOperation", "Whoever administers the account"),
        ("VolumeLimitExceeded", "Ask AWS for a higher quota"),
        ("InsufficientVolumeCapacity", "Choose another zone"),
        ("RequestExpired", "clock"),
    ],
)
def test_the_help_says_who_must_act(code: str, who: str) -> None:
    assert who in error_for("create a disk", code, 400, "because").help


def test_the_message_says_what_was_asked_what_aws_said_and_its_code() -> None:
    text = str(error_for("create a disk", "InvalidParameterValue", 400, "Volume iops of 9 is too low"))
    assert text == "AWS would not create a disk: Volume iops of 9 is too low (InvalidParameterValue)"


def test_an_encoded_refusal_is_left_out() -> None:
    said = "You are not authorized. Encoded authorization failure message: 4bq0fjOZ" + "x" * 2_000
    text = str(error_for("create a disk", "UnauthorizedOperation", 403, said))
    assert text == "AWS would not create a disk: You are not authorized. (UnauthorizedOperation)"


@pytest.mark.parametrize("message", ["", "None"])
def test_a_code_without_a_message_stands_alone(message: str) -> None:
    assert str(error_for("x", "InvalidSnapshot.NotFound", 400, message)).endswith(
        ": InvalidSnapshot.NotFound"
    )
