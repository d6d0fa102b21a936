"""What a delete plan decides: what is stopped, what is kept, what is left alone. Pure."""

from typing import Any

from story_desk import app_of

from activities.models.facts import ComponentFacts, DeleteFacts, DiskPrice, ExistingDisk
from activities.models.instances import ReleaseRecord
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
RECORD = ReleaseRecord(
    release=1,
    operation="op-0",
    requester="somebody",
    recorded_at="",
    tenant="default",
    component=app_of().components[0],
    zones=["z"],
    claims=[{}],
    volumes=[{}],
)
WEB = ComponentFacts(component="db", instances=[0], claims=[], disks=[], record=RECORD, secrets=["db.key"])


def decisive(planned: Plan) -> list[str]:
    return [step.id.removeprefix("db/") for step in planned.steps if step.point_of_no_return]


def ids(planned: Plan) -> list[str]:
    return [step.id.removeprefix("db/") for step in planned.steps]


def test_what_holds_data_is_kept_first_and_its_time_is_set_last() -> None:
    planned = plan(RUNNING)
    assert ids(planned) == ["keep", "0/stop", "claims", "services", "release", "namespace", "until"]
    assert planned.cost_after == planned.cost_before == 0.8


def test_deleting_the_disks_is_the_point_of_no_return_and_comes_after_everything_that_can_be_undone() -> None:
    planned = plan(RUNNING, delete_disks=True)
    assert ids(planned) == ["0/stop", "claims", "services", "disks", "release", "secrets", "namespace"]
    assert decisive(planned) == ["disks", "secrets"]
    assert planned.cost_after == 0
    assert "the data on 1 disk is lost" in planned.risk
    assert (
        planned.can_be_undone
        == "in part, until the first disk or secret is deleted: no release is recorded of db"
    )


def test_deleting_the_secrets_is_the_point_of_no_return_where_there_are_no_disks() -> None:
    planned = plan(WEB, delete_disks=True)
    assert decisive(planned) == ["secrets"]
    assert planned.can_be_undone == "all of it, until the first secret is deleted"
    assert planned.risk == "low: there are no disks, but its secrets are lost"


def test_where_disks_and_secrets_are_kept_there_is_no_point_of_no_return() -> None:
    for found in (RUNNING.model_copy(update={"record": RECORD}), WEB):
        planned = plan(found)
        assert decisive(planned) == []
        assert planned.can_be_undone == "all of it, until it has succeeded"
    assert planned.risk == "low: there are no disks"
    assert plan(RUNNING).can_be_undone.startswith("in part, until it has succeeded")
    assert plan(KEPT).can_be_undone == ""


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


def test_a_disk_without_a_known_price_is_named() -> None:
    slow = RUNNING.model_copy(update={"disks": [disk(0, type="st1")]})
    assert "the price list has no st1 disks; what they cost is not in the sum" in plan(slow).notes
