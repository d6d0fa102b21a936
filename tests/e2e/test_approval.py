"""What the policy wants approved waits for a person, without the lock, and what was approved is what is done."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from starter.snapshots import Snapshot
from tests.e2e.pictures import disks_made, leftovers
from tests.e2e.stage import Stage, marks, small_app
from tests.sandboxes import Said
from workflows.models.operations import OperationRecord, OperationState

pytestmark = marks()

POLICY = """
[[rules]]
name = "more than one instance"
kinds = ["deploy"]
instances_at_least = 2
approvers = ["olga", "pete"]
not_requester = true

[[rules]]
name = "nobody is awake"
apps = ["hasty"]
approval_lives = "3s"

[[rules]]
name = "never"
apps = ["forbidden"]
action = "refuse"
"""


_numbers = itertools.count(1)


@pytest.fixture
async def waiting(stage: Stage) -> AsyncIterator[OperationRecord]:
    """A deploy that waits for its approval, of an app of the same name."""
    stage.policy.write_text(POLICY)
    app = f"guarded-{next(_numbers)}"
    operation = await stage.bench.deploy(small_app(app), app)
    yield (await stage.bench.until(operation, _waits)).record
    await stage.clear(app)


def _waits(snapshot: Snapshot) -> bool:
    return snapshot.record.state is OperationState.WAITING_FOR_APPROVAL


async def _approve(stage: Stage, record: OperationRecord, *, by: str = "olga", **more: str) -> Said:
    assert record.plan is not None
    said = {"reason": "it is needed", "plan-hash": record.plan.hash} | more
    options = [word for key, value in said.items() for word in (f"--{key}", value)]
    return await stage.cli("op", "approve", record.id, *options, "--as", by)


async def test_an_approved_plan_is_carried_out(stage: Stage, waiting: OperationRecord) -> None:
    shown = await stage.cli("op", "show", waiting.id)
    assert "needed because rule 'more than one instance': 2 instances" in shown.out
    assert "may be given by olga, pete other than tester" in shown.out
    assert leftovers(stage.sandbox, waiting.app) == [], "nothing is touched before the approval"
    said = await _approve(stage, waiting)
    assert said.code == 0, said.err
    record = await stage.bench.ended(waiting.id)
    assert record.state is OperationState.SUCCEEDED
    assert record.plan == waiting.plan
    assert record.approval is not None
    assert (record.approval.granted_by, record.approval.reason) == ("olga", "it is needed")


async def test_an_approval_that_is_not_valid_is_refused(stage: Stage, waiting: OperationRecord) -> None:
    no_reason, wrong_hash, not_named, silent = await asyncio.gather(
        _approve(stage, waiting, reason="  "),
        _approve(stage, waiting, **{"plan-hash": "0123456789abcdef"}),
        _approve(stage, waiting, by="tester"),
        stage.cli("op", "approve", waiting.id, "--reason", "why not", "--as", "olga"),
    )
    assert (no_reason.code, "an approval needs a reason" in no_reason.err) == (2, True)
    assert (wrong_hash.code, "is not that of the plan in question" in wrong_hash.err) == (4, True)
    assert (not_named.code, "tester may not approve this; olga, pete may" in not_named.err) == (4, True)
    assert (silent.code, "nobody is there to look at the plan" in silent.err) == (2, True)
    still = await stage.bench.operations.get(waiting.id)
    assert still.state is OperationState.WAITING_FOR_APPROVAL
    rejected = await stage.cli("op", "reject", waiting.id, "--reason", "not today", "--as", "pete")
    assert rejected.code == 0
    record = await stage.bench.ended(waiting.id)
    assert record.state is OperationState.DECLINED
    assert record.explanation == "rejected by pete: not today"
    assert (await stage.cli("op", "watch", waiting.id)).code == 5
    assert leftovers(stage.sandbox, waiting.app) == []


async def test_an_approval_that_waits_holds_no_lock(stage: Stage, waiting: OperationRecord) -> None:
    single = await stage.bench.deploy(small_app(waiting.app, instances=1), f"{waiting.app}-single")
    assert (await stage.bench.ended(single)).state is OperationState.SUCCEEDED
    said = await _approve(stage, waiting)
    assert said.code == 0
    # What was approved rested on a cluster without that component, so it is planned anew, and does not fit.
    record = await stage.bench.ended(waiting.id)
    assert record.state is OperationState.REFUSED
    assert "is deployed already" in record.explanation
    assert len(disks_made(stage.sandbox, waiting.app)) == 1


async def test_nobody_answers_in_time(stage: Stage) -> None:
    stage.policy.write_text(POLICY)
    operation = await stage.bench.deploy(small_app("hasty", instances=1), "hasty")
    record = await stage.bench.ended(operation, seconds=30)
    assert record.state is OperationState.DECLINED
    assert "the approval expired" in record.explanation
    assert leftovers(stage.sandbox, "hasty") == []


async def test_what_the_policy_forbids_is_refused(stage: Stage) -> None:
    stage.policy.write_text(POLICY)
    operation = await stage.bench.deploy(small_app("forbidden", instances=1), "forbidden")
    record = await stage.bench.ended(operation)
    assert record.state is OperationState.REFUSED
    assert "rule 'never'" in record.explanation
    assert leftovers(stage.sandbox, "forbidden") == []


async def test_a_changed_cluster_voids_the_approval(stage: Stage, waiting: OperationRecord) -> None:
    zone = _zones(waiting)[0]
    await _usable(stage, zone, False)
    try:
        assert (await _approve(stage, waiting)).code == 0
        again = await stage.bench.until(
            waiting.id, lambda seen: _waits(seen) and _hash(seen.record) != _hash(waiting)
        )
        assert "the approval is void" in "\n".join(event.what for event in again.record.history)
        stale = await _approve(stage, waiting)
        assert (stale.code, "is not that of the plan in question" in stale.err) == (4, True)
        assert leftovers(stage.sandbox, waiting.app) == [], "it touched something without an approval"
    finally:
        await _usable(stage, zone, True)
    # And the other way: what was planned without the zone is void with it.
    assert (await _approve(stage, again.record)).code == 0
    third = await stage.bench.until(
        waiting.id, lambda seen: _waits(seen) and _hash(seen.record) != _hash(again.record)
    )
    assert (await _approve(stage, third.record)).code == 0
    assert (await stage.bench.ended(waiting.id)).state is OperationState.SUCCEEDED


async def test_an_autoscaler_does_not_void_an_approval(stage: Stage, waiting: OperationRecord) -> None:
    machine = await _another_machine(stage)
    try:
        assert (await _approve(stage, waiting)).code == 0
        record = await stage.bench.ended(waiting.id)
    finally:
        await _ended_machine(stage, machine)
    assert (record.state, record.plan) == (OperationState.SUCCEEDED, waiting.plan)


def _zones(record: OperationRecord) -> list[str]:
    assert record.plan is not None
    return [one.zone for component in record.plan.components for one in component.instances]


async def _usable(stage: Stage, zone: str, usable: bool) -> None:
    """Let pods on the nodes of a zone again, or no more, as before the work on all of its machines."""
    for node in stage.sandbox.api.items("/api/v1/nodes"):
        if node["metadata"]["labels"].get("topology.kubernetes.io/zone") == zone:
            path = f"/api/v1/nodes/{node['metadata']['name']}"
            await asyncio.to_thread(stage.sandbox.api.patch, path, {"spec": {"unschedulable": not usable}})


def _hash(record: OperationRecord) -> str:
    return record.plan.hash if record.plan else ""


async def _another_machine(stage: Stage) -> str:
    """One more machine beside an existing one, as an autoscaler or a person would add it; its id."""
    pages = stage.sandbox.ec2.get_paginator("describe_instances").paginate()
    running = [i for page in pages for r in page["Reservations"] for i in r["Instances"]]
    like = next(one for one in running if one["State"]["Name"] == "running")
    answer = stage.sandbox.ec2.run_instances(
        ImageId=like["ImageId"],
        InstanceType=like["InstanceType"],
        MinCount=1,
        MaxCount=1,
        Placement={"AvailabilityZone": like["Placement"]["AvailabilityZone"]},
        TagSpecifications=[{"ResourceType": "instance", "Tags": like["Tags"]}],
    )
    machine = str(answer["Instances"][0]["InstanceId"])
    await _until_node(stage, machine, there=True)
    return machine


async def _ended_machine(stage: Stage, machine: str) -> None:
    stage.sandbox.ec2.terminate_instances(InstanceIds=[machine])
    await _until_node(stage, machine, there=False)


async def _until_node(stage: Stage, machine: str, there: bool) -> None:
    async with asyncio.timeout(60):
        while (machine in _ready_machines(stage)) is not there:
            await asyncio.sleep(0.2)


def _ready_machines(stage: Stage) -> set[str]:
    return {
        str(node["spec"].get("providerID", "")).rpartition("/")[2]
        for node in stage.sandbox.api.items("/api/v1/nodes")
        for condition in node["status"].get("conditions", [])
        if (condition["type"], condition["status"]) == ("Ready", "True")
    }
