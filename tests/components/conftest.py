"""The activities of Kubernetes over a cluster and a cloud in memory."""

from datetime import UTC, datetime, timedelta

import pytest

from activities.components import ComponentActivities
from activities.facts import FactsActivities
from activities.instances import InstanceActivities
from activities.views import ViewActivities
from tests import kube_requests as ask
from tests.fakes_cloud import FakeCloud
from tests.fakes_kube import FakeKube, OneCluster


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def clusters(kube: FakeKube, cloud: FakeCloud) -> OneCluster:
    return OneCluster(kube, cloud)


@pytest.fixture
def components(clusters: OneCluster, clock: Clock) -> ComponentActivities:
    return ComponentActivities(clusters, now=clock)


@pytest.fixture
def instances(clusters: OneCluster) -> InstanceActivities:
    return InstanceActivities(clusters)


@pytest.fixture
def facts(clusters: OneCluster) -> FactsActivities:
    return FactsActivities(clusters)


@pytest.fixture
def views(clusters: OneCluster) -> ViewActivities:
    return ViewActivities(clusters)


@pytest.fixture
def deployed(components: ComponentActivities, instances: InstanceActivities, cloud: FakeCloud) -> None:
    """Both instances of "shop/db" run on their disks, and release 1 is recorded."""
    components.ensure_namespace(ask.namespace())
    components.ensure_services(ask.of_component())
    for number in (0, 1):
        cloud.put(ask.disk(number))
        cloud.attach(f"vol-{number}", f"i-n-{number}")
        instances.bind_volume(ask.bind(number))
        instances.start_instance(ask.of_instance(number))
    components.record_release(ask.record())
