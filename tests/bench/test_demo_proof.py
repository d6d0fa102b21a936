"""The demo holds what it promises against what was measured; here each promise is broken once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from sandbox.demo_proof import Evidence, Json, attached_by, made_by, problems, step_runs
from sandbox.demo_tables import disks_table, instances_table, steps_table

KILLED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OLD, NEW = 100, 200


def at(seconds: float) -> str:
    return (KILLED_AT + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def app() -> Json:
    zones = ("a", "b", "c")
    return {
        "app": "redis",
        "components": [
            {
                "component": "redis",
                "instances": [
                    {
                        "component": "redis",
                        "instance": number,
                        "ready": True,
                        "node": f"node-{zone}",
                        "zone": zone,
                        "address": f"redis-{number}.redis.svc",
                        "message": "",
                    }
                    for number, zone in enumerate(zones)
                ],
            }
        ],
        "disks": [
            {
                "id": f"vol-{number}",
                "component": "redis",
                "instance": number,
                "blueprint": "data",
                "size_gib": 10,
                "type": "gp3",
                "zone": zone,
                "state": "in-use",
                "machine": f"i-{zone}",
                "node": f"node-{zone}",
                "keep_until": None,
            }
            for number, zone in enumerate(zones)
        ],
    }


def step(key: str, begun: float, ended: float) -> Json:
    return {
        "step": {"id": key, "title": ""},
        "state": "done",
        "started_at": at(begun),
        "ended_at": at(ended),
    }


def events(number: int, key: str, begun: float, ended: float, pid: int, attempt: int = 1) -> list[Json]:
    scheduled = str(number)
    started = {"scheduledEventId": scheduled, "attempt": attempt, "identity": f"worker-{pid}"}
    return [
        {
            "eventId": scheduled,
            "eventTime": at(begun),
            "activityTaskScheduledEventAttributes": {"activityId": key},
        },
        {"eventId": str(number + 1), "eventTime": at(begun), "activityTaskStartedEventAttributes": started},
        {
            "eventId": str(number + 2),
            "eventTime": at(ended),
            "activityTaskCompletedEventAttributes": {"scheduledEventId": scheduled},
        },
    ]


def export() -> Json:
    return {
        "operation": {
            "state": "succeeded",
            "explanation": "",
            "asked_at": at(-6),
            "ended_at": at(9),
            "plan": {
                "components": [{"steps": [{"id": "redis/0/attached", "title": "see the disks attached"}]}]
            },
            "components": [
                {
                    "component": "redis",
                    # The story notes the claim's end late, because the worker died before it could.
                    "steps": [
                        step("redis/0/claim/data", -2, 4),
                        step("redis/0/attached", -1, 6),
                        step("redis/0/ready", 6, 8),
                    ],
                }
            ],
        },
        "histories": {
            "component/sandbox/redis/redis": [
                *events(1, "redis/0/claim/data", -2, -0.5, OLD),
                *events(4, "redis/0/attached", -1, 5, NEW, attempt=2),
                *events(7, "redis/0/ready", 6, 8, NEW),
            ]
        },
    }


def evidence() -> Evidence:
    found = export()
    return Evidence(
        app=app(),
        operation=found["operation"],
        steps=step_runs(found, KILLED_AT),
        killed_pid=OLD,
        new_pid=NEW,
        made=["vol-0", "vol-1", "vol-2"],
    )


def test_a_demo_in_which_everything_is_as_promised_has_no_problems() -> None:
    assert problems(evidence()) == []


def test_only_the_step_whose_work_was_under_way_counts_as_interrupted() -> None:
    assert [(one.id, one.interrupted) for one in evidence().steps] == [
        ("redis/0/claim/data", False),
        ("redis/0/attached", True),
        ("redis/0/ready", False),
    ]


def test_a_step_tells_how_long_it_took_and_who_finished_it_at_which_attempt() -> None:
    attached = evidence().steps[1]
    assert (attached.seconds, attached.attempts, attached.worker) == (7.0, 2, f"worker-{NEW}")


def instance(found: Json, **changes: Any) -> None:
    found["components"][0]["instances"][0].update(changes)


def disk(found: Json, **changes: Any) -> None:
    found["disks"][0].update(changes)


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda found: instance(found, ready=False), "2 of 3 instances are ready"),
        (lambda found: found["components"][0]["instances"].pop(), "2 of 2 instances are ready"),
        (lambda found: instance(found, zone="b"), "in 2 zones (b, c)"),
        (lambda found: disk(found, node="", state="available"), "disk vol-0 is available on no node"),
        (lambda found: disk(found, node="node-b"), "disk vol-0 is in-use on node-b, its instance on node-a"),
        (lambda found: disk(found, keep_until=at(900)), "there are 2 disks"),
    ],
)
def test_an_app_that_is_not_as_promised_is_a_problem(breaks: Callable[[Json], None], said: str) -> None:
    found = evidence()
    breaks(found.app)
    assert any(said in problem for problem in problems(found)), problems(found)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"made": ["vol-0", "vol-1", "vol-2", "vol-3"]}, "the cloud made 4 disks"),
        ({"made": ["vol-0", "vol-1", "vol-9"]}, "not the ones in use"),
        ({"new_pid": OLD}, f"still the same process ({OLD})"),
        ({"new_pid": 300}, f"worker-{NEW} finished it instead of the new worker"),
        ({"steps": []}, "the kill interrupted no step"),
        ({"operation": {"state": "undone", "explanation": "no quota"}}, "the operation is undone: no quota"),
    ],
)
def test_an_operation_that_did_not_survive_as_promised_is_a_problem(
    changes: dict[str, Any], said: str
) -> None:
    found = replace(evidence(), **changes)
    assert any(said in problem for problem in problems(found)), problems(found)


def test_a_step_that_was_skipped_is_a_problem() -> None:
    found = evidence()
    skipped = [replace(found.steps[0], state="skipped"), *found.steps[1:]]
    assert problems(replace(found, steps=skipped)) == ["step redis/0/claim/data is skipped"]


def test_data_that_is_read_from_every_instance_as_it_was_written_is_no_problem() -> None:
    assert problems(replace(evidence(), written="before", read=["before"] * 3)) == []


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (["before", "", "before"], "instance 1 answers '', not 'before'"),
        (["before"], "data was read from 1 instances, not from 3"),
    ],
)
def test_data_that_does_not_come_back_is_a_problem(read: list[str], said: str) -> None:
    found = problems(replace(evidence(), written="before", read=read))
    assert any(said in problem for problem in found), found


def test_a_repeated_request_for_a_disk_is_not_counted_twice() -> None:
    calls = [
        {"action": "CreateVolume", "outcome": "ok", "made": ["vol-1"], "params": {}},
        {"action": "CreateVolume", "outcome": "dropped", "made": ["vol-2"], "params": {}},
        {"action": "CreateVolume", "outcome": "ok", "made": ["vol-2"], "params": {}},
        {"action": "RunInstances", "outcome": "ok", "made": ["i-1"], "params": {}},
    ]
    assert made_by(calls) == ["vol-1", "vol-2"]


def test_an_attachment_that_was_refused_is_not_counted() -> None:
    calls = [
        {"action": "AttachVolume", "outcome": "ok", "made": [], "params": {"VolumeId": "vol-1"}},
        {"action": "AttachVolume", "outcome": "400", "made": [], "params": {"VolumeId": "vol-2"}},
        {"action": "DetachVolume", "outcome": "ok", "made": [], "params": {"VolumeId": "vol-3"}},
    ]
    assert attached_by(calls) == {"vol-1"}


def test_the_tables_show_in_a_pipe_what_a_person_looks_for() -> None:
    found = evidence()
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(instances_table(found.app))
        console.print(disks_table(found.app))
        console.print(steps_table(found.steps, found.operation, OLD))
    lines = capture.get().splitlines()
    words = [set(line.split()) for line in lines]
    assert any({"redis-1", "ready", "node-b", "b", "redis-1.redis.svc"} <= line for line in words)
    assert any({"vol-2", "redis-2/data", "10", "gp3", "c", "node-c"} <= line for line in words)
    interrupted = [line for line in lines if f"interrupted in worker {OLD}" in line]
    assert len(interrupted) == 1
    assert "see the disks attached" in interrupted[0]
    assert "7.0 s" in interrupted[0]
    assert any("from asking to success" in line and "15.0 s" in line for line in lines)
