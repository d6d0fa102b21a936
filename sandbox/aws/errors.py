"""The one error of the simulator: what the vendor would answer. Raised by actions and rules, and rendered
by `sandbox.aws.protocol` in the form of the service that was called."""

from __future__ import annotations


class AwsError(Exception):
    """A refusal with the vendor's code, text and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def invalid_value(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)


def invalid_combination(message: str) -> AwsError:
    return AwsError("InvalidParameterCombination", message)


def missing(parameter: str) -> AwsError:
    return AwsError("MissingParameter", f"The request must contain the parameter {parameter}")


def unsupported(message: str) -> AwsError:
    """For what the vendor can do and the simulator cannot: a 400, because SDKs retry a 5xx for nothing."""
    return AwsError("UnsupportedOperation", message)
