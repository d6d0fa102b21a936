"""A component deployed, explained, replaced and undone on a real control plane."""

import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.clients import ClusterClients
from activities.components import ComponentActivities
from activities.errors import AccessDenied, Conflict, InvalidSpec, NotReadyYet
from activities.facts import FactsActivities
from activities.instances import InstanceActivities
from activities.kube.client import connect
from activities.models.facts import ReadDeleteFacts, ReadDeployFacts
from activities.models.instances import ComponentRequest, InstanceRequest
from activities.models.views import AskApps, AskCluster
from activities.models.volumes import CreateVolume, DeleteVolume, Volume, VolumeSpec
from activities.views import ViewActivities
from activities.volumes import LATE_ARRIVAL, VolumeActivities
from tests import kube_requests as ask
from tests.fakes_kube import ZONES
from tests.kube_on_sandbox.conftest import Admin, Until

pytestmark = pytest.mark.sandbox

INSTANCES = (0, 1)


class OneCluster:
    def __init__(self, clients: ClusterClients) -> None:
        self._clients = clients

    def get(self, name: str) -> ClusterClients:
        return self._clients

    def names(self) -> list[str]:
        return [self._clients.name]


class Deploy:
    """The steps of a deploy of two instances, and of its undo."""

    def __init__(self, clients: ClusterClients, app: str, until: Until) -> None:
        self.clients, self.app, self.until = clients, app, until
        clusters = OneCluster(clients)
        self.components, self.instances = ComponentActivities(clusters), InstanceActivities(clusters)
        self.volumes = VolumeActivities(clusters)
        self.disks: dict[int, Volume] = {}

    def here(self, request: Any) -> Any:
        """The request, for this test's cluster and app, under an operation of its own."""
        return request.model_copy(
            update={"cluster": self.clients.name, "app": self.app, "operation": f"op-{self.app}"}
        )

    def run(self, activity: Any, request: Any) -> Any:
        return self.until(activity, self.here(request))

    def begin(self) -> None:
        self.run(self.components.ensure_namespace, ask.namespace())
        self.run(self.components.ensure_secrets, ask.of_component())
        self.run(self.components.ensure_services, ask.of_component())
        for n in INSTANCES:
            self.disks[n] = self.until(self._once(self.volumes.create_volume), self.create(n))
            self.run(self.instances.bind_volume, ask.bind(n, volume=self.disks[n]))
            self.run(self.instances.start_instance, ask.of_instance(n))

    def finish(self) -> None:
        for n in INSTANCES:
            [seen] = self.run(self.instances.await_attached, ask.attached(n))
            assert seen.volume == self.disks[n].id
            status = self.run(self.instances.await_ready, ask.of_instance(n))
            assert (status.ready, status.zone) == (True, ZONES[n])
        self.run(self.components.check_health, ask.of_component())
        self.run(self.components.record_release, ask.record())

    def undo(self) -> None:
        self.run(self.components.remove_release, ask.unrecord())
        for n in INSTANCES:
            self.run(self.instances.remove_instance, ask.stop(n))
            self.run(self.instances.unbind_volume, ask.unbind(n))
            self.until(self._once(self.volumes.delete_volume), self.delete(n))
        self.run(self.components.remove_services, ask.remove())
        self.run(self.components.remove_secrets, ask.remove())
        self.run(self.components.remove_namespace, ask.namespace())

    def create(self, n: int) -> CreateVolume:
        tags = {**ask.disk(n).tags, "supergiant.io/cluster": self.clients.name, "supergiant.io/app": self.app}
        spec = VolumeSpec(zone=ZONES[n], size_gib=10, type="gp3", tags=tags)
        return CreateVolume(
            cluster=self.clients.name,
            app=self.app,
            operation=f"op-{self.app}",
            step=f"db/{n}/disk/data",
            spec=spec,
        )

    def delete(self, n: int) -> DeleteVolume:
        return DeleteVolume(
            cluster=self.clients.name,
            app=self.app,
            operation=f"op-{self.app}",
            step=f"db/{n}/disk/data/undo",
            of_step=f"db/{n}/disk/data",
        )

    @staticmethod
    def _once(activity: Any) -> Any:
        """Activities of disks ask Temporal since when they have been at it: long enough to believe what they see."""
        began = datetime.now(UTC) - LATE_ARRIVAL

        def run(request: Any) -> Any:
            environment = ActivityEnvironment()
            environment.info = dataclasses.replace(environment.info, scheduled_time=began)
            return environment.run(activity, request)

        return run


@pytest.fixture
def deploy(clients: ClusterClients, app: str, until: Until) -> Deploy:
    return Deploy(clients, app, until)


def test_a_component_comes_up_and_its_undo_leaves_nothing(deploy: Deploy, clients: ClusterClients) -> None:
    facts, views = FactsActivities(OneCluster(clients)), ViewActivities(OneCluster(clients))
    before = facts.read_deploy_facts(ReadDeployFacts(cluster=clients.name, app=deploy.app, components=["db"]))
    deploy.begin()
    deploy.begin()
    deploy.finish()
    deploy.finish()
    [seen] = views.view_apps(AskApps(cluster=clients.name, app=deploy.app)).apps
    assert [i.ready for i in seen.components[0].instances] == [True, True]
    assert {d.node for d in seen.disks} == {i.node for i in seen.components[0].instances}
    [found] = facts.read_delete_facts(ReadDeleteFacts(cluster=clients.name, app=deploy.app)).components
    assert found.record is not None
    assert [d.claim for d in found.disks] == [ask.claim(0), ask.claim(1)]
    deploy.undo()
    deploy.undo()
    after = facts.read_deploy_facts(ReadDeployFacts(cluster=clients.name, app=deploy.app, components=["db"]))
    assert (after.namespace_owner, after.components) == (None, [])
    assert after.fingerprint("db") == before.fingerprint("db")
    assert clients.cloud.find_volumes({"supergiant.io/app": deploy.app}) == []
    labels = {"supergiant.io/app": deploy.app}
    assert clients.kube.list("PersistentVolume", labels=labels) == []


def test_the_documented_role_is_enough_for_a_whole_deploy(
    deploy: Deploy, clients: ClusterClients, limited: Path
) -> None:
    kube = connect(limited)
    under_role = Deploy(dataclasses.replace(clients, kube=kube), deploy.app, deploy.until)
    views = ViewActivities(OneCluster(under_role.clients))
    report = views.check_cluster(AskCluster(cluster=clients.name))
    assert report.ok, [check for check in report.checks if not check.ok]
    under_role.begin()
    under_role.finish()
    under_role.undo()
    kube.close()


def test_a_role_that_lacks_something_is_told_by_name(limited: Path, admin: Admin) -> None:
    kube = connect(limited)
    pods_only = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    admin.patch(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{limited.name}", {"rules": pods_only})
    assert "create namespaces" in kube.missing_permissions()
    assert "list pods" not in kube.missing_permissions()
    with pytest.raises(AccessDenied, match="does not let us list nodes"):
        kube.list("Node")
    kube.close()


def test_a_pod_that_fits_nowhere_is_explained_by_the_scheduler(
    deploy: Deploy, clients: ClusterClients, app: str
) -> None:
    document = ask.component().model_dump(exclude_none=True)["containers"][0]
    big = ask.component(containers=[{**document, "cpu": {"request": "500"}, "mounts": []}], volumes=[])
    request: InstanceRequest = deploy.here(ask.of_instance()).model_copy(update={"component": big})
    deploy.run(deploy.components.ensure_namespace, ask.namespace())
    deploy.instances.start_instance(request)
    assert "Insufficient cpu" in _said_in_the_end(deploy, request, "finds no node")


def test_a_changed_template_replaces_the_pod(deploy: Deploy, clients: ClusterClients, app: str) -> None:
    plain = ask.component().model_dump(exclude_none=True)["containers"][0] | {"mounts": []}
    deploy.run(deploy.components.ensure_namespace, ask.namespace())
    uids = []
    for image in ("redis:7", "redis:8"):
        component = ask.component(containers=[{**plain, "image": image, "env": {}}], volumes=[], secrets=[])
        request = deploy.here(ask.of_instance()).model_copy(update={"component": component})
        deploy.until(deploy.instances.start_instance, request)
        deploy.until(deploy.instances.await_ready, request)
        pod = clients.kube.get("Pod", "db-0-0", app)
        assert pod is not None
        assert pod["spec"]["containers"][0]["image"] == image
        uids.append(pod["metadata"]["uid"])
    assert uids[0] != uids[1]


def test_the_value_of_a_secret_never_comes_back(deploy: Deploy, clients: ClusterClients, app: str) -> None:
    request: ComponentRequest = deploy.here(ask.of_component())
    deploy.components.ensure_secrets(request)
    found = clients.kube.get("Secret", "db.password", app)
    assert found is not None
    assert set(found) == {"apiVersion", "kind", "metadata"}
    assert all(set(one) == {"apiVersion", "kind", "metadata"} for one in clients.kube.list("Secret", app))


def test_the_server_guards_what_we_rely_on(deploy: Deploy, clients: ClusterClients, app: str) -> None:
    kube = clients.kube
    deploy.run(deploy.components.ensure_namespace, ask.namespace())
    deploy.run(deploy.components.record_release, ask.record())
    pointer = kube.get("ConfigMap", "component-db", app)
    assert pointer is not None
    kube.replace({**pointer, "data": {"current": "1", "target": "2"}})
    with pytest.raises(Conflict):
        kube.replace({**pointer, "data": {"current": "3", "target": ""}})
    recorded = kube.get("ConfigMap", "release-db-1", app)
    assert recorded is not None
    with pytest.raises(InvalidSpec, match="immutable"):
        kube.replace({**recorded, "data": {"release.json": "{}"}})
    kube.delete("ConfigMap", "component-db", app, uid="00000000-0000-0000-0000-000000000000")
    assert kube.get("ConfigMap", "component-db", app) is not None


def test_a_namespace_that_changed_since_it_was_judged_empty_is_not_deleted(
    deploy: Deploy, clients: ClusterClients, app: str
) -> None:
    kube = clients.kube
    deploy.run(deploy.components.ensure_namespace, ask.namespace(component="db"))
    judged = kube.get("Namespace", app)
    assert judged is not None
    deploy.run(deploy.components.ensure_namespace, ask.namespace(component="web"))
    metadata = judged["metadata"]
    with pytest.raises(Conflict):
        kube.delete("Namespace", app, uid=metadata["uid"], version=metadata["resourceVersion"])
    for component in ("db", "web"):
        deploy.run(deploy.components.remove_namespace, ask.namespace(component=component))
    assert kube.get("Namespace", app) is None


def test_a_delete_whose_namespace_is_gone_is_undone(
    deploy: Deploy, clients: ClusterClients, app: str
) -> None:
    deploy.begin()
    deploy.finish()
    facts = FactsActivities(OneCluster(clients))
    before = clients.kube.get("Namespace", app)
    assert before is not None
    clients.kube.delete("Namespace", app)
    deploy.run(deploy.components.record_release, ask.undoing(ask.record()))
    again = clients.kube.get("Namespace", app)
    assert again is not None
    assert again["metadata"]["uid"] != before["metadata"]["uid"]
    [found] = facts.read_delete_facts(ReadDeleteFacts(cluster=clients.name, app=app)).components
    assert [(d.id, d.claim) for d in found.disks] == [(deploy.disks[n].id, ask.claim(n)) for n in INSTANCES]
    for n in INSTANCES:
        deploy.run(deploy.instances.unbind_volume, ask.unbind(n))
        deploy.run(deploy.instances.bind_volume, ask.undoing(ask.bind(n, volume=deploy.disks[n])))
    deploy.run(deploy.components.ensure_secrets, ask.of_component())
    deploy.run(deploy.components.ensure_services, ask.undoing(ask.of_component()))
    for n in INSTANCES:
        deploy.run(deploy.instances.start_instance, ask.undoing(ask.of_instance(n)))
    deploy.finish()
    deploy.undo()


def _said_in_the_end(deploy: Deploy, request: InstanceRequest, telling: str) -> str:
    """What the wait for an instance says, once it says more than that it has just begun."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            deploy.instances.await_ready(request)
        except NotReadyYet as error:
            if telling in str(error):
                return str(error)
        time.sleep(0.2)
    pytest.fail(f"the wait never said that the pod {telling}")
