"""What the policy says about a plan. Pure."""

from datetime import timedelta
from typing import Any

from plan_facts import facts_for
from story_desk import app_of

from activities.models.facts import ComponentFacts, DeleteFacts, ExistingDisk
from activities.models.policies import Policy, Rule
from workflows.models.operations import DeleteRequest, DeployRequest, OperationKind, OperationRequest
from workflows.planning.delete import plan_delete
from workflows.planning.deploy import plan_deploy
from workflows.policy import Verdict, judge


def verdict(*rules: dict[str, Any], **part: Any) -> Verdict:
    app = app_of(part)
    request = OperationRequest(
        id="op-1",
        kind=OperationKind.DEPLOY,
        cluster="c",
        app="shop",
        requester="somebody",
        deploy=DeployRequest(app=app),
    )
    named = [Rule(**{"name": f"rule{number}", **rule}) for number, rule in enumerate(rules)]
    return judge(Policy(rules=named), request, plan_deploy(app, facts_for(), "op-1"))


def verdict_on_delete(*sizes_gib: int, kept: int = 0, delete_disks: bool = True, **rule: Any) -> Verdict:
    """About a delete of one instance for each disk, and of one disk of `kept` GiB that an earlier delete left."""
    known: dict[str, Any] = {"blueprint": "data", "claim": "", "zone": "z", "type": "st1"}
    disks = [ExistingDisk(id=f"v{n}", instance=n, size_gib=size, **known) for n, size in enumerate(sizes_gib)]
    if kept:
        disks.append(ExistingDisk(id="kept", instance=0, size_gib=kept, kept=True, **known))
    found = ComponentFacts(component="db", instances=list(range(len(sizes_gib))), claims=[], disks=disks)
    facts = DeleteFacts(
        app="shop", tenant="default", components=[found], retention_seconds=60, prices={}, priced_on=""
    )
    what = DeleteRequest(app="shop", delete_disks=delete_disks)
    request = OperationRequest(
        id="op-1", kind=OperationKind.DELETE, cluster="c", app="shop", requester="somebody", delete=what
    )
    return judge(Policy(rules=[Rule(name="rule", **rule)]), request, plan_delete(what, facts))


def test_without_rules_everything_passes() -> None:
    assert verdict() == Verdict()


def test_a_rule_without_selectors_applies_to_everything() -> None:
    assert len(verdict({}).needs_approval) == 1


def test_selectors_must_all_match() -> None:
    assert verdict({"kinds": ["deploy"], "apps": ["other"]}).needs_approval == []
    assert len(verdict({"kinds": ["deploy"], "apps": ["shop", "other"]}).needs_approval) == 1
    assert verdict({"kinds": ["delete"]}).needs_approval == []


def test_any_threshold_reached_is_enough_and_is_named() -> None:
    rule = {"disk_gib_at_least": 500, "instances_at_least": 2}
    (why,) = verdict(rule, instances=2).needs_approval
    assert "2 instances (from 2)" in why
    assert verdict(rule, instances=1).needs_approval == []


def test_a_cost_threshold_looks_at_the_increase() -> None:
    rule = {"cost_increase_at_least": 1.0}
    assert len(verdict(rule, instances=2).needs_approval) == 1
    assert verdict(rule, instances=1).needs_approval == []


def test_several_rules_are_all_satisfied_by_whom_all_name_in_the_shortest_time() -> None:
    seen = verdict(
        {"approvers": ["lead", "oncall"], "approval_lives": "2h"},
        {"approvers": ["oncall"], "not_requester": True},
    )
    assert seen.approvers == ["oncall"]
    assert seen.not_requester
    assert seen.lives == timedelta(hours=2)


def test_rules_without_a_common_approver_refuse_instead_of_waiting_for_ever() -> None:
    seen = verdict({"approvers": ["lead"]}, {"approvers": ["oncall"]})
    assert "no approver in common" in seen.refused[0]


def test_a_delete_is_judged_by_the_disks_that_it_deals_with() -> None:
    assert verdict_on_delete(10, 500, disk_gib_at_least=500).needs_approval == [
        "rule 'rule': a disk of 500 GiB (from 500)"
    ]
    assert verdict_on_delete(10, 499, disk_gib_at_least=500).needs_approval == []
    assert len(verdict_on_delete(10, kept=500, disk_gib_at_least=500).needs_approval) == 1
    spared = verdict_on_delete(10, kept=500, delete_disks=False, disk_gib_at_least=500)
    assert spared.needs_approval == [], "the disk that is kept already is not touched"


def test_a_delete_is_judged_by_the_instances_that_it_stops() -> None:
    assert len(verdict_on_delete(10, 10, action="refuse", instances_at_least=2).refused) == 1
    assert verdict_on_delete(10, action="refuse", instances_at_least=2).refused == []


def test_a_cost_that_nobody_knows_may_be_above_any_threshold() -> None:
    slow = {"volumes": [{"name": "data", "size": "500Gi", "type": "st1"}]}
    (why,) = verdict({"cost_increase_at_least": 1000.0}, **slow).needs_approval
    assert "nobody knows the price of st1 disks (from 1000.00)" in why
    assert verdict({"disk_gib_at_least": 1000}, **slow).needs_approval == []


def test_a_delete_makes_nothing_dearer_whatever_its_disks_cost() -> None:
    assert verdict_on_delete(10, cost_increase_at_least=1.0).needs_approval == []
    assert verdict_on_delete(10, delete_disks=False, cost_increase_at_least=1.0).needs_approval == []
