"""Runs one worker until SIGTERM or SIGINT: `supergiant worker`, or `python -m workers.main`."""

import asyncio
import logging
import os
import signal
import sys

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError

from activities.models.settings import Settings, SettingsError, load
from workers.assembly import build_worker
from workers.health import serve_health
from workers.schedules import keep_schedules
from workflows.connection import TASK_QUEUE, connect

log = logging.getLogger("supergiant.worker")


def main() -> None:
    logging.basicConfig(
        level=os.environ.get("SUPERGIANT_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    code = _run()
    # A Python process that ends while Temporal's threads live may crash on the way out (sdk-python#300), so it
    # leaves without the interpreter's farewell once everything is drained and flushed.
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


def _run() -> int:
    try:
        settings = load()
    except SettingsError as error:
        return _fail(str(error), error.help)
    try:
        asyncio.run(serve(settings))
    except (RuntimeError, RPCError, TimeoutError) as error:
        where = settings.temporal.address or "the configured address"
        return _fail(
            f"Temporal at {where} cannot be reached: {error}", "start it, or mend [temporal] in the settings"
        )
    except OSError as error:
        return _fail(f"cannot listen: {error}", "choose other addresses in [worker] of the settings")
    return 0


async def serve(settings: Settings) -> None:
    """Connect, run the worker, answer probes; stop gracefully when asked to."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    client = await connect(settings.temporal, runtime=_runtime(settings), identity=f"worker-{os.getpid()}")
    worker = build_worker(settings, client)
    await keep_schedules(client, sorted(settings.clusters))
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


def _runtime(settings: Settings) -> Runtime:
    metrics = PrometheusConfig(
        bind_address=settings.worker.metrics_address,
        durations_as_seconds=True,
        counters_total_suffix=True,
        unit_suffix=True,
    )
    return Runtime(telemetry=TelemetryConfig(metrics=metrics))


def _fail(message: str, help_text: str) -> int:
    print(f"Error: {message}", file=sys.stderr)  # noqa: T201  this is the program's own message
    if help_text:
        print(f"  → {help_text}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    main()
