"""What both ends of Temporal must agree on: the task queue, the data converter, how to connect."""

from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig

from activities.models.settings import TemporalSettings

TASK_QUEUE = "supergiant"

#: Somebody waits at a terminal; a server that is there answers in milliseconds (guessed bound).
CONNECT_TIMEOUT = timedelta(seconds=3)


async def connect(settings: TemporalSettings, **options: Any) -> Client:
    """A client for the settings' server. TLS and keys come from Temporal's own configuration file."""
    return await Client.connect(
        **connect_options(settings),
        data_converter=pydantic_data_converter,
        connect_timeout=CONNECT_TIMEOUT,
        **options,
    )


def connect_options(settings: TemporalSettings) -> dict[str, Any]:
    """Address, namespace, TLS and keys: Temporal's profile, with the settings file's values over it."""
    found: Any = ClientConfig.load_client_connect_config(profile=settings.profile or None)
    if settings.address:
        found["target_host"] = settings.address
    if settings.namespace:
        found["namespace"] = settings.namespace
    found.setdefault("target_host", "127.0.0.1:7233")
    return dict(found)
