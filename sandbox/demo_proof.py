"""What the demo promises, held against what was measured: pure functions over the product's JSON documents and
the simulated cloud's log of calls. Called by `sandbox.demo`; the tests give it documents that break a promise.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

Json = dict[str, Any]

INSTANCES = 3
ZONES = 3


@dataclass(frozen=True)
class StepRun:
    """One step as it was carried out; `worker` is the identity of the one that finished it."""

    id: str
    title: str
    state: str
    seconds: float
    attempts: int
    worker: str
    interrupted: bool


@dataclass(frozen=True)
class Activity:
    """What the history says about one activity."""

    begun: datetime | None = None
    ended: datetime | None = None
    attempts: int = 0
    worker: str = ""


@dataclass(frozen=True)
class Evidence:
    """Everything that the verdict rests on: `app` and `operation` as the product tells them, the pids of the
    worker before and after the kill, and the disks that the cloud's own log says were made. On real nodes also what
    was `written` before the kill, and what each instance answers when it is `read` at the end."""

    app: Json
    operation: Json
    steps: list[StepRun]
    killed_pid: int
    new_pid: int
    made: list[str]
    written: str | None = None
    read: list[str] = field(default_factory=list)


def problems(evidence: Evidence) -> list[str]:
    """What is not as promised, one sentence each; empty when all is well."""
    state = evidence.operation["state"]
    found = [] if state == "succeeded" else [f"the operation is {state}: {evidence.operation['explanation']}"]
    return found + _instances(evidence) + _disks(evidence) + _worker(evidence) + _data(evidence)


def step_runs(export: Json, killed_at: datetime) -> list[StepRun]:
    """The steps of an exported operation; one whose activity was under way at `killed_at` was interrupted."""
    activities = _activities(export["histories"])
    planned = (export["operation"]["plan"] or {}).get("components", [])
    # The record of an operation that has ended leaves the words of its steps to its plan.
    titles = {step["id"]: step["title"] for component in planned for step in component["steps"]}
    return [
        _step_run(step, titles, activities.get(step["step"]["id"], Activity()), killed_at)
        for component in export["operation"]["components"]
        for step in component["steps"]
    ]


def instances_of(app: Json) -> list[Json]:
    """The instances of an app's every component."""
    return [instance for component in app["components"] for instance in component["instances"]]


def disks_of(app: Json) -> list[Json]:
    """The disks in use; those kept after an earlier delete are no part of what runs."""
    return [disk for disk in app["disks"] if disk["keep_until"] is None]


def made_by(calls: list[Json]) -> list[str]:
    """The disks that CreateVolume calls made. A repeated call answers with the disk of the first."""
    return sorted({volume for call in calls if call["action"] == "CreateVolume" for volume in call["made"]})


def attached_by(calls: list[Json]) -> set[str]:
    """The disks that AttachVolume calls were accepted for."""
    accepted = [call for call in calls if call["action"] == "AttachVolume" and call["outcome"] == "ok"]
    return {call["params"]["VolumeId"] for call in accepted}


def _instances(evidence: Evidence) -> list[str]:
    instances = instances_of(evidence.app)
    ready = [one for one in instances if one["ready"]]
    zones = {one["zone"] for one in instances}
    found = []
    if len(ready) != INSTANCES or len(instances) != INSTANCES:
        found.append(f"{len(ready)} of {len(instances)} instances are ready; {INSTANCES} were asked for")
    if len(zones) != ZONES:
        found.append(f"the instances are in {len(zones)} zones ({', '.join(sorted(zones))}), not in {ZONES}")
    return found


def _disks(evidence: Evidence) -> list[str]:
    disks = disks_of(evidence.app)
    nodes = {(one["component"], one["instance"]): one["node"] for one in instances_of(evidence.app)}
    found = []
    if len(disks) != INSTANCES:
        found.append(f"there are {len(disks)} disks; {INSTANCES} were asked for")
    for disk in disks:
        where = nodes.get((disk["component"], disk["instance"]))
        if disk["state"] != "in-use" or not disk["node"] or disk["node"] != where:
            found.append(
                f"disk {disk['id']} is {disk['state']} on {disk['node'] or 'no node'}, its instance on {where}"
            )
    if sorted(disk["id"] for disk in disks) != evidence.made:
        found.append(
            f"the cloud made {len(evidence.made)} disks ({', '.join(evidence.made)}), not the ones in use"
        )
    return found


def _data(evidence: Evidence) -> list[str]:
    if evidence.written is None:
        return []
    if len(evidence.read) != INSTANCES:
        return [f"data was read from {len(evidence.read)} instances, not from {INSTANCES}"]
    return [
        f"instance {number} answers {answer!r}, not {evidence.written!r}, which was written before the kill"
        for number, answer in enumerate(evidence.read)
        if answer != evidence.written
    ]


def _worker(evidence: Evidence) -> list[str]:
    interrupted = [step for step in evidence.steps if step.interrupted]
    found = []
    if evidence.killed_pid == evidence.new_pid:
        found.append(f"the worker is still the same process ({evidence.new_pid})")
    if not interrupted:
        found.append("the kill interrupted no step")
    found += [
        f"step {step.id} was interrupted, and {step.worker or 'nobody'} finished it instead of the new worker"
        for step in interrupted
        if not step.worker.endswith(f"-{evidence.new_pid}")
    ]
    return found + [f"step {step.id} is {step.state}" for step in evidence.steps if step.state != "done"]


def _activities(histories: dict[str, list[Json]]) -> dict[str, Activity]:
    """By activity id, which for a step's activity is the step's."""
    found: dict[str, Activity] = {}
    for events in histories.values():
        ids: dict[str, str] = {}
        for event in events:
            if scheduled := event.get("activityTaskScheduledEventAttributes"):
                ids[event["eventId"]] = scheduled["activityId"]
                found[scheduled["activityId"]] = Activity(begun=_moment(event["eventTime"]))
            # The server writes this event when the activity has ended, so it is about the last attempt.
            elif started := event.get("activityTaskStartedEventAttributes"):
                key = ids[started["scheduledEventId"]]
                attempts, worker = int(started.get("attempt", 1)), str(started.get("identity", ""))
                found[key] = replace(found[key], attempts=attempts, worker=worker)
            elif completed := event.get("activityTaskCompletedEventAttributes"):
                key = ids[completed["scheduledEventId"]]
                found[key] = replace(found[key], ended=_moment(event["eventTime"]))
    return found


def _step_run(step: Json, titles: dict[str, str], activity: Activity, killed_at: datetime) -> StepRun:
    key = step["step"]["id"]
    begun, ended = _moment(step["started_at"]), _moment(step["ended_at"])
    # A step whose activity had ended was not interrupted, even if the dead worker did not come to note that.
    under_way = activity.begun is not None and activity.begun <= killed_at
    return StepRun(
        id=key,
        title=step["step"]["title"] or titles.get(key, key),
        state=step["state"],
        seconds=(ended - begun).total_seconds() if begun and ended else 0.0,
        attempts=activity.attempts,
        worker=activity.worker,
        interrupted=under_way and (activity.ended is None or activity.ended > killed_at),
    )


def _moment(text: str | None) -> datetime | None:
    # Temporal writes nanoseconds, which Python reads and cuts.
    return datetime.fromisoformat(text) if text else None
