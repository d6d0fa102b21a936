"""Alerts speak of metrics that a worker really exposes, with the labels that it really gives them."""

import asyncio
import re
import socket
import urllib.request
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.models.settings import Settings, WorkerSettings
from workers.main import _runtime

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
GROUPS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
COMPOSE = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]

#: Labels that Prometheus itself adds.
ADDED = {"job", "instance"}
each_alert = pytest.mark.parametrize("alert", ALERTS)

_failed_once: set[str] = set()


@activity.defn
async def nothing() -> None:
    pass


@workflow.defn
class FailsOnce:
    """Its code fails once, as a bug would, and is right when it is tried again."""

    @workflow.run
    async def run(self) -> None:
        if workflow.info().workflow_id not in _failed_once:
            _failed_once.add(workflow.info().workflow_id)
            raise RuntimeError("on purpose")
        await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=10))


@pytest.fixture(scope="module")
async def exposed(temporal: Client) -> AsyncIterator[dict[str, set[str]]]:
    """The labels of each metric, of a worker with the product's own telemetry that has met what alerts are for."""
    address = f"127.0.0.1:{free_port()}"
    client = await Client.connect(
        temporal.service_client.config.target_host,
        runtime=_runtime(Settings(worker=WorkerSettings(metrics_address=address))),
    )
    queue = str(uuid.uuid4())
    async with Worker(
        client,
        task_queue=queue,
        workflows=[FailsOnce],
        activities=[nothing],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        await client.execute_workflow(FailsOnce.run, id=str(uuid.uuid4()), task_queue=queue)
        with pytest.raises(RPCError):
            await client.get_workflow_handle("there-is-none").describe()
        yield await asyncio.to_thread(scrape, address)


@each_alert
async def test_an_alert_speaks_of_what_a_worker_exposes(alert: str, exposed: dict[str, set[str]]) -> None:
    for metric, labels in metrics_of(ALERTS[alert]["expr"]).items():
        assert metric == "up" or metric in exposed
        known = exposed.get(metric, set()) | ADDED
        assert labels <= known, f"{metric} has {sorted(known)}"


@each_alert
def test_an_alert_says_what_it_means_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["do"].endswith(".")
    assert rule["labels"]["severity"] in ("page", "warn")


@each_alert
def test_an_alert_speaks_of_a_job_that_is_scraped(alert: str) -> None:
    jobs = {job["job_name"] for job in PROMETHEUS["scrape_configs"]}
    named = re.findall(r'job="([^"]+)"', ALERTS[alert]["expr"])
    assert named
    assert set(named) <= jobs


def test_the_files_of_rules_exist() -> None:
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]


def test_what_is_scraped_is_where_the_composition_serves_it() -> None:
    jobs = {job["job_name"]: job for job in PROMETHEUS["scrape_configs"]}
    worker = jobs["supergiant-worker"]["dns_sd_configs"][0]
    assert worker["names"] == ["worker"]
    metrics = COMPOSE["worker"]["environment"]["SUPERGIANT_WORKER_METRICS_ADDRESS"]
    assert metrics == f"0.0.0.0:{worker['port']}"
    server = jobs["temporal"]["static_configs"][0]["targets"]
    endpoint = COMPOSE["temporal"]["environment"]["PROMETHEUS_ENDPOINT"]
    assert server == [f"temporal:{endpoint.rpartition(':')[2]}"]


def metrics_of(expression: str) -> dict[str, set[str]]:
    """The metrics of an expression, with the labels it matches them by and sums them up by."""
    found: dict[str, set[str]] = {}
    summed = {label for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", by)}
    for metric, matchers in re.findall(r"\b(up|temporal_\w+)(?:\{([^}]*)\})?", expression):
        matched = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', matchers))
        found.setdefault(metric, set()).update(matched | summed)
    assert found
    return found


def scrape(address: str) -> dict[str, set[str]]:
    text = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if series := re.match(r"(\w+)(?:\{(.*)\})? ", line):
            found.setdefault(series[1], set()).update(re.findall(r'(\w+)="', series[2] or ""))
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
