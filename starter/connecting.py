"""The way to Temporal for whoever asks: a connection or a clear reason, within seconds. Used by `listing` and
`operations`; import-light, because `op list` is to answer at once.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from activities.models.settings import Settings
from starter.failures import BAD_REQUEST, UNKNOWN, OperationFailed
from workflows.connection import CONNECT_TIMEOUT, connect_options

#: After these nobody knows whether the server has done what it was asked to.
UNKNOWN_OUTCOME = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)


async def connect(settings: Settings, with_models: bool = True) -> Client:
    """`with_models` False: for calls that carry none of our messages."""
    options = _options(settings)
    # The client's library logs its retries by itself; whoever waits is told in our words.
    options["runtime"] = Runtime(telemetry=TelemetryConfig(logging=None))
    if with_models:
        options["data_converter"] = pydantic_data_converter
    try:
        # The client's own limit covers the connection, ours also a server that accepts and then says nothing.
        async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds() + 1):
            return await Client.connect(**options, connect_timeout=CONNECT_TIMEOUT)
    except (RuntimeError, TimeoutError, ValueError, RPCError) as error:
        raise OperationFailed(
            BAD_REQUEST,
            f"Temporal at {options['target_host']} cannot be reached: {_reason(error)}",
            _how_to_mend(settings),
        ) from error


@contextmanager
def explained(client: Client, again: str = "") -> Iterator[None]:
    """Turn what the server refuses or cannot do into an OperationFailed; callers handle first what they
    expect. `again` is for what changes something: how to find out what became of it, if no answer comes."""
    try:
        yield
    except RPCError as error:
        address = client.service_client.config.target_host
        if again and error.status in UNKNOWN_OUTCOME:
            message = f"Temporal at {address} did not answer; it may still take effect: {error.message}"
            raise OperationFailed(UNKNOWN, message, again) from error
        if error.status is RPCStatusCode.NOT_FOUND and "amespace" in error.message:
            message = f"Temporal at {address} has no namespace {client.namespace!r}"
            raise OperationFailed(BAD_REQUEST, message, "set [temporal] namespace in the settings") from error
        if error.status is RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message.lower():
            message = f"Temporal at {address} lacks a search attribute: {error.message}"
            raise OperationFailed(BAD_REQUEST, message, "see `supergiant doctor`") from error
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            raise OperationFailed(
                BAD_REQUEST, f"Temporal at {address} refuses us: {error.message}"
            ) from error
        raise OperationFailed(
            BAD_REQUEST,
            f"Temporal at {address} did not answer: {error.message}",
            "try again; see `supergiant doctor`",
        ) from error


def _options(settings: Settings) -> dict[str, Any]:
    try:
        return connect_options(settings.temporal)
    except (
        Exception
    ) as error:  # a profile that is not there or cannot be read; the module has no error of its own
        raise OperationFailed(
            BAD_REQUEST,
            f"Temporal's own configuration cannot be used: {error}",
            "see [temporal] profile in the settings, and TEMPORAL_PROFILE and TEMPORAL_CONFIG_FILE",
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT.total_seconds():.0f} s"
    text = str(error)
    # The transport's own words are nested five deep; the last message in them is the one for people.
    if messages := re.findall(r'message: "([^"]*)"', text):
        return str(messages[-1]).lower()
    if "dns error" in text:
        return "there is no such host"
    return text.removeprefix("Failed client connect: ")


def _how_to_mend(settings: Settings) -> str:
    if settings.source is None:
        return "bring up a sandbox with `supergiant sandbox up`, or say --settings FILE"
    return (
        f"is it running? [temporal] address in {settings.source}; `supergiant sandbox up` repairs a sandbox"
    )
