"""One stage for all end-to-end tests of a session, made ready again for each."""

from collections.abc import AsyncIterator

import pytest

from tests.e2e.stage import Stage, prepare
from tests.e2e.undisturbed import Undisturbed, follow
from tests.sandboxes import Bench, Sandbox, WorkerProcess


@pytest.fixture(scope="session")
async def whole_stage(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    settings, policy, proxies = prepare(sandbox, folder)
    worker = WorkerProcess(settings, folder / "worker.log")
    try:
        yield Stage(sandbox, await Bench.of(sandbox), worker, settings, policy, proxies)
    finally:
        worker.stop()
        for proxy in proxies:
            proxy.close()


@pytest.fixture
async def stage(whole_stage: Stage) -> AsyncIterator[Stage]:
    await whole_stage.reset()
    yield whole_stage
    # A gate that a failed test left shut would hold the next one's requests.
    whole_stage.opened()
    mistakes = [mistake for proxy in whole_stage.proxies for mistake in proxy.mistakes]
    assert not mistakes, mistakes


@pytest.fixture(scope="session")
async def undisturbed(whole_stage: Stage) -> Undisturbed:
    await whole_stage.reset()
    return await follow(whole_stage)
