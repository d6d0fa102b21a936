"""What the hypervisor makes of what EC2 says: machines on, off, gone, and left alone when they were broken."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.layout import Layout
from sandbox.nodes import cgroups, hypervisor, links
from sandbox.nodes.ec2 import Ec2Error, Instance, Volume
from sandbox.nodes.hypervisor import Hypervisor
from sandbox.nodes.network import Network
from sandbox.nodes.plan import NodePlan, read_plan
from sandbox.nodes.setting import Setting
from sandbox.nodes.volumes import VolumeFiles
from sandbox.processes import Processes


class FakeEc2:
    """Says what a test tells it to say; what nobody told it is refused."""

    def __init__(self) -> None:
        self.instances = dict[str, Instance]()
        self.volumes = dict[str, Volume]()
        self.error: Ec2Error | None = None

    def say(self, instance_id: str, state: str) -> None:
        name = f"{instance_id}.ec2.internal"
        self.instances[instance_id] = Instance(instance_id, state, "us-east-1a", "m7i.large", name)

    def real_instances(self) -> list[Instance]:
        if self.error:
            raise self.error
        return list(self.instances.values())

    def volume(self, volume_id: str) -> Volume | None:
        if self.error:
            raise self.error
        return self.volumes.get(volume_id)

    def attachments_of(self, instance_type: str) -> int:
        assert instance_type == "m7i.large"
        return 26


class FakeMachine:
    """A machine whose power is a file in its folder, so that it outlives the hypervisor as a real one does."""

    switched = list[str]()

    def __init__(self, layout: Layout, plan: NodePlan) -> None:
        self.plan = plan

    @property
    def crashed(self) -> Path:
        return self.plan.home / "crashed"

    @property
    def cut_off(self) -> Path:
        return self.plan.home / "cut-off"

    @property
    def _power(self) -> Path:
        return self.plan.home / "power"

    @contextmanager
    def alone(self) -> Iterator[None]:
        assert self.plan.home.is_dir()
        yield

    def is_on(self) -> bool:
        return self._power.exists()

    def switch_on(self, _: Mapping[str, str]) -> None:
        assert not self.is_on()
        self._power.touch()
        self.switched.append(f"{self.plan.instance_id} on")

    def is_half_made(self) -> bool:
        return self.is_on() and (self.plan.home / "no-cable").exists()

    def switch_off(self, losing_data: bool = False) -> None:
        self._power.unlink(missing_ok=True)
        (self.plan.home / "no-cable").unlink(missing_ok=True)
        self.switched.append(f"{self.plan.instance_id} off")

    def forget(self) -> None:
        for path in self.plan.home.iterdir():
            path.unlink()
        self.plan.home.rmdir()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("here", tmp_path / "here")


@pytest.fixture
def ec2() -> FakeEc2:
    return FakeEc2()


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The nodes through which the machine was told to reach ClusterIPs, call by call."""
    told = list[list[int]]()

    def route(network: Network, numbers: list[int]) -> None:
        assert network == Network(140)
        told.append(list(numbers))

    monkeypatch.setattr(links, "route_services", route)
    return told


@pytest.fixture
def new_hypervisor(
    layout: Layout, ec2: FakeEc2, routes: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Hypervisor]:
    FakeMachine.switched = []

    def machines(of: Layout) -> list[FakeMachine]:
        return [FakeMachine(of, read_plan(path)) for path in sorted(of.nodes.glob("*/node.json"))]

    monkeypatch.setattr(hypervisor, "Machine", FakeMachine)
    monkeypatch.setattr(hypervisor, "machines", machines)
    monkeypatch.setattr(links, "unplug", lambda *_: None)
    monkeypatch.setattr(cgroups, "remove", lambda _: None)
    pki = Path("/pki")
    setting = Setting(140, 31001, 31002, layout.aws_credentials, pki, "/bin/kubelet", "/bin/kube-proxy")
    return lambda: Hypervisor(layout, setting, ec2, {})  # type: ignore[arg-type]


@pytest.fixture
def watching(new_hypervisor: Callable[[], Hypervisor]) -> Hypervisor:
    return new_hypervisor()


def home(layout: Layout, number: int) -> Path:
    return layout.nodes / str(number)


def test_a_running_instance_gets_a_machine_that_is_switched_on_once(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    ec2.say("i-1", "running")
    assert [watching.look() for _ in range(3)] == [1, 1, 1]
    assert FakeMachine.switched == ["i-1 on"]
    plan = read_plan(home(layout, 1) / "node.json")
    assert (plan.number, plan.name, plan.zone, plan.most_volumes) == (1, "i-1.ec2.internal", "us-east-1a", 26)
    assert plan.volumes == str(layout.volumes)


def test_an_instance_that_does_not_run_yet_gets_no_machine(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    for state in ("pending", "stopped", "stopping", "shutting-down", "terminated"):
        ec2.say("i-1", state)
        assert watching.look() == 0
    assert not list(layout.nodes.glob("*/node.json"))


@pytest.mark.parametrize("state", ["stopping", "stopped"])
def test_a_stopped_instance_loses_its_power_once_and_keeps_its_disk(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout, state: str
) -> None:
    ec2.say("i-1", "running")
    watching.look()
    (home(layout, 1) / "of-its-own").touch()
    ec2.say("i-1", state)
    assert [watching.look() for _ in range(2)] == [0, 0]
    assert FakeMachine.switched == ["i-1 on", "i-1 off"]
    assert (home(layout, 1) / "of-its-own").exists()


def test_an_instance_that_is_started_again_is_the_same_machine(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    for state in ("running", "stopped", "pending", "running"):
        ec2.say("i-1", state)
        watching.look()
    assert FakeMachine.switched == ["i-1 on", "i-1 off", "i-1 on"]
    assert [path.name for path in layout.nodes.iterdir()] == ["1"]


@pytest.mark.parametrize("state", ["shutting-down", "terminated"])
def test_a_terminated_instances_machine_is_switched_off_and_its_disk_removed(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout, state: str
) -> None:
    ec2.say("i-1", "running")
    watching.look()
    ec2.say("i-1", state)
    assert [watching.look() for _ in range(2)] == [0, 0]
    assert FakeMachine.switched == ["i-1 on", "i-1 off"]
    assert not list(layout.nodes.iterdir())


def test_an_instance_that_ec2_has_forgotten_is_gone_too(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    ec2.say("i-1", "running")
    watching.look()
    ec2.instances.clear()
    assert watching.look() == 0
    assert not list(layout.nodes.iterdir())


def test_when_ec2_does_not_answer_every_machine_stays_as_it_is(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    ec2.say("i-1", "running")
    watching.look()
    ec2.error = Ec2Error("RequestLimitExceeded", "slow down")
    with pytest.raises(Ec2Error):
        watching.look()
    assert FakeMachine.switched == ["i-1 on"]
    assert home(layout, 1).exists()


def test_a_machine_that_crashed_stays_off_until_its_instance_is_stopped_and_started(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    ec2.say("i-1", "running")
    watching.look()
    (home(layout, 1) / "power").unlink()
    (home(layout, 1) / "crashed").touch()
    assert watching.look() == 0
    ec2.say("i-1", "stopped")
    watching.look()
    assert not (home(layout, 1) / "crashed").exists()
    ec2.say("i-1", "running")
    assert watching.look() == 1
    assert FakeMachine.switched == ["i-1 on", "i-1 on"]


def test_a_machine_that_ended_by_itself_is_switched_on_again(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    ec2.say("i-1", "running")
    watching.look()
    (home(layout, 1) / "power").unlink()
    assert watching.look() == 1
    assert FakeMachine.switched == ["i-1 on", "i-1 on"]


def test_a_new_hypervisor_goes_on_where_the_killed_one_was(
    new_hypervisor: Callable[[], Hypervisor], ec2: FakeEc2
) -> None:
    ec2.say("i-1", "running")
    new_hypervisor().look()
    assert new_hypervisor().look() == 1
    assert FakeMachine.switched == ["i-1 on"]


def test_machines_get_different_numbers_and_the_next_takes_a_free_one(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    for name in ("i-1", "i-2", "i-3"):
        ec2.say(name, "running")
    assert watching.look() == 3
    ec2.say("i-2", "terminated")
    watching.look()
    ec2.say("i-4", "running")
    assert watching.look() == 3
    plans = [read_plan(path) for path in layout.nodes.glob("*/node.json")]
    assert {plan.number: plan.instance_id for plan in plans} == {1: "i-1", 2: "i-4", 3: "i-3"}


def test_services_are_reached_through_a_node_that_runs_and_has_its_cable(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout, routes: list[list[int]]
) -> None:
    for name in ("i-1", "i-2"):
        ec2.say(name, "running")
    for _ in range(2):
        watching.look()
    (home(layout, 1) / "cut-off").touch()
    watching.look()
    ec2.say("i-2", "stopped")
    watching.look()
    (home(layout, 1) / "cut-off").unlink()
    watching.look()
    assert [numbers[:1] for numbers in routes] == [[1], [2], [], [1]]


def test_the_bytes_of_volumes_that_ec2_deleted_are_removed_and_no_others(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    files = VolumeFiles(layout.volumes)
    for volume_id in ("vol-1", "vol-2"):
        with files.locked(volume_id):
            files.ensure(volume_id, 1)
    ec2.volumes["vol-2"] = Volume("vol-2", 1)
    watching.tidy()
    assert files.ids() == ["vol-2"]


def test_bytes_stay_when_ec2_does_not_say_whether_the_volume_is_deleted(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    files = VolumeFiles(layout.volumes)
    with files.locked("vol-1"):
        files.ensure("vol-1", 1)
    ec2.error = Ec2Error("", "the simulated EC2 does not answer")
    with pytest.raises(Ec2Error):
        watching.tidy()
    assert files.ids() == ["vol-1"]


def test_a_plan_holds_no_secret(watching: Hypervisor, ec2: FakeEc2, layout: Layout) -> None:
    layout.folder.mkdir()
    layout.aws_credentials.write_text("[sandbox]\naws_secret_access_key = the-secret\n")
    ec2.say("i-1", "running")
    watching.look()
    text = (home(layout, 1) / "node.json").read_text()
    assert "the-secret" not in text
    assert json.loads(text)["aws_credentials"] == str(layout.aws_credentials)


def test_a_machine_without_a_cable_is_switched_on_anew(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout
) -> None:
    ec2.say("i-1", "running")
    watching.look()
    (home(layout, 1) / "no-cable").touch()
    watching.look()
    assert FakeMachine.switched == ["i-1 on", "i-1 off", "i-1 on"]


def test_a_crash_that_was_interrupted_is_finished(watching: Hypervisor, ec2: FakeEc2, layout: Layout) -> None:
    ec2.say("i-1", "running")
    watching.look()
    (home(layout, 1) / "crashed").touch()
    watching.look()
    assert FakeMachine.switched == ["i-1 on", "i-1 off"]


def test_a_node_whose_plan_cannot_be_read_is_ended_before_another_takes_its_number(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = list[str]()
    monkeypatch.setattr(Processes, "kill", lambda _, name: ended.append(name) is None)
    monkeypatch.setattr(hypervisor, "machines", lambda _: [])
    (home(layout, 1) / "var-lib").mkdir(parents=True)
    (home(layout, 1) / "node.json").write_text("{}")
    ec2.say("i-1", "running")
    watching.look()
    assert ended == ["node-1"]
    assert not (home(layout, 1) / "var-lib").exists()


def test_one_machine_that_cannot_start_holds_up_no_other(
    watching: Hypervisor, ec2: FakeEc2, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def switch_on(machine: FakeMachine, _: Mapping[str, str]) -> None:
        if machine.plan.instance_id == "i-1":
            raise SandboxError("no cgroup")
        FakeMachine.switched.append(machine.plan.instance_id)

    monkeypatch.setattr(FakeMachine, "switch_on", switch_on)
    ec2.say("i-1", "running")
    ec2.say("i-2", "running")
    with pytest.raises(SandboxError, match="no cgroup"):
        watching.look()
    assert FakeMachine.switched == ["i-2"]
