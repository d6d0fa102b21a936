"""A namespace goes with the last component that leaves it, and never with anything of anybody in it."""

from collections.abc import Callable
from typing import Any

import pytest

from activities.components import ComponentActivities
from activities.errors import NotFound, NotReadyYet
from activities.instances import InstanceActivities
from activities.kube.base import Manifest
from tests import kube_requests as ask
from tests.fakes_cloud import FakeCloud
from tests.fakes_kube import FakeKube

KINDS = [
    "ConfigMap",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Ingress",
    "Job",
    "LimitRange",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "PodTemplate",
    "ReplicaSet",
    "ReplicationController",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
]


def users(kube: FakeKube) -> str:
    return str(kube.the("Namespace", "shop")["metadata"]["annotations"]["supergiant.io/users"])


def removed(components: ComponentActivities, request: Any) -> None:
    """Ask until it is done, as the server does."""
    for _ in range(5):
        try:
            components.remove_namespace(request)
        except NotReadyYet:
            continue
        return
    pytest.fail("the removal does not end")


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_somebody_has_put_into_a_namespace_keeps_it(
    components: ComponentActivities, kube: FakeKube, kind: str
) -> None:
    components.ensure_namespace(ask.namespace())
    kube.put({"kind": kind, "metadata": {"name": "somebodys", "namespace": "shop"}, "spec": {}})
    removed(components, ask.namespace())
    assert kube.has("Namespace", "shop")
    del kube.objects[kind, "shop", "somebodys"]
    removed(components, ask.namespace())
    assert not kube.has("Namespace", "shop")


def test_what_kubernetes_makes_by_itself_does_not_keep_it(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace())
    token = {"kubernetes.io/service-account.name": "default"}
    for kind, name, annotations in (
        ("ConfigMap", "kube-root-ca.crt", {}),
        ("ServiceAccount", "default", {}),
        ("Secret", "default-token-x2x2x", token),
    ):
        metadata = {"name": name, "namespace": "shop", "annotations": annotations}
        kube.put({"kind": kind, "metadata": metadata})
    removed(components, ask.namespace())
    assert not kube.has("Namespace", "shop")


def test_the_undo_of_a_deploy_leaves_a_namespace_that_another_operation_made(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace("op-1"))
    components.ensure_namespace(ask.namespace("op-2"))
    removed(components, ask.namespace("op-2", undo=True))
    assert kube.has("Namespace", "shop")
    removed(components, ask.namespace("op-1", undo=True))
    assert not kube.has("Namespace", "shop")


def test_a_delete_removes_a_namespace_whoever_made_it(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace("op-1"))
    removed(components, ask.namespace("op-2"))
    assert not kube.has("Namespace", "shop")


def test_a_namespace_stays_until_its_last_component_has_left(
    components: ComponentActivities, kube: FakeKube
) -> None:
    for name in ("db", "web"):
        components.ensure_namespace(ask.namespace(component=name))
    assert users(kube) == "db,web"
    removed(components, ask.namespace(component="db"))
    assert users(kube) == "web"
    removed(components, ask.namespace(component="web"))
    assert not kube.has("Namespace", "shop")


def test_a_component_that_was_never_a_user_takes_nobodys_namespace(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace(component="db"))
    removed(components, ask.namespace(component="web"))
    assert users(kube) == "db"


def test_services_and_secrets_make_their_component_a_user(
    components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_services(ask.of_component(name="web"))
    components.ensure_secrets(ask.of_component(name="db"))
    assert users(kube) == "db,web"


def test_a_component_that_comes_while_its_namespace_is_judged_empty_keeps_it(
    components: ComponentActivities, kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    components.ensure_namespace(ask.namespace(component="db"))
    look: Callable[..., list[Manifest]] = kube.list

    def somebody_comes(kind: str, *args: Any, **more: Any) -> list[Manifest]:
        if kind == "ServiceAccount":
            components.ensure_namespace(ask.namespace("op-2", component="web"))
        return look(kind, *args, **more)

    monkeypatch.setattr(kube, "list", somebody_comes)
    with pytest.raises(NotReadyYet, match="changed by somebody else meanwhile"):
        components.remove_namespace(ask.namespace(component="db"))
    removed(components, ask.namespace(component="db"))
    assert users(kube) == "web"


def test_two_that_come_at_once_are_both_written_down(
    components: ComponentActivities, kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    components.ensure_namespace(ask.namespace(component="db"))
    before = kube.get("Namespace", "shop")
    components.ensure_namespace(ask.namespace(component="web"))
    with monkeypatch.context() as patched:
        patched.setattr(kube, "get", lambda *_: before)
        with pytest.raises(NotReadyYet):
            components.ensure_namespace(ask.namespace(component="cache"))
    components.ensure_namespace(ask.namespace(component="cache"))
    assert users(kube) == "cache,db,web"


def test_a_namespace_that_vanishes_while_a_component_comes_is_looked_at_again(
    components: ComponentActivities, kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    components.ensure_namespace(ask.namespace(component="db"))
    before = kube.get("Namespace", "shop")
    del kube.objects["Namespace", "", "shop"]
    with monkeypatch.context() as patched:
        patched.setattr(kube, "get", lambda *_: before)
        with pytest.raises(NotReadyYet):
            components.ensure_namespace(ask.namespace(component="web"))
    components.ensure_namespace(ask.namespace(component="web"))
    assert users(kube) == "web"


def test_the_last_user_stays_known_while_something_is_left(
    components: ComponentActivities, kube: FakeKube
) -> None:
    for name in ("db", "web"):
        components.ensure_secrets(ask.of_component(name=name))
    removed(components, ask.namespace(component="db"))
    removed(components, ask.namespace(component="web"))
    assert users(kube) == "web"


Again = Callable[[ComponentActivities, InstanceActivities], None]

UNDOS: dict[str, Again] = {
    "record": lambda components, _: components.record_release(ask.undoing(ask.record())),
    "bind": lambda _, instances: instances.bind_volume(ask.undoing(ask.bind())),
    "start": lambda _, instances: instances.start_instance(ask.undoing(ask.of_instance())),
    "services": lambda components, _: components.ensure_services(ask.undoing(ask.of_component())),
}


@pytest.mark.parametrize("undo", UNDOS.values(), ids=UNDOS)
def test_undoing_a_delete_makes_the_namespace_again(
    components: ComponentActivities,
    instances: InstanceActivities,
    kube: FakeKube,
    undo: Again,
) -> None:
    undo(components, instances)
    assert kube.the("Namespace", "shop")["metadata"]["labels"]["supergiant.io/tenant"] == "default"
    assert users(kube) == "db"


@pytest.mark.parametrize("undo", UNDOS.values(), ids=UNDOS)
def test_undoing_a_delete_waits_for_a_namespace_that_is_going(
    components: ComponentActivities,
    instances: InstanceActivities,
    kube: FakeKube,
    undo: Again,
) -> None:
    components.ensure_namespace(ask.namespace())
    kube.held.add(("Namespace", "shop"))
    with pytest.raises(NotReadyYet):
        components.remove_namespace(ask.namespace())
    going = kube.the("Namespace", "shop")["metadata"]["uid"]
    with pytest.raises(NotReadyYet, match="Namespace/shop is still being deleted"):
        undo(components, instances)
    kube.finish()
    undo(components, instances)
    assert kube.the("Namespace", "shop")["metadata"]["uid"] != going


def test_a_namespace_made_again_for_a_disk_is_the_tenants_of_the_disk(
    instances: InstanceActivities, kube: FakeKube, cloud: FakeCloud
) -> None:
    disk = ask.disk()
    cloud.put(disk.model_copy(update={"tags": {**disk.tags, "supergiant.io/tenant": "search"}}))
    instances.bind_volume(ask.undoing(ask.bind()))
    assert kube.the("Namespace", "shop")["metadata"]["labels"]["supergiant.io/tenant"] == "search"


def test_a_deploy_whose_namespace_somebody_deleted_is_told(
    components: ComponentActivities, instances: InstanceActivities
) -> None:
    with pytest.raises(NotFound):
        components.record_release(ask.record())
    with pytest.raises(NotFound):
        instances.start_instance(ask.of_instance())
