"""One cluster over a cloud in memory, and the request for a disk."""

from datetime import UTC, datetime, timedelta

import pytest

from activities.models.tags import APP, CLUSTER, COMPONENT, INSTANCE, VOLUME
from activities.models.volumes import CreateVolume, VolumeSpec
from activities.volumes import VolumeActivities
from tests.fakes_cloud import FakeCloud
from tests.volumes.running import FakeVolumesOfKubernetes, OneCluster, Runner


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def kube() -> FakeVolumesOfKubernetes:
    return FakeVolumesOfKubernetes()


@pytest.fixture
def volumes(cloud: FakeCloud, kube: FakeVolumesOfKubernetes) -> VolumeActivities:
    return VolumeActivities(OneCluster(cloud, kube))


@pytest.fixture
def run() -> Runner:
    return Runner()


@pytest.fixture
def long_ago() -> datetime:
    """Longer ago than a cloud hides what it has made."""
    return datetime.now(UTC) - timedelta(minutes=10)


@pytest.fixture
def create() -> CreateVolume:
    return CreateVolume(
        cluster="prod",
        app="shop",
        operation="deploy-1",
        step="db/0/disk/data",
        spec=VolumeSpec(
            zone="us-east-1a",
            size_gib=20,
            type="gp3",
            tags={
                "Name": "shop/db-0-data",
                CLUSTER: "prod",
                APP: "shop",
                COMPONENT: "db",
                INSTANCE: "0",
                VOLUME: "data",
            },
        ),
    )
