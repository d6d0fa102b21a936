"""What a worker hosts, and how it answers probes."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from fake_world import FakeWorld
from temporalio import activity

from activities.errors import InvalidSpec
from activities.models.settings import ClusterSettings, Settings
from workers.assembly import ConfiguredClusters, activities
from workers.health import serve_health
from workflows.question import READERS


def names(functions: list[Any]) -> set[str]:
    return {activity._Definition.must_from_callable(function).name or "" for function in functions}


def test_everything_that_the_stories_call_is_hosted() -> None:
    settings = Settings()
    hosted = names(activities(settings, cast(Any, None), ConfiguredClusters(settings)))
    assert names(FakeWorld().activities) <= hosted
    assert hosted >= READERS
    assert {"read-lock", "await-lock", "sweep-volumes"} <= hosted


def test_no_activity_may_be_interrupted_at_any_byte() -> None:
    """A cancel that is raised inside an SDK call would leave nobody knowing whether it was applied."""
    settings = Settings()
    for function in activities(settings, cast(Any, None), ConfiguredClusters(settings)):
        definition = activity._Definition.must_from_callable(function)
        assert definition.is_async or definition.no_thread_cancel_exception, definition.name


def test_an_unknown_cluster_is_named_with_the_known_ones() -> None:
    cluster = ClusterSettings(name="prod", cloud="aws", account="1", region="r", zones=("a",))
    with pytest.raises(InvalidSpec, match="no cluster named 'prd'; known: prod"):
        ConfiguredClusters(Settings(clusters={"prod": cluster})).get("prd")


def test_a_cluster_whose_kubeconfig_is_missing_says_so_when_it_is_used() -> None:
    cluster = ClusterSettings(
        name="prod", cloud="aws", account="1", region="r", zones=("a",), kubeconfig=Path("/nowhere/config")
    )
    with pytest.raises(InvalidSpec, match="/nowhere/config"):
        ConfiguredClusters(Settings(clusters={"prod": cluster})).get("prod")


@pytest.mark.parametrize(("ready", "status"), [(True, b"200"), (False, b"503")])
async def test_a_probe_is_answered_by_whether_the_worker_runs(ready: bool, status: bytes) -> None:
    server = await serve_health("127.0.0.1:0", lambda: ready)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.split()[1] == status
