"""What the policy says about a plan. Pure."""

from datetime import timedelta
from typing import Any

from plan_facts import facts_for
from story_desk import app_of

from activities.models.policies import Policy, Rule
from workflows.models.operations import DeployRequest, OperationKind, OperationRequest
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
