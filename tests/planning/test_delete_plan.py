"""What a delete plan decides: what is stopped, what is kept, what is left alone. Pure."""

from typing import Any

from activities.models.facts import ComponentFacts, DeleteFacts, DiskPrice, ExistingDisk
from workflows.models.operations import DeleteRequest
from workflows.models.plans import Plan
from workflows.planning.delete import plan_delete


def disk(number: int, **fields: Any) -> ExistingDisk:
    known = {"blueprint": "data", "claim": f"claim-{number}", "zone": "z", "size_gib": 10, "type": "gp3"}
    return ExistingDisk(id=f"vol-{number}", instance=number, **{**known, **fields})


def plan(*found: ComponentFacts, **request: Any) -> Plan:
    facts = DeleteFacts(
        app="shop",
        tenant="default",
        components=list(found),
        retention_seconds=7 * 86400,
        prices={"gp3": DiskPrice(gib=0.08, iops=0.005, included_iops=3000)},
        priced_on="2026-07-20",
    )
    return plan_delete(DeleteRequest(app="shop", **request), facts)


RUNNING = ComponentFacts(component="db", instances=[0], claims=["claim-0"], disks=[disk(0)])
KEPT = ComponentFacts(component="db", instances=[], claims=[], disks=[disk(0, claim="", kept=True)])


def ids(planned: Plan) -> list[str]:
    return [step.id.removeprefix("db/") for step in planned.steps]


def test_what_holds_data_is_kept_first_and_its_time_is_set_last() -> None:
    planned = plan(RUNNING)
    assert ids(planned) == ["keep", "0/stop", "claims", "services", "release", "namespace", "until"]
    assert planned.cost_after == planned.cost_before == 0.8


def test_deleting_the_disks_is_the_point_of_no_return_and_comes_after_everything_that_can_be_undone() -> None:
    planned = plan(RUNNING, delete_disks=True)
    assert ids(planned) == ["0/stop", "claims", "services", "disks", "release", "secrets", "namespace"]
    assert [step.id for step in planned.steps if step.point_of_no_return] == ["db/disks"]
    assert planned.cost_after == 0
    assert "the data on 1 disk is lost" in planned.risk


def test_what_only_rests_for_its_time_is_left_alone() -> None:
    planned = plan(KEPT)
    assert planned.steps == []
    assert planned.exists == ["db is deleted already; what it left is kept for its time"]


def test_kept_disks_can_still_be_deleted_for_good() -> None:
    assert "disks" in ids(plan(KEPT, delete_disks=True))


def test_a_disk_that_is_kept_already_is_not_given_more_time() -> None:
    both = RUNNING.model_copy(update={"disks": [disk(0), disk(1, claim="", kept=True)]})
    titles = [step.title for step in plan(both).steps]
    assert "mark the 1 disk of db as kept" in titles


def test_an_unknown_component_is_named() -> None:
    planned = plan(RUNNING, components=["web"])
    assert planned.refused == ["there is no component 'web' in shop"]
    assert planned.impossible


def test_without_a_record_the_plan_says_that_there_is_no_way_back() -> None:
    planned = plan(RUNNING)
    assert planned.notes == ["db has no recorded release, so its delete cannot be undone"]
    assert {step.undo for step in planned.steps if step.id.endswith(("stop", "claims", "release"))} == {""}


def test_a_disk_costs_what_it_was_provisioned_with() -> None:
    fast = RUNNING.model_copy(update={"disks": [disk(0, iops=6000)]})
    assert plan(fast).cost_before == 0.8 + 15
