"""Whatever was left of an app, by whomever, a delete finds it."""

from collections.abc import Callable

import pytest

from activities.components import ComponentActivities
from activities.errors import NotReadyYet
from activities.facts import FactsActivities
from activities.instances import InstanceActivities
from activities.models.facts import ComponentFacts, DeleteFacts, ReadDeleteFacts
from activities.models.volumes import VolumeState
from tests import kube_requests as ask
from tests.fakes_cloud import FakeCloud
from tests.fakes_kube import FakeKube

DELETE = ReadDeleteFacts(cluster="prod", app="shop")
UNTIL = "2026-02-01T00:00:00+00:00"


def put_disk(cloud: FakeCloud, name: str, state: VolumeState = VolumeState.AVAILABLE, **tags: str) -> None:
    disk = ask.disk()
    marks = {f"supergiant.io/{key.replace('_', '-')}": value for key, value in tags.items()}
    cloud.put(disk.model_copy(update={"id": name, "state": state, "tags": disk.tags | marks}))


def only(found: DeleteFacts) -> ComponentFacts:
    [component] = found.components
    return component


@pytest.mark.usefixtures("deployed")
def test_the_disks_of_a_namespace_that_somebody_deleted_are_found(
    facts: FactsActivities, kube: FakeKube, cloud: FakeCloud
) -> None:
    kube.delete("Namespace", "shop")
    component = only(facts.read_delete_facts(DELETE))
    assert [(disk.id, disk.claim, disk.kept) for disk in component.disks] == [
        ("vol-0", ask.claim(0), False),
        ("vol-1", ask.claim(1), False),
    ]
    assert component.claims == [ask.claim(0), ask.claim(1)], "or their PersistentVolumes would be left"
    assert (component.instances, component.record, component.only_kept) == ([], None, False)


@pytest.mark.usefixtures("deployed")
def test_what_was_found_without_the_namespace_can_be_removed(
    facts: FactsActivities, instances: InstanceActivities, kube: FakeKube
) -> None:
    kube.delete("Namespace", "shop")
    for number in (0, 1):
        instances.unbind_volume(ask.unbind(number))
    assert only(facts.read_delete_facts(DELETE)).claims == []
    assert not [key for key in kube.objects if key[0] == "PersistentVolume"]


def test_the_tenant_comes_from_the_disks_when_nothing_else_is_left(
    facts: FactsActivities, cloud: FakeCloud
) -> None:
    put_disk(cloud, "vol-kept", keep_until=UNTIL, tenant="before")
    put_disk(cloud, "vol-used", tenant="search")
    found = facts.read_delete_facts(DELETE)
    assert found.tenant == "search"
    assert [disk.id for disk in only(found).disks] == ["vol-used"]


def test_a_disk_that_names_no_tenant_is_of_the_default_one(facts: FactsActivities, cloud: FakeCloud) -> None:
    put_disk(cloud, "vol-0")
    found = facts.read_delete_facts(DELETE)
    assert (found.tenant, [disk.id for disk in only(found).disks]) == ("default", ["vol-0"])


@pytest.mark.usefixtures("deployed")
def test_disks_that_another_tenants_app_of_the_same_name_left_are_not_touched(
    facts: FactsActivities, cloud: FakeCloud
) -> None:
    put_disk(cloud, "vol-theirs", keep_until=UNTIL, tenant="rival")
    put_disk(cloud, "vol-ours", keep_until=UNTIL, tenant="default")
    found = facts.read_delete_facts(DELETE)
    assert found.tenant == "default"
    assert [disk.id for disk in only(found).disks] == ["vol-0", "vol-ours", "vol-1"]


@pytest.mark.usefixtures("deployed")
def test_disks_kept_by_an_earlier_delete_are_told_apart(facts: FactsActivities, cloud: FakeCloud) -> None:
    put_disk(cloud, "vol-kept", keep_until=UNTIL)
    put_disk(cloud, "vol-edited", keep_until="next tuesday")
    put_disk(cloud, "vol-going", VolumeState.DELETING)
    component = only(facts.read_delete_facts(DELETE))
    assert {disk.id: disk.kept for disk in component.disks} == {
        "vol-0": False,
        "vol-1": False,
        "vol-kept": True,
        "vol-edited": True,
    }
    assert not component.only_kept


def test_a_disk_whose_delete_was_ended_by_force_is_not_taken_for_kept(
    facts: FactsActivities, cloud: FakeCloud
) -> None:
    put_disk(cloud, "vol-0", keep_until="9999-12-31T00:00:00+00:00")
    component = only(facts.read_delete_facts(DELETE))
    assert [(disk.id, disk.kept) for disk in component.disks] == [("vol-0", False)]
    assert not component.only_kept


def test_kept_disks_and_secrets_are_what_a_delete_leaves_on_purpose(
    facts: FactsActivities, components: ComponentActivities, cloud: FakeCloud
) -> None:
    components.ensure_secrets(ask.of_component())
    put_disk(cloud, "vol-0", keep_until=UNTIL)
    component = only(facts.read_delete_facts(DELETE))
    assert (component.secrets, component.objects, component.only_kept) == (["db.password"], [], True)


@pytest.mark.parametrize("kind", ["NetworkPolicy", "PodDisruptionBudget", "ConfigMap", "Service"])
def test_a_single_object_that_was_left_makes_its_component_known(
    facts: FactsActivities, components: ComponentActivities, kube: FakeKube, kind: str
) -> None:
    components.ensure_services(ask.of_component())
    if kind == "ConfigMap":
        components.record_release(ask.record())
    metadata = kube.the("Namespace", "shop")["metadata"]
    metadata["annotations"]["supergiant.io/users"] = ""
    kube.objects = {key: thing for key, thing in kube.objects.items() if key[1] == "" or key[0] == kind}
    component = only(facts.read_delete_facts(DELETE))
    assert component.component == "db"
    assert {title.split("/")[0] for title in component.objects} == {kind}
    assert not component.only_kept


def test_the_service_of_an_instance_that_never_came_up_is_removed_with_that_instance(
    facts: FactsActivities,
    instances: InstanceActivities,
    components: ComponentActivities,
    kube: FakeKube,
) -> None:
    components.ensure_namespace(ask.namespace())
    instances.start_instance(ask.of_instance(1))
    del kube.objects["StatefulSet", "shop", "db-1"]
    assert only(facts.read_delete_facts(DELETE)).instances == [1]


def test_a_namespace_of_ours_that_is_left_alone_can_be_deleted_by_its_last_component(
    facts: FactsActivities, components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace())
    component = only(facts.read_delete_facts(DELETE))
    assert (component.component, component.only_kept) == ("db", False)
    with pytest.raises(NotReadyYet):
        components.remove_namespace(ask.namespace("op-2"))
    assert facts.read_delete_facts(DELETE).components == []


def _unlabelled(kube: FakeKube) -> None:
    kube.the("Namespace", "shop")["metadata"]["labels"] = {}


def _gone(kube: FakeKube) -> None:
    kube.delete("Namespace", "shop")


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("change", [_unlabelled, _gone])
def test_what_carries_our_labels_is_found_whatever_has_become_of_the_namespace(
    facts: FactsActivities, kube: FakeKube, change: Callable[[FakeKube], None]
) -> None:
    change(kube)
    found = facts.read_delete_facts(DELETE)
    assert (found.tenant, [c.component for c in found.components]) == ("default", ["db"])
