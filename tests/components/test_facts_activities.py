"""What planning is told about a cluster, an app and its disks."""

import pytest

from activities.components import ComponentActivities
from activities.facts import FactsActivities
from activities.instances import InstanceActivities
from activities.models.facts import DeployFacts, ReadDeleteFacts, ReadDeployFacts
from tests import kube_requests as ask
from tests.fakes_cloud import FakeCloud
from tests.fakes_kube import DRIVER, FakeKube

ASK = ReadDeployFacts(cluster="prod", app="shop", components=["db"])
DELETE = ReadDeleteFacts(cluster="prod", app="shop")


def test_an_empty_cluster_has_machines_and_nothing_of_the_app(facts: FactsActivities) -> None:
    found = facts.read_deploy_facts(ASK)
    assert [(n.name, n.zone, n.machine, n.attach_limit, n.attached) for n in found.nodes] == [
        ("n-0", "us-east-1a", "i-n-0", 31, 0),
        ("n-1", "us-east-1b", "i-n-1", 31, 0),
        ("n-2", "us-east-1c", "i-n-2", 31, 0),
    ]
    assert (found.namespace_owner, found.components, found.foreign_objects) == (None, [], [])


@pytest.mark.usefixtures("deployed")
def test_what_is_deployed_is_known_with_its_release(facts: FactsActivities) -> None:
    found = facts.read_deploy_facts(ASK)
    [existing] = found.components
    assert (existing.component, existing.release, existing.instances) == ("db", 1, [0, 1])
    assert existing.operation == "op-1"
    assert existing.spec == ask.component()
    assert found.namespace_owner == "default"
    assert found.foreign_objects == []
    assert {n.name: (n.attached, n.free_cpu_millicores, n.free_pods) for n in found.nodes} == {
        "n-0": (1, 7750, 109),
        "n-1": (1, 7750, 109),
        "n-2": (0, 8000, 110),
    }


@pytest.mark.usefixtures("deployed")
def test_the_same_cluster_gives_the_same_fingerprint(facts: FactsActivities, kube: FakeKube) -> None:
    def fingerprint() -> str:
        found: DeployFacts = facts.read_deploy_facts(ASK)
        return found.fingerprint("db")

    first = fingerprint()
    assert fingerprint() == first
    kube.the("Node", "n-2")["spec"]["unschedulable"] = True
    assert fingerprint() != first


def test_objects_without_a_recorded_release_are_release_zero(
    facts: FactsActivities, components: ComponentActivities
) -> None:
    components.ensure_services(ask.of_component("op-7"))
    [existing] = facts.read_deploy_facts(ASK).components
    assert (existing.release, existing.operation, existing.spec) == (0, "op-7", None)


def test_secrets_that_were_kept_do_not_make_a_component(
    facts: FactsActivities, components: ComponentActivities
) -> None:
    components.ensure_secrets(ask.of_component())
    assert facts.read_deploy_facts(ASK).components == []


def test_a_pod_that_was_given_a_node_counts_before_its_disk_is_attached(
    facts: FactsActivities, instances: InstanceActivities, components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace())
    instances.bind_volume(ask.bind())
    instances.start_instance(ask.of_instance())
    del kube.objects["VolumeAttachment", "", f"csi-shop-{ask.claim()}"]
    assert facts.read_deploy_facts(ASK).nodes[0].attached == 1


def test_disks_of_another_driver_do_not_count(facts: FactsActivities, kube: FakeKube) -> None:
    for name, attacher in (("a", "efs.csi.aws.com"), ("b", DRIVER)):
        kube.put(
            {
                "kind": "VolumeAttachment",
                "metadata": {"name": name},
                "spec": {"attacher": attacher, "nodeName": "n-0", "source": {"persistentVolumeName": name}},
            }
        )
    assert facts.read_deploy_facts(ASK).nodes[0].attached == 1


def test_a_namespace_that_is_not_ours_is_told_apart(facts: FactsActivities, kube: FakeKube) -> None:
    kube.put({"kind": "Namespace", "metadata": {"name": "shop"}})
    assert facts.read_deploy_facts(ASK).namespace_owner == ""


def test_names_that_somebody_else_has_taken_are_found(
    facts: FactsActivities, components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace())
    for kind, name in (
        ("Service", "db"),
        ("Service", "db-backup"),
        ("StatefulSet", "db-1"),
        ("Secret", "db.password"),
        ("ConfigMap", "component-db"),
    ):
        kube.put({"kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": {}})
    assert facts.read_deploy_facts(ASK).foreign_objects == [
        "ConfigMap/component-db in namespace shop",
        "Secret/db.password in namespace shop",
        "Service/db in namespace shop",
        "StatefulSet/db-1 in namespace shop",
    ]


def test_the_objects_of_a_component_with_a_similar_name_are_in_the_way_too(
    facts: FactsActivities, components: ComponentActivities
) -> None:
    components.ensure_services(ask.of_component(name="db-all"))
    assert facts.read_deploy_facts(ASK).foreign_objects == ["Service/db-all in namespace shop"]


@pytest.mark.usefixtures("deployed")
def test_what_a_delete_takes_is_listed_with_its_disks(facts: FactsActivities) -> None:
    found = facts.read_delete_facts(DELETE)
    assert (found.app, found.tenant, found.retention_seconds) == ("shop", "default", 604_800)
    [component] = found.components
    assert component.component == "db"
    assert component.instances == [0, 1]
    assert component.claims == [ask.claim(0), ask.claim(1)]
    assert [(d.id, d.instance, d.blueprint, d.claim, d.size_gib) for d in component.disks] == [
        ("vol-0", 0, "data", ask.claim(0), 10),
        ("vol-1", 1, "data", ask.claim(1), 10),
    ]
    assert component.record is not None
    assert component.record.component == ask.component()
    assert component.secrets == []
    assert component.objects == [
        "ConfigMap/component-db",
        "ConfigMap/release-db-1",
        "NetworkPolicy/db",
        "PodDisruptionBudget/db",
        "Service/db",
        "Service/db-all",
    ]
    assert facts.read_delete_facts(DELETE).components[0].fingerprint() == component.fingerprint()


@pytest.mark.usefixtures("deployed")
def test_only_the_components_asked_for_are_listed(
    facts: FactsActivities, components: ComponentActivities
) -> None:
    components.ensure_services(ask.of_component(name="web"))
    names = [c.component for c in facts.read_delete_facts(DELETE).components]
    chosen = facts.read_delete_facts(DELETE.model_copy(update={"components": ["web", "nothing"]}))
    assert names == ["db", "web"]
    assert [(c.component, c.record) for c in chosen.components] == [("web", None)]


@pytest.mark.usefixtures("deployed")
def test_a_delete_that_stopped_half_way_finds_its_disks_again(
    facts: FactsActivities, cloud: FakeCloud
) -> None:
    cloud.tag_volumes(["vol-0"], {"supergiant.io/keep-until": "2026-02-01"})
    [component] = facts.read_delete_facts(DELETE).components
    assert [(disk.id, disk.kept) for disk in component.disks] == [("vol-0", False), ("vol-1", False)]


def test_an_app_that_does_not_exist_has_nothing_to_delete(facts: FactsActivities) -> None:
    found = facts.read_delete_facts(DELETE)
    assert (found.tenant, found.components) == ("default", [])


def test_a_record_that_somebody_wrote_over_counts_as_missing(
    facts: FactsActivities, components: ComponentActivities, kube: FakeKube
) -> None:
    components.ensure_namespace(ask.namespace())
    components.record_release(ask.record())
    kube.the("ConfigMap", "release-db-1", "shop")["data"]["release.json"] = "{"
    [component] = facts.read_delete_facts(DELETE).components
    assert component.record is None
