"""Runs one worker until SIGTERM or SIGINT: `supergiant worker`, or `python -m workers.main`."""

import asyncio
import logging
import os
import signal
import sys

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from activities.boundary import LogContext
from activities.models.settings import Settings, SettingsError, load
from workers.assembly import build_worker
from workers.health import serve_health
from workers.schedules import keep_schedules
from workflows.connection import TASK_QUEUE, connect

log = logging.getLogger("supergiant.worker")


def main() -> None:
    _log_to_stderr()
    code = _run()
    # A Python process that ends while Temporal's threads live may crash on the way out (sdk-python#300), so it
    # leaves without the interpreter's farewell once everything is drained and flushed.
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


def _log_to_stderr() -> None:
    """Lines for people; within an activity they say which operation, step and attempt they belong to."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(LogContext())
    handler.setFormatter(_Format())
    asked = os.environ.get("SUPERGIANT_LOG_LEVEL", "INFO").upper()
    known = logging.getLevelNamesMapping()
    logging.basicConfig(level=known.get(asked, logging.INFO), handlers=[handler])
    # The boundary says what failed, in a line; the SDK would repeat each with a traceback.
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)
    if asked not in known:
        log.warning("SUPERGIANT_LOG_LEVEL is %r; known are %s", asked, ", ".join(known))


class _Format(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s%(place)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        fields = vars(record)
        step = fields.get("step")
        record.place = f" [{fields['operation']} {step} #{fields['attempt']}]" if step else ""
        return super().format(record)


def _run() -> int:
    try:
        settings = load()
    except SettingsError as error:
        return _fail(str(error), error.help)
    try:
        asyncio.run(serve(settings))
    except CannotConnect as error:
        return _fail(str(error), error.help)
    except OSError as error:
        return _fail(f"cannot listen: {error}", "choose other addresses in [worker] of the settings")
    return 0


class CannotConnect(Exception):
    """`help` says what to do."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.help = help


async def serve(settings: Settings) -> None:
    """Connect, run the worker, answer probes; stop gracefully when asked to."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    client = await _connected(settings)
    worker = build_worker(settings, client)
    try:
        await keep_schedules(client, sorted(settings.clusters))
    except RPCError as error:
        raise CannotConnect(
            f"Temporal does not let us keep schedules: {error.message}", "mend [temporal] in the settings"
        ) from error
    health = await serve_health(settings.worker.health_address, lambda: worker.is_running)
    async with health, worker:
        log.info(
            "ready: task queue %s, clusters %s, metrics on http://%s/metrics, health on http://%s",
            TASK_QUEUE,
            ", ".join(sorted(settings.clusters)) or "none",
            settings.worker.metrics_address,
            settings.worker.health_address,
        )
        await stop.wait()
        log.info("stopping: activities get %s to finish", settings.worker.graceful_shutdown)


async def _connected(settings: Settings) -> Client:
    runtime = _runtime(settings)
    where = settings.temporal.address or "the configured address"
    try:
        client = await connect(settings.temporal, runtime=runtime, identity=f"worker-{os.getpid()}")
    except (RuntimeError, ValueError, RPCError, TimeoutError) as error:
        raise CannotConnect(
            f"Temporal at {where} cannot be reached: {error}", "start it, or mend [temporal] in the settings"
        ) from error
    try:
        # Connecting does not ask for it, and polling an unknown one would end in a traceback.
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise CannotConnect(
                f"Temporal at {where} has no namespace {client.namespace!r}",
                "create it, or mend [temporal] namespace in the settings",
            ) from error
        raise CannotConnect(
            f"Temporal at {where} does not tell of namespace {client.namespace!r}: {error.message}",
            "mend [temporal] in the settings",
        ) from error
    return client


def _runtime(settings: Settings) -> Runtime:
    metrics = PrometheusConfig(
        bind_address=settings.worker.metrics_address,
        durations_as_seconds=True,
        counters_total_suffix=True,
        unit_suffix=True,
    )
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=metrics))
    except ValueError as error:
        raise OSError(f"{settings.worker.metrics_address} for metrics: {error}") from error


def _fail(message: str, help_text: str) -> int:
    print(f"Error: {message}", file=sys.stderr)  # noqa: T201  this is the program's own message
    if help_text:
        print(f"  → {help_text}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    main()
