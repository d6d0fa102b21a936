"""What a component has as a whole: namespace, secrets, services, release record, health."""

import json
from typing import Any

import pytest

from activities.components import ComponentActivities
from activities.errors import NotOurs, NotReadyYet
from activities.instances import InstanceActivities
from tests import kube_requests as ask
from tests.components.conftest import Clock
from tests.fakes_kube import FakeKube


@pytest.fixture
def running(components: ComponentActivities, instances: InstanceActivities) -> None:
    """Both instances of the component, ready since the clock's beginning."""
    components.ensure_namespace(ask.namespace())
    for number in (0, 1):
        instances.bind_volume(ask.bind(number))
        instances.start_instance(ask.of_instance(number))


def test_a_namespace_is_made_once_and_carries_the_tenant(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace("op-1"))
    made = kube.the("Namespace", "shop")
    components.ensure_namespace(ask.namespace("op-2"))
    assert kube.the("Namespace", "shop") is made
    assert made["metadata"]["labels"]["supergiant.io/tenant"] == "default"
    assert made["metadata"]["annotations"]["supergiant.io/operation"] == "op-1"


def test_a_namespace_of_somebody_else_is_refused(components: ComponentActivities, kube: FakeKube) -> None:
    kube.put({"kind": "Namespace", "metadata": {"name": "shop"}})
    with pytest.raises(NotOurs, match="Namespace/shop exists and was not made by Supergiant"):
        components.ensure_namespace(ask.namespace())


def test_a_namespace_of_another_tenant_is_refused(components: ComponentActivities) -> None:
    components.ensure_namespace(ask.namespace(tenant="default"))
    with pytest.raises(NotOurs, match="app shop belongs to tenant default, not to rival"):
        components.ensure_namespace(ask.namespace(tenant="rival"))


def test_a_namespace_that_is_going_is_waited_for(components: ComponentActivities, kube: FakeKube) -> None:
    components.ensure_namespace(ask.namespace())
    kube.held.add(("Namespace", "shop"))
    with pytest.raises(NotReadyYet, match="the namespace of shop is gone"):
        components.remove_namespace(ask.namespace())
    kube.the("Namespace", "shop")["status"] = {
        "conditions": [
            {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "finalizers remain"},
            {"type": "NamespaceContentRemaining", "status": "True", "message": "pods. has 1 instances"},
        ]
    }
    with pytest.raises(NotReadyYet, match=r"is gone; pods\. has 1 instances"):
        components.remove_namespace(ask.namespace())
    with pytest.raises(NotReadyYet, match="still being deleted"):
        components.ensure_namespace(ask.namespace("op-2"))
    kube.finish()
    components.remove_namespace(ask.namespace())
    components.ensure_namespace(ask.namespace("op-2"))
    assert kube.has("Namespace", "shop")


def test_a_namespace_of_somebody_else_is_never_removed(
    components: ComponentActivities, kube: FakeKube
) -> None:
    kube.put({"kind": "Namespace", "metadata": {"name": "shop"}})
    components.remove_namespace(ask.namespace())
    assert kube.has("Namespace", "shop")


def test_a_secret_keeps_its_value_when_it_is_ensured_again(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_secrets(ask.of_component("op-1"))
    value = kube.the("Secret", "db.password", "shop")["stringData"]["value"]
    components.ensure_secrets(ask.of_component("op-2"))
    assert len(value) == 24
    assert value.isalnum()
    assert kube.the("Secret", "db.password", "shop")["stringData"]["value"] == value


def test_two_secrets_never_have_the_same_value(components: ComponentActivities, kube: FakeKube) -> None:
    components.ensure_secrets(ask.of_component(secrets=[{"name": "password"}, {"name": "token"}]))
    values = {
        kube.the("Secret", f"db.{name}", "shop")["stringData"]["value"] for name in ("password", "token")
    }
    assert len(values) == 2


def test_a_secret_of_somebody_else_is_refused(components: ComponentActivities, kube: FakeKube) -> None:
    components.ensure_namespace(ask.namespace())
    kube.put({"kind": "Secret", "metadata": {"name": "db.password", "namespace": "shop"}})
    with pytest.raises(NotOurs, match=r"Secret/db\.password in namespace shop"):
        components.ensure_secrets(ask.of_component())


def test_undo_removes_only_the_secrets_that_its_operation_made(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_secrets(ask.of_component("op-1"))
    components.ensure_secrets(ask.of_component("op-2", secrets=[{"name": "password"}, {"name": "token"}]))
    components.remove_secrets(ask.remove("op-2"))
    assert kube.has("Secret", "db.password", "shop")
    assert not kube.has("Secret", "db.token", "shop")


def test_deleting_a_component_with_its_disks_removes_all_its_secrets_and_no_others(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_secrets(ask.of_component("op-1"))
    components.ensure_secrets(ask.of_component("op-1", name="web"))
    components.remove_secrets(ask.remove("op-9", all=True))
    assert not kube.has("Secret", "db.password", "shop")
    assert kube.has("Secret", "web.password", "shop")


def test_services_come_back_when_their_namespace_was_removed_meanwhile(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_services(ask.of_component())
    assert kube.has("Namespace", "shop")
    assert {name for kind, _, name in kube.objects if kind == "Service"} == {"db", "db-all"}


def test_a_service_of_another_component_is_not_taken_over(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_services(ask.of_component(name="db-all"))
    with pytest.raises(NotOurs, match="belongs to shop/db-all"):
        components.ensure_services(ask.of_component(name="db"))


def test_removing_services_takes_those_of_the_component_alone(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_services(ask.of_component(name="db"))
    components.ensure_services(ask.of_component(name="web"))
    components.remove_services(ask.remove(name="db"))
    components.remove_services(ask.remove(name="db"))
    left = {(kind, name) for kind, namespace, name in kube.objects if namespace == "shop"}
    assert left == {
        ("Service", "web"),
        ("Service", "web-all"),
        ("PodDisruptionBudget", "web"),
        ("NetworkPolicy", "web"),
    }


def test_a_release_is_recorded_once(components: ComponentActivities, kube: FakeKube, clock: Clock) -> None:
    components.ensure_namespace(ask.namespace())
    components.record_release(ask.record())
    first = kube.the("ConfigMap", "release-db-1", "shop")["data"]["release.json"]
    clock.advance(60)
    components.record_release(ask.record())
    assert kube.the("ConfigMap", "release-db-1", "shop")["data"]["release.json"] == first
    assert kube.the("ConfigMap", "component-db", "shop")["data"] == {"current": "1", "target": ""}
    assert json.loads(first)["volumes"] == [{"data": "vol-0"}, {"data": "vol-1"}]
    assert kube.the("ConfigMap", "release-db-1", "shop")["immutable"]


def test_another_content_under_a_recorded_number_is_refused(components: ComponentActivities) -> None:
    components.ensure_namespace(ask.namespace())
    components.record_release(ask.record(operation="op-1"))
    with pytest.raises(NotOurs, match=r"release 1 of shop/db is already recorded.*by operation op-1"):
        components.record_release(ask.record(operation="op-2", instances=5))


def test_the_pointer_never_goes_back_to_an_older_release(components: ComponentActivities) -> None:
    components.ensure_namespace(ask.namespace())
    components.record_release(ask.record(1))
    components.record_release(ask.record(2, operation="op-2"))
    with pytest.raises(NotOurs, match="is at release 2 already"):
        components.record_release(ask.record(1))


def test_taking_back_a_release_points_to_the_one_before(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace())
    components.record_release(ask.record(1, "op-1"))
    components.record_release(ask.record(2, "op-2"))
    components.remove_release(ask.unrecord(2, "op-2"))
    assert kube.the("ConfigMap", "component-db", "shop")["data"]["current"] == "1"
    assert not kube.has("ConfigMap", "release-db-2", "shop")


def test_taking_back_a_release_that_was_never_recorded_changes_nothing(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace())
    components.record_release(ask.record(1, "op-1"))
    components.remove_release(ask.unrecord(1, "op-2"))
    assert kube.the("ConfigMap", "component-db", "shop")["data"]["current"] == "1"
    assert kube.has("ConfigMap", "release-db-1", "shop")


def test_deleting_a_component_removes_every_record_of_it(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace())
    components.record_release(ask.record(1, "op-1"))
    components.record_release(ask.record(2, "op-2"))
    components.remove_release(ask.unrecord(2, "op-9", all=True))
    assert not [name for kind, _, name in kube.objects if kind == "ConfigMap"]


@pytest.mark.usefixtures("running")
def test_health_names_every_instance_once_all_are_ready(components: ComponentActivities) -> None:
    statuses = components.check_health(ask.of_component())
    assert [(s.instance, s.ready, s.zone, s.address) for s in statuses] == [
        (0, True, "us-east-1a", "db-0.shop.svc"),
        (1, True, "us-east-1b", "db-1.shop.svc"),
    ]


@pytest.mark.usefixtures("running")
def test_health_waits_until_the_component_has_settled(components: ComponentActivities, clock: Clock) -> None:
    clock.advance(20)
    with pytest.raises(NotReadyYet, match="must stay so for 40 s"):
        components.check_health(ask.of_component(health={"settle": "60s"}))
    clock.advance(40)
    assert len(components.check_health(ask.of_component(health={"settle": "60s"}))) == 2


@pytest.mark.usefixtures("running")
def test_a_restart_starts_the_settling_again(
    components: ComponentActivities, kube: FakeKube, clock: Clock
) -> None:
    clock.advance(100)
    status: dict[str, Any] = kube.the("Pod", "db-1-0", "shop")["status"]
    status["containerStatuses"][0] |= {
        "restartCount": 1,
        "state": {"running": {"startedAt": "2026-01-01T00:01:30Z"}},
    }
    with pytest.raises(NotReadyYet, match="pod db-1-0 is ready, and must stay so for 50 s"):
        components.check_health(ask.of_component(health={"settle": "60s"}))


@pytest.mark.usefixtures("running")
def test_health_names_the_instance_that_lacks(components: ComponentActivities, kube: FakeKube) -> None:
    kube.makes_pods = False
    del kube.objects["Pod", "shop", "db-1-0"]
    with pytest.raises(NotReadyYet, match="instance db-1 is not ready: it has no pod"):
        components.check_health(ask.of_component())
