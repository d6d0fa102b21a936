"""What a deploy plan decides: zones, disks, steps, cost and refusals. Pure."""

from typing import Any

import pytest
from fake_world import ZONES, node
from plan_facts import facts_for
from story_desk import app_of

from activities.models.apps import App
from activities.models.facts import ExistingComponent, NodeFacts, VolumeQuota
from workflows.models.plans import Plan
from workflows.planning.deploy import disk_tags, plan_deploy


def plan(app: App | None = None, **fields: Any) -> Plan:
    return plan_deploy(app or app_of({"instances": 3}), facts_for(**fields), "op-1")


def zones(planned: Plan, component: int = 0) -> list[str]:
    return [one.zone for one in planned.components[component].instances]


def small(zone: str, **fields: Any) -> NodeFacts:
    return node(zone).model_copy(update=fields)


def test_three_instances_go_to_three_zones() -> None:
    assert sorted(zones(plan())) == ZONES


def test_more_instances_than_zones_are_spread_evenly() -> None:
    seen = zones(plan(app_of({"instances": 7})))
    assert sorted(seen.count(zone) for zone in ZONES) == [2, 2, 3]


def test_components_of_one_instance_do_not_all_begin_in_the_same_zone() -> None:
    apps = [app_of({"instances": 1}, name=f"app{number}") for number in range(20)]
    assert {zones(plan(app))[0] for app in apps} == set(ZONES)


def test_the_same_document_gives_the_same_plan() -> None:
    assert plan() == plan()
    assert plan().hash == plan().hash


def test_only_the_asked_zones_are_used() -> None:
    app = app_of({"instances": 2, "placement": {"zones": [ZONES[1]]}})
    assert zones(plan(app)) == [ZONES[1], ZONES[1]]


def test_a_zone_without_room_is_left_out_and_said() -> None:
    nodes = [small(ZONES[0], free_memory_bytes=0), node(ZONES[1]), node(ZONES[2])]
    planned = plan(app_of({"instances": 4}), nodes=nodes)
    assert ZONES[0] not in zones(planned)
    assert any("spread unevenly" in note for note in planned.notes)


@pytest.mark.parametrize(
    "lack", [{"free_cpu_millicores": 50}, {"free_memory_bytes": 1}, {"attach_limit": 0}, {"free_pods": 0}]
)
def test_a_node_that_lacks_anything_does_not_count(lack: dict[str, Any]) -> None:
    planned = plan(nodes=[small(zone, **lack) for zone in ZONES])
    assert "no room for db-0" in planned.refused[0]


def test_instances_of_one_plan_do_not_count_on_the_same_room() -> None:
    planned = plan(app_of({"instances": 2}), nodes=[small(ZONES[0], attach_limit=1)])
    assert "no room for db-1" in planned.refused[0]


def test_nodes_that_take_no_pods_do_not_count() -> None:
    planned = plan(nodes=[small(zone, schedulable=False) for zone in ZONES])
    assert "no schedulable node for db" in planned.refused[0]


def test_an_unknown_zone_is_named_with_the_known_ones() -> None:
    planned = plan(app_of({"placement": {"zones": ["eu-west-1a"]}}))
    assert planned.refused == [
        "no such zone 'eu-west-1a' for db; this cluster has us-east-1a, us-east-1b, us-east-1c"
    ]


def test_the_cost_counts_what_is_beyond_what_is_included() -> None:
    volumes = [{"name": "data", "size": "100Gi", "iops": 4000, "throughput": 225}]
    assert plan(app_of({"instances": 1, "volumes": volumes})).cost_after == pytest.approx(8 + 5 + 4)


def test_claims_carry_the_operation_so_that_two_deploys_never_share_one() -> None:
    first, second = (plan_deploy(app_of(), facts_for(), operation) for operation in ("op-1", "op-2"))
    names = [{d.claim for i in p.components[0].instances for d in i.disks} for p in (first, second)]
    assert not names[0] & names[1]


def test_disks_are_tagged_with_whose_they_are_and_the_users_tags() -> None:
    app = app_of({"tags": {"team": "search"}})
    disk = plan(app).components[0].instances[0].disks[0]
    seen = disk_tags("c", "default", "shop", app.components[0], disk)
    assert seen["team"] == "search"
    assert seen["supergiant.io/app"] == "shop"
    assert seen["supergiant.io/instance"] == "0"


def test_the_tags_are_not_in_the_plan_where_they_would_be_most_of_it() -> None:
    marked = plan(app_of({"instances": 3, "tags": {"team": "t" * 200}}))
    assert marked.model_dump_json().count("t" * 200) == 1


def test_a_plan_that_temporal_cannot_carry_is_refused_with_the_way_out() -> None:
    many = [{"name": f"db{number}", "instances": 100} for number in range(10)]
    planned = plan(app_of(*many), nodes=[node(zone, f"{zone}-{n}") for zone in ZONES for n in range(20)])
    assert any("too large for one operation" in why for why in planned.refused)
    assert planned.impossible
    one = plan(
        app_of({"instances": 100, "volumes": [{"name": f"d{n}", "size": "1Gi"} for n in range(3)]}),
        nodes=[node(zone, f"{zone}-{n}") for zone in ZONES for n in range(20)],
    )
    assert one.refused == []


def with_arguments(kilobytes: int, instances: int, letter: str = "x") -> App:
    container = {"name": "main", "image": "redis:7", "args": [letter * 1000 for _ in range(kilobytes)]}
    return app_of({"instances": instances, "containers": [container], "volumes": []})


def test_a_component_whose_instances_cannot_be_started_in_one_message_is_refused_with_the_way_out() -> None:
    planned = plan(with_arguments(120, 60))
    (why,) = planned.refused
    assert why.startswith("too large to start: db is described in 117 KiB")
    assert "60 instances, 7074 KiB where 2048 are allowed" in why
    assert "fewer instances" in why
    assert planned.impossible
    assert plan(with_arguments(120, 15)).refused == []


def test_what_a_message_carries_is_counted_in_bytes() -> None:
    assert plan(with_arguments(40, 45)).refused == []
    assert "too large to start" in plan(with_arguments(40, 45, letter="ä")).refused[0]


def test_a_disk_without_a_known_price_is_named() -> None:
    planned = plan(app_of({"volumes": [{"name": "data", "size": "500Gi", "type": "st1"}]}))
    assert planned.unpriced == ["st1"]
    assert "the price list has no st1 disks; what they cost is not in the sum" in planned.notes
    assert plan().unpriced == []


def test_a_component_that_lost_an_instance_is_not_as_asked() -> None:
    app = app_of({"instances": 3})
    there = ExistingComponent(component="db", release=1, instances=[0, 2], spec=app.components[0])
    planned = plan(app, components=[there], namespace_owner="default")
    assert "only db-0, db-2 are there" in planned.refused[0]


def test_the_agreement_survives_another_operation_id_and_not_another_zone() -> None:
    one, other = (plan_deploy(app_of(), facts_for(), operation) for operation in ("op-1", "op-2"))
    assert one.hash != other.hash
    assert one.agreement == other.agreement
    assert plan(app_of(), nodes=[node(ZONES[0])]).agreement != one.agreement


def test_step_ids_are_unique_and_instances_come_between_services_and_health() -> None:
    ids = [step.id for step in plan().steps]
    assert len(set(ids)) == len(ids)
    assert ids[:2] == ["db/namespace", "db/services"]
    assert ids[-2:] == ["db/health", "db/release"]


def test_everything_that_makes_something_says_how_it_is_undone() -> None:
    watching = ("attached", "ready", "health")
    for step in plan().steps:
        assert bool(step.undo) is not step.id.endswith(watching), step.id


def test_a_component_that_is_as_asked_is_left_alone() -> None:
    app = app_of()
    there = ExistingComponent(component="db", release=1, instances=[0, 1], spec=app.components[0])
    planned = plan(app, components=[there], namespace_owner="default")
    assert planned.components == []
    assert planned.refused == []
    assert planned.summary == "nothing to do for shop"


def test_a_component_that_differs_is_refused() -> None:
    there = ExistingComponent(component="db", release=2, instances=[0], spec=app_of().components[0])
    planned = plan(app_of({"instances": 3}), components=[there], namespace_owner="default")
    assert "db is deployed already (release 2)" in planned.refused[0]


def test_leftovers_without_a_release_are_refused_with_the_way_out() -> None:
    there = ExistingComponent(component="db", release=0, instances=[0], operation="op-0")
    planned = plan(components=[there], namespace_owner="default")
    assert "left by operation op-0" in planned.refused[0]
    assert "supergiant app delete shop --component db" in planned.refused[0]


def test_what_is_not_ours_is_refused() -> None:
    planned = plan(foreign_objects=["Service/db in namespace shop"], namespace_owner="")
    assert len(planned.refused) == 2
    assert "belongs to somebody else" in planned.refused[1]


def test_a_namespace_of_another_tenant_is_refused() -> None:
    assert "belongs to tenant other" in plan(namespace_owner="other").refused[0]


@pytest.mark.parametrize("quota", [VolumeQuota(volumes_left=2), VolumeQuota(gib_left=29)])
def test_more_than_the_account_may_create_is_refused(quota: VolumeQuota) -> None:
    assert "the account may create" in plan(quota=quota).refused[0]


def test_machines_and_free_room_do_not_change_the_facts() -> None:
    before = facts_for().fingerprint("db")
    nodes = [node(zone) for zone in ZONES]
    busy = [n.model_copy(update={"free_cpu_millicores": 7, "attached": 3}) for n in nodes]
    assert facts_for(nodes=busy).fingerprint("db") == before
    assert facts_for(nodes=[*nodes, node(ZONES[0], "new")]).fingerprint("db") == before
    assert (
        facts_for(nodes=[*nodes, small(ZONES[0], name="cordoned", schedulable=False)]).fingerprint("db")
        == before
    )
    assert facts_for(nodes=[*nodes[1:], node(ZONES[0], "instead")]).fingerprint("db") == before
    assert facts_for(nodes=[*nodes, node("elsewhere")]).fingerprint("db") == before


def test_a_zone_in_which_nothing_can_run_any_more_changes_the_facts() -> None:
    before = facts_for().fingerprint("db")
    nodes = [node(zone) for zone in ZONES]
    assert facts_for(nodes=nodes[:2]).fingerprint("db") != before
    assert facts_for(nodes=[*nodes[:2], small(ZONES[2], schedulable=False)]).fingerprint("db") != before
    assert facts_for(zones=ZONES[:2]).fingerprint("db") != before


def test_another_component_does_not_change_the_facts_of_this_one() -> None:
    other = ExistingComponent(component="web", release=1, instances=[0])
    assert facts_for(components=[other]).fingerprint("db") == facts_for().fingerprint("db")
    assert facts_for(components=[other]).fingerprint("web") != facts_for().fingerprint("web")
