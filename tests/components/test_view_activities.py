"""What people are shown: apps with their instances and disks, and whether a cluster has what it needs."""

from datetime import UTC, datetime
from typing import Any

import pytest

from activities.clients import ClusterClients
from activities.components import ComponentActivities
from activities.errors import InvalidSpec, Unreachable
from activities.models.clusters import Check
from activities.models.tags import FOR_EVER
from activities.models.views import AskApps, AskCluster, AskClusters
from activities.models.volumes import VolumeState
from activities.views import ViewActivities
from tests import kube_requests as ask
from tests.fakes_cloud import FakeCloud
from tests.fakes_kube import DRIVER, FakeKube, OneCluster


@pytest.fixture
def complete(kube: FakeKube) -> None:
    kube.put({"kind": "CSIDriver", "metadata": {"name": DRIVER}, "spec": {"attachRequired": True}})
    kube.put(
        {
            "kind": "StorageClass",
            "metadata": {"name": "gp3"},
            "provisioner": DRIVER,
            "allowVolumeExpansion": True,
        }
    )


@pytest.mark.usefixtures("deployed")
def test_an_app_is_shown_with_instances_addresses_and_disks(views: ViewActivities) -> None:
    [app] = views.view_apps(AskApps(cluster="prod")).apps
    [component] = app.components
    assert (app.app, app.tenant, component.release, component.operation) == ("shop", "default", 1, "op-1")
    assert [(i.instance, i.ready, i.node, i.zone) for i in component.instances] == [
        (0, True, "n-0", "us-east-1a"),
        (1, True, "n-1", "us-east-1b"),
    ]
    assert component.addresses == {"redis": "db.shop.svc:6379"}
    assert [(d.id, d.instance, d.machine, d.node, d.claim) for d in app.disks] == [
        ("vol-0", 0, "i-n-0", "n-0", ask.claim(0)),
        ("vol-1", 1, "i-n-1", "n-1", ask.claim(1)),
    ]


@pytest.mark.usefixtures("deployed")
def test_one_app_is_shown_alone(views: ViewActivities, components: ComponentActivities) -> None:
    other = ask.of_component(name="web").model_copy(update={"app": "blog"})
    components.ensure_services(other)
    assert [a.app for a in views.view_apps(AskApps(cluster="prod")).apps] == ["blog", "shop"]
    assert [a.app for a in views.view_apps(AskApps(cluster="prod", app="blog")).apps] == ["blog"]
    assert views.view_apps(AskApps(cluster="prod", app="nothing")).apps == []


@pytest.mark.usefixtures("deployed")
def test_a_recorded_instance_that_somebody_deleted_is_shown_as_missing(
    views: ViewActivities, kube: FakeKube
) -> None:
    kube.delete("StatefulSet", "db-1", "shop")
    [app] = views.view_apps(AskApps(cluster="prod")).apps
    missing = app.components[0].instances[1]
    assert (missing.instance, missing.ready, missing.message) == (1, False, "it has no pod")


def test_disks_that_were_kept_are_shown_with_their_end(views: ViewActivities, cloud: FakeCloud) -> None:
    disk = ask.disk()
    for name, until in (("vol-1", "2026-02-01T12:00:00+00:00"), ("vol-2", "edited by hand")):
        tags = disk.tags | {"supergiant.io/keep-until": until}
        cloud.put(disk.model_copy(update={"id": name, "tags": tags}))
    [app] = views.view_apps(AskApps(cluster="prod")).apps
    assert (app.app, app.tenant, app.components) == ("shop", "", [])
    assert [d.keep_until for d in app.disks] == [datetime(2026, 2, 1, 12, tzinfo=UTC), None]


def test_a_disk_whose_component_is_being_deleted_is_shown_as_kept_without_an_end(
    views: ViewActivities, cloud: FakeCloud
) -> None:
    disk = ask.disk()
    for name, until in (("vol-1", FOR_EVER.isoformat()), ("vol-2", "2026-02-01T12:00:00+00:00")):
        tags = disk.tags | {"supergiant.io/keep-until": until}
        cloud.put(disk.model_copy(update={"id": name, "tags": tags}))
    cloud.put(disk.model_copy(update={"id": "vol-3"}))
    [app] = views.view_apps(AskApps(cluster="prod")).apps
    assert [(d.keep_until is not None, d.kept_without_end) for d in app.disks] == [
        (True, True),
        (True, False),
        (False, False),
    ]


def test_a_disk_on_its_way_out_does_not_show_a_deleted_app(views: ViewActivities, cloud: FakeCloud) -> None:
    cloud.put(ask.disk().model_copy(update={"state": VolumeState.DELETING}))
    assert views.view_apps(AskApps(cluster="prod")).apps == []


def checks(views: ViewActivities) -> dict[str, Check]:
    return {check.name: check for check in views.check_cluster(AskCluster(cluster="prod")).checks}


@pytest.mark.usefixtures("complete")
def test_a_complete_cluster_passes(views: ViewActivities) -> None:
    report = views.check_cluster(AskCluster(cluster="prod"))
    assert report.ok
    assert [check.name for check in report.checks] == [
        "Kubernetes API",
        "cloud account",
        "permissions",
        "zones",
        "CSI driver",
        "storage class",
    ]


def test_an_unreachable_server_is_a_failed_check_and_nothing_else_is_asked_of_it(
    views: ViewActivities, kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise Unreachable("no answer from 10.0.0.1", help="check the network")

    monkeypatch.setattr(kube, "server_version", refuse)
    report = views.check_cluster(AskCluster(cluster="prod"))
    assert [(c.name, c.ok, c.detail, c.help) for c in report.checks if not c.ok] == [
        ("Kubernetes API", False, "no answer from 10.0.0.1", "check the network")
    ]
    assert kube.calls == []


@pytest.mark.usefixtures("complete")
def test_credentials_of_another_account_are_told(kube: FakeKube) -> None:
    clusters = OneCluster(kube)
    object.__setattr__(clusters.clients, "account", "999")
    check = checks(ViewActivities(clusters))["cloud account"]
    assert not check.ok
    assert "belong to account 111122223333, the settings say 999" in check.detail


@pytest.mark.usefixtures("complete")
def test_permissions_that_lack_are_listed(views: ViewActivities, kube: FakeKube) -> None:
    kube.missing = ("create pods",)
    check = checks(views)["permissions"]
    assert (check.ok, check.detail) == (False, "the credentials may not create pods")
    assert "your-own-kubernetes.md" in check.help


@pytest.mark.usefixtures("complete")
def test_a_zone_without_a_usable_node_is_told(views: ViewActivities, kube: FakeKube) -> None:
    kube.the("Node", "n-2")["spec"]["unschedulable"] = True
    kube.the("CSINode", "n-1")["spec"]["drivers"] = []
    detail = checks(views)["zones"].detail
    assert "us-east-1b, us-east-1c" in detail
    assert "the CSI driver does not run on n-1" in detail


def _absent(kube: FakeKube) -> None:
    del kube.objects["StorageClass", "", "gp3"]


def _of_another(kube: FakeKube) -> None:
    kube.the("StorageClass", "gp3")["provisioner"] = "another"


def _fixed(kube: FakeKube) -> None:
    del kube.the("StorageClass", "gp3")["allowVolumeExpansion"]


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize(
    ("broken", "detail"),
    [
        (_absent, "there is no storage class gp3"),
        (_of_another, "is of another, not of ebs.csi.aws.com"),
        (_fixed, "does not allow volumes to be expanded"),
    ],
)
def test_a_storage_class_that_would_not_do_is_told(
    views: ViewActivities, kube: FakeKube, broken: Any, detail: str
) -> None:
    broken(kube)
    check = checks(views)["storage class"]
    assert not check.ok
    assert detail in check.detail


def test_a_driver_that_is_not_installed_is_told(views: ViewActivities) -> None:
    assert "not installed" in checks(views)["CSI driver"].detail


class Broken:
    """A registry whose one cluster cannot be set up."""

    def get(self, name: str) -> ClusterClients:
        raise InvalidSpec("kubeconfig nowhere cannot be used", help="set `kubeconfig`")

    def names(self) -> list[str]:
        return ["prod"]


def test_a_cluster_whose_kubeconfig_is_missing_is_listed_and_checked_all_the_same() -> None:
    views = ViewActivities(Broken())
    [summary] = views.list_clusters(AskClusters())
    assert (summary.name, summary.problem) == ("prod", "kubeconfig nowhere cannot be used")
    [check] = views.check_cluster(AskCluster(cluster="prod")).checks
    assert (check.ok, check.detail) == (False, "kubeconfig nowhere cannot be used")
    with pytest.raises(InvalidSpec):
        views.check_cluster(AskCluster(cluster="unknown"))


def test_clusters_are_listed_with_where_they_are(views: ViewActivities) -> None:
    [summary] = views.list_clusters(AskClusters())
    assert (summary.name, summary.cloud, summary.region, summary.problem) == ("prod", "aws", "us-east-1", "")
