"""A simulated AWS for the tests of the adapter: one process for all, without the faults of the last test."""

from collections.abc import Iterator

import pytest

from activities.clouds.aws import AwsCloud
from tests.clouds.simulator import KEY, SECRET, SimulatedAws


@pytest.fixture(scope="session")
def one_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedAws]:
    simulator = SimulatedAws(tmp_path_factory.mktemp("aws"))
    yield simulator
    simulator.stop()


@pytest.fixture
def aws(one_simulator: SimulatedAws) -> Iterator[SimulatedAws]:
    one_simulator.admin.set_speed(100)
    yield one_simulator
    one_simulator.write_credentials(KEY, SECRET)
    one_simulator.admin.clear_faults()
    one_simulator.admin.set_limits(max_volumes=5000, not_found_seconds=0, volume_creating_seconds=1.5)


@pytest.fixture
def cloud(aws: SimulatedAws) -> AwsCloud:
    return aws.connect()
