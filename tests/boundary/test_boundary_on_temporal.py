"""The boundary on a real Temporal server, with activities in threads as the worker runs them."""

import asyncio
import logging
import shutil
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities import boundary
from activities.boundary import Boundary, LogContext
from activities.errors import NotReadyYet, QuotaExceeded, Unreachable
from activities.idempotency import attempt_began
from activities.models.common import StepRequest
from activities.models.failures import Failure
from tests.boundary.probe import Probe

pytestmark = pytest.mark.workflow

SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    binary = Path(sys.executable).with_name("temporal")
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(binary) if binary.exists() else shutil.which("temporal"),
        data_converter=pydantic_data_converter,
    )
    yield environment
    await environment.shutdown()


class Attempts:
    """What a test's activity saw, over all its attempts."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.seen: list[Any] = []
        self.running = threading.Event()

    def __len__(self) -> int:
        return len(self.times)


Act = Callable[[StepRequest, Attempts], Any]


@asynccontextmanager
async def probing(
    temporal: WorkflowEnvironment, act: Act, attempts: Attempts, **asked: Any
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    @activity.defn(name="probed", no_thread_cancel_exception=True)
    def probed(request: StepRequest) -> Any:
        attempts.times.append(time.monotonic())
        attempts.running.set()
        return act(request, attempts)

    queue = f"probe-{uuid.uuid4()}"
    async with Worker(
        temporal.client,
        task_queue=queue,
        workflows=[Probe],
        activities=[probed],
        activity_executor=ThreadPoolExecutor(4),
        interceptors=[Boundary()],
    ):
        yield await temporal.client.start_workflow(
            Probe.run, {"activity": "probed", **asked}, id=queue, task_queue=queue
        )


async def failure_of(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, ApplicationError)
    return caught.value.cause.cause


async def test_a_permanent_error_fails_at_once_and_says_what_to_do(temporal: WorkflowEnvironment) -> None:
    def act(request: StepRequest, attempts: Attempts) -> None:
        raise QuotaExceeded("no more disks", help="Ask for more.")

    attempts = Attempts()
    async with probing(temporal, act, attempts) as handle:
        error = await failure_of(handle)
    assert len(attempts) == 1
    assert (error.type, error.message, error.non_retryable) == ("QuotaExceeded", "no more disks", True)
    assert Failure.model_validate(error.details[0]) == Failure(
        type="QuotaExceeded", message="no more disks", help="Ask for more.", retryable=False
    )


async def test_not_ready_yet_is_asked_again_at_the_pace_that_it_names(temporal: WorkflowEnvironment) -> None:
    def act(request: StepRequest, attempts: Attempts) -> str:
        if len(attempts) < 4:
            raise NotReadyYet("soon", retry_after=timedelta(seconds=1.1))
        return f"there at attempt {activity.info().attempt}"

    attempts = Attempts()
    async with probing(temporal, act, attempts) as handle:
        assert await handle.result() == "there at attempt 4"
    # The retry policy alone would have waited thirty seconds before the second attempt.
    assert 3.3 <= attempts.times[-1] - attempts.times[0] < 10


async def test_a_short_wait_stays_within_the_attempt(temporal: WorkflowEnvironment) -> None:
    def act(request: StepRequest, attempts: Attempts) -> str:
        # Beating by hand must work at every look, not only at the first.
        activity.heartbeat(len(attempts))
        if len(attempts) < 4:
            raise NotReadyYet("soon", retry_after=timedelta(seconds=0.1))
        return f"there at attempt {activity.info().attempt}"

    attempts = Attempts()
    async with probing(temporal, act, attempts) as handle:
        assert await handle.result() == "there at attempt 1"
    # The server would have made each of the three waits a second long.
    assert 0.3 <= attempts.times[-1] - attempts.times[0] < 2


async def test_a_wait_that_does_not_end_is_given_to_the_server(
    temporal: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boundary, "WAITED_FOR_HERE", timedelta(seconds=0.5))

    def act(request: StepRequest, attempts: Attempts) -> str:
        if activity.info().attempt == 1:
            raise NotReadyYet("soon", retry_after=timedelta(seconds=0.1))
        return "there"

    attempts = Attempts()
    async with probing(temporal, act, attempts) as handle:
        assert await handle.result() == "there"
    assert 3 <= len(attempts) <= 7


async def test_a_cancel_ends_a_short_wait_too(temporal: WorkflowEnvironment) -> None:
    def act(request: StepRequest, attempts: Attempts) -> None:
        raise NotReadyYet("soon", retry_after=timedelta(seconds=0.05))

    attempts = Attempts()
    async with probing(temporal, act, attempts, heartbeat_seconds=0.6) as handle:
        await asyncio.to_thread(attempts.running.wait, 10)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert is_cancelled_exception(caught.value.cause)


async def test_an_unforeseen_error_is_tried_again_and_its_text_stays_on_the_worker(
    temporal: WorkflowEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    def act(request: StepRequest, attempts: Attempts) -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise RuntimeError(f"password {SECRET}") from error

    attempts = Attempts()
    async with probing(temporal, act, attempts, most_attempts=2, initial_seconds=0.1) as handle:
        error = await failure_of(handle)
        history = (await handle.fetch_history()).to_json()
    assert len(attempts) == 2
    assert (error.type, error.non_retryable) == ("RuntimeError", False)
    assert SECRET not in history
    assert any(record.exc_info and SECRET in str(record.exc_info[1]) for record in caplog.records)


async def test_the_texts_below_our_errors_are_not_in_the_history(temporal: WorkflowEnvironment) -> None:
    def act(request: StepRequest, attempts: Attempts) -> None:
        try:
            raise ValueError(f"Authorization: {SECRET}")
        except ValueError as error:
            raise Unreachable("no answer") from error

    attempts = Attempts()
    async with probing(temporal, act, attempts, most_attempts=1) as handle:
        error = await failure_of(handle)
        history = (await handle.fetch_history()).to_json()
    assert error.cause is None
    assert SECRET not in history


async def test_a_busy_thread_beats_for_longer_than_the_heartbeat_timeout(
    temporal: WorkflowEnvironment,
) -> None:
    def act(request: StepRequest, attempts: Attempts) -> str:
        time.sleep(3)
        return "done"

    attempts = Attempts()
    async with probing(temporal, act, attempts, heartbeat_seconds=1) as handle:
        assert await handle.result() == "done"
    assert len(attempts) == 1


async def test_a_hung_thread_is_given_up_when_its_time_is_over(temporal: WorkflowEnvironment) -> None:
    wake = threading.Event()

    def act(request: StepRequest, attempts: Attempts) -> str:
        if len(attempts) == 1:
            wake.wait(20)
        return "the second attempt"

    attempts = Attempts()
    async with probing(temporal, act, attempts, start_to_close_seconds=1.5, initial_seconds=0.1) as handle:
        assert await handle.result() == "the second attempt"
        wake.set()


async def test_a_cancel_ends_the_waiting_and_is_no_failure(temporal: WorkflowEnvironment) -> None:
    def act(request: StepRequest, attempts: Attempts) -> None:
        deadline = time.monotonic() + 20
        while not activity.is_cancelled() and time.monotonic() < deadline:
            time.sleep(0.02)
        raise NotReadyYet("still waiting")

    attempts = Attempts()
    async with probing(temporal, act, attempts, heartbeat_seconds=1) as handle:
        await asyncio.to_thread(attempts.running.wait, 10)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert is_cancelled_exception(caught.value.cause)
    assert len(attempts) == 1


async def test_log_lines_say_which_operation_and_step_they_belong_to(temporal: WorkflowEnvironment) -> None:
    lines: list[tuple[Any, ...]] = []

    class Remembering(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(tuple(getattr(record, key) for key in ("activity", "operation", "step", "attempt")))

    logger = logging.getLogger("a-part-of-the-product")
    handler = Remembering()
    handler.addFilter(LogContext())
    logger.addHandler(handler)

    def act(request: StepRequest, attempts: Attempts) -> None:
        logger.warning("something")

    attempts = Attempts()
    async with probing(temporal, act, attempts) as handle:
        await handle.result()
    logger.warning("elsewhere")
    logger.removeHandler(handler)
    assert lines == [("probed", "deploy-1", "db/0/disk/data", "1"), ("", "", "", "")]


async def test_an_activity_knows_in_its_thread_when_its_attempt_began(temporal: WorkflowEnvironment) -> None:
    def act(request: StepRequest, attempts: Attempts) -> None:
        attempts.seen.append(attempt_began.get())

    attempts, before = Attempts(), time.time()
    async with probing(temporal, act, attempts) as handle:
        await handle.result()
    assert before <= attempts.seen[0] <= time.time()
