"""The main job from end to end, as a user does it at a terminal: deploy, look, delete; and what is kept of it."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.pictures import disks, disks_made, leftovers, secret_values, tags_of
from tests.e2e.stage import Stage, app_document, marks, small_app
from workflows.models.operations import OperationRecord, OperationState

pytestmark = marks()


async def test_a_recipe_is_deployed_shown_and_deleted(stage: Stage) -> None:
    deployed = await stage.cli("app", "deploy", "--recipe", "redis", "--app", "cache", "-y", "-w")
    assert deployed.code == 0, deployed.out + deployed.err
    assert "deploy cache: redis (3 instances); 3 disks, 30 GiB" in deployed.out
    assert all(f"see redis-{n} ready: done" in deployed.err for n in range(3)), "progress goes to stderr"

    view = (await stage.cli("app", "show", "cache", "--json")).json
    [component] = view["components"]
    assert [one["ready"] for one in component["instances"]] == [True] * 3
    assert len({one["zone"] for one in component["instances"]}) == 3, "one in each zone"
    assert [one["address"] for one in component["instances"]] == [f"redis-{n}.cache.svc" for n in range(3)]

    listed = (await stage.cli("disk", "list", "--app", "cache", "--json")).json
    there = {disk["VolumeId"]: disk for disk in disks(stage.sandbox, "cache")}
    assert {disk["id"] for disk in listed} == set(there) == set(disks_made(stage.sandbox, "cache"))
    for disk in listed:
        [attachment] = there[disk["id"]]["Attachments"]
        assert (disk["machine"], attachment["State"]) == (attachment["InstanceId"], "attached")
        assert disk["node"] == component["instances"][disk["instance"]]["node"]
        assert disk["zone"] == component["instances"][disk["instance"]]["zone"]

    deleted = await stage.cli("app", "delete", "cache", "-y", "-w")
    assert deleted.code == 0, deleted.out + deleted.err
    kept = (await stage.cli("disk", "list", "--app", "cache", "--json")).json
    assert {disk["id"] for disk in kept} == set(there)
    [until] = {disk["keep_until"] for disk in kept}
    week = datetime.fromisoformat(until) - datetime.now(UTC)
    assert timedelta(days=6.9) < week < timedelta(days=7), "the retention of the settings, which is a week"
    assert f"kept until {datetime.fromisoformat(until):%Y-%m-%d %H:%M} UTC" in deleted.err
    assert [disk["State"] for disk in disks(stage.sandbox, "cache")] == ["available"] * 3
    assert {thing.split()[0] for thing in leftovers(stage.sandbox, "cache")} == {
        "Namespace",
        "Secret",
        "disk",
    }


async def test_a_delete_with_its_disks_leaves_nothing(stage: Stage) -> None:
    await stage.bench.ended(await stage.bench.deploy(small_app("short-lived"), "deploy-short-lived"))
    assert len(disks(stage.sandbox, "short-lived")) == 2
    deleted = await stage.cli("app", "delete", "short-lived", "--delete-disks", "-y", "-w")
    assert deleted.code == 0, deleted.out + deleted.err
    assert leftovers(stage.sandbox, "short-lived") == []
    gone = await stage.cli("app", "show", "short-lived")
    assert (gone.code, "there is no app 'short-lived'" in gone.err) == (2, True)


async def test_components_begin_when_those_they_come_after_are_done(stage: Stage, tmp_path: Path) -> None:
    document = app_document("shop", instances=1)
    [db] = document["components"]
    document["components"] = [
        db | {"name": "api", "after": ["db"]},
        db,
    ]
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(document))
    said = await stage.cli("app", "deploy", "-f", str(path), "-y", "-w", "--json")
    assert said.code == 0, said.err
    record = OperationRecord.model_validate(said.json)
    times = {
        run.component: (
            min(step.started_at for step in run.steps if step.started_at),
            max(step.ended_at for step in run.steps if step.ended_at),
        )
        for run in record.components
    }
    assert times["db"][1] <= times["api"][0]
    assert len(disks(stage.sandbox, "shop")) == 2
    one = await stage.cli("app", "delete", "shop", "--component", "api", "--delete-disks", "-y", "-w")
    assert one.code == 0, one.out
    names = {tags_of(disk)["supergiant.io/component"] for disk in disks(stage.sandbox, "shop")}
    assert names == {"db"}
    await stage.cleared("shop")
    assert leftovers(stage.sandbox, "shop") == []


async def test_one_of_several_components_that_fails_takes_all_back(stage: Stage) -> None:
    document = app_document("all-or-none", instances=1)
    [db] = document["components"]
    document["components"] = [db, db | {"name": "api", "after": ["db"]}]
    fault = {"action": "CreateVolume", "resource": "all-or-none/api-0-", "code": "VolumeLimitExceeded"}
    stage.sandbox.admin.add_fault("error", count=None, **fault)
    path = stage.policy.with_name("all-or-none.yaml")
    path.write_text(yaml.safe_dump(document))
    said = await stage.cli("app", "deploy", "-f", str(path), "-y", "-w", "--on-failure", "undo")
    assert said.code == 1, said.out
    assert leftovers(stage.sandbox, "all-or-none") == []
    assert len(disks_made(stage.sandbox, "all-or-none")) == 1, "the first component had its disk"


async def test_the_same_id_twice_is_one_operation(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(yaml.safe_dump(app_document("twice", instances=1)))
    command = ("app", "deploy", "-f", str(path), "--id", "only-once", "-y", "-w")
    first = await stage.cli(*command)
    second = await stage.cli(*command)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "this is the same one" in second.err
    rows = (await stage.cli("op", "list", "--app", "twice", "--json")).json
    assert [row["id"] for row in rows] == ["only-once"]
    assert len(disks_made(stage.sandbox, "twice")) == 1
    path.write_text(yaml.safe_dump(app_document("twice", instances=2)))
    other = await stage.cli(*command)
    assert (other.code, "was used for another request" in other.err) == (2, True)
    await stage.clear("twice")


async def test_the_record_can_be_kept(stage: Stage, tmp_path: Path) -> None:
    operation = await stage.bench.deploy(small_app("told", instances=1), "told", reason="for the record")
    await stage.bench.ended(operation)
    said = await stage.cli("op", "export", operation, "-o", str(tmp_path / "told.json"))
    assert said.code == 0, said.err
    kept = json.loads((tmp_path / "told.json").read_text())
    record = OperationRecord.model_validate(kept["operation"])
    assert (record.state, record.requester, record.reason) == (
        OperationState.SUCCEEDED,
        "tester",
        "for the record",
    )
    assert record.plan is not None
    [run] = record.components
    assert [step.step for step in run.steps] == record.plan.steps, "what was planned is what was done"
    assert set(kept["histories"]) == {f"op/{operation}", "component/sandbox/told/db"}
    assert all(len(events) > 10 for events in kept["histories"].values())
    await stage.clear("told")


async def test_nothing_secret_is_written_down(stage: Stage) -> None:
    """In no history of any operation of the session, no log, no object but the Secret itself."""
    operation = await stage.bench.deploy(small_app("secretive", instances=1), "deploy-secretive")
    await stage.bench.ended(operation)
    [in_base64] = secret_values(stage.sandbox, "secretive")
    password = base64.b64decode(in_base64).decode()
    assert len(password) == 32
    key = stage.sandbox.aws_keys[1]
    written = {
        "histories": await _all_histories(stage),
        "release records": json.dumps(stage.sandbox.api.items("/api/v1/configmaps")).encode(),
        "call log": json.dumps(stage.sandbox.admin.calls()).encode(),
        "worker's log": stage.worker.log.read_bytes(),
        "sandbox's logs": b"".join(log.read_bytes() for log in stage.sandbox.layout.logs.iterdir()),
        "settings": stage.settings.read_bytes(),
    }
    # The same search finds what is there: a disk's id in the histories, the component in the records.
    assert disks(stage.sandbox, "secretive")[0]["VolumeId"].encode() in written["histories"]
    assert b"secretive" in written["release records"]
    assert b"CreateVolume" in written["call log"]
    forbidden = {"password": password, "its base64": in_base64, "AWS secret": key, "AWS base64": _base64(key)}
    found = [f"{what} in {where}" for where, text in written.items() for what in _in(text, forbidden)]
    assert found == []
    await stage.clear("secretive")


def _in(text: bytes, forbidden: dict[str, str]) -> list[str]:
    return [what for what, value in forbidden.items() if value.encode() in text]


def _base64(text: str) -> str:
    # The last characters depend on what follows.
    return base64.b64encode(text.encode()).decode()[:-4]


async def _all_histories(stage: Stage) -> bytes:
    """Every payload of every workflow, as the server keeps it."""
    histories: list[Any] = []
    async for execution in stage.bench.client.list_workflows():
        handle = stage.bench.client.get_workflow_handle(execution.id, run_id=execution.run_id)
        histories += (await handle.fetch_history()).events
    return b"".join(event.SerializeToString() for event in histories)
