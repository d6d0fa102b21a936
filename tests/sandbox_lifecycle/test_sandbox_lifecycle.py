"""A real sandbox: brought up, broken in every way, repaired, taken down."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import lifecycle, startup
from sandbox.errors import NotThere, SandboxError
from sandbox.kubernetes import control_plane
from sandbox.layout import layout_of, read_memory
from sandbox.processes import Processes
from sandbox.services import commands, environment

pytestmark = pytest.mark.sandbox

ALL = (
    "temporal",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok-controller",
    "aws",
    "csi-driver",
    "csi-attacher",
    "csi-resizer",
    "machines",
)


def pids(name: str) -> dict[str, int | None]:
    return {process.name: process.pid for process in lifecycle.status(name).processes}


def members(name: str) -> list[int]:
    return [running.pid for running in Processes(layout_of(name)).members()]


def nodes(name: str) -> list[str]:
    layout = layout_of(name)
    memory = read_memory(layout)
    assert memory is not None
    return [node["metadata"]["name"] for node in control_plane.api_of(layout, memory).items("/api/v1/nodes")]


def eventually(reached: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.1)


def listening(pid: int) -> set[str]:
    """The local addresses (hexadecimal, as the kernel shows them) on which a process listens."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


def test_every_process_is_up_and_healthy(bed: str) -> None:
    status = lifecycle.up(bed)
    assert [process.name for process in status.processes if process.healthy] == list(ALL)
    assert len(nodes(bed)) == 3


def test_up_again_changes_nothing(bed: str) -> None:
    lifecycle.up(bed)
    before = pids(bed)
    lifecycle.up(bed)
    assert pids(bed) == before


def test_everything_listens_on_the_loopback_address_only(bed: str) -> None:
    lifecycle.up(bed)
    addresses = {address for pid in members(bed) for address in listening(pid)}
    # 127.0.0.1, and the same as an IPv4 address in IPv6's table.
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert addresses


def test_state_and_secrets_are_private(bed: str) -> None:
    layout = layout_of(bed)
    assert layout.folder.stat().st_mode & 0o077 == 0
    for path in (layout.aws_credentials, layout.kubeconfig, layout.settings, layout.memory):
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_secret_is_on_a_command_line(bed: str) -> None:
    lifecycle.up(bed)
    secret = layout_of(bed).aws_credentials.read_text().partition("aws_secret_access_key = ")[2].strip()
    assert len(secret) > 20
    for pid in members(bed):
        assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("process", ALL)
def test_a_killed_process_is_noticed_and_up_brings_it_back(bed: str, process: str) -> None:
    lifecycle.up(bed)
    before = pids(bed)
    assert lifecycle.kill(bed, process)
    broken = {it.name: it for it in lifecycle.status(bed).processes}[process]
    assert not broken.healthy
    assert broken.problem == "not running"
    status = lifecycle.up(bed)
    assert status.healthy, [it for it in status.processes if not it.healthy]
    assert pids(bed)[process] not in (None, before[process])


@pytest.mark.parametrize("process", ALL)
def test_start_alone_brings_a_killed_process_back(bed: str, process: str) -> None:
    lifecycle.up(bed)
    lifecycle.kill(bed, process)
    lifecycle.start(bed, process)
    eventually(lambda: lifecycle.status(bed).healthy)


def test_after_a_power_cut_up_continues_with_the_same_state(bed: str) -> None:
    lifecycle.up(bed)
    before, credentials = nodes(bed), layout_of(bed).aws_credentials.read_text()
    for pid in members(bed):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not members(bed))
    assert lifecycle.up(bed).healthy
    assert sorted(nodes(bed)) == sorted(before)
    assert layout_of(bed).aws_credentials.read_text() == credentials


def test_processes_whose_records_were_lost_are_replaced(bed: str) -> None:
    lifecycle.up(bed)
    lost = pids(bed)["temporal"]
    (layout_of(bed).processes / "temporal.json").unlink()
    status = lifecycle.up(bed)
    assert status.healthy
    assert pids(bed)["temporal"] != lost
    assert lost not in members(bed)


def test_a_stopped_up_leaves_nothing_that_the_next_one_cannot_mend(
    sandbox_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed_before_the_records(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(control_plane, "_adopt", killed_before_the_records)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.up("halfway", nodes_per_zone=1)
    assert lifecycle.up("halfway").healthy
    assert lifecycle.down("halfway")
    assert not members("halfway")


def test_two_sandboxes_live_side_by_side_and_go_down_alone(bed: str) -> None:
    lifecycle.up(bed)
    before = pids(bed)
    assert lifecycle.up("second", nodes_per_zone=1).healthy
    assert len(nodes("second")) == 3
    started = time.monotonic()
    assert lifecycle.down("second")
    assert time.monotonic() - started < 5
    assert not members("second")
    assert not layout_of("second").folder.exists()
    assert not layout_of("second").lock.exists()
    assert pids(bed) == before
    assert lifecycle.status(bed).healthy


def test_down_can_keep_the_state_for_the_next_up(bed: str) -> None:
    lifecycle.up(bed)
    before = nodes(bed)
    assert lifecycle.down(bed, keep_state=True)
    assert not members(bed)
    assert lifecycle.up(bed).healthy
    assert sorted(nodes(bed)) == sorted(before)


def test_down_of_nothing_says_so(sandbox_home: Path) -> None:
    assert lifecycle.down("never-made") is False
    assert not lifecycle.status("never-made").exists


def test_more_nodes_come_when_asked_for(bed: str) -> None:
    lifecycle.up(bed)
    lifecycle.up(bed, nodes_per_zone=2)
    assert len(nodes(bed)) == 6


def test_a_port_taken_by_a_stranger_is_named(bed: str) -> None:
    lifecycle.up(bed)
    memory = read_memory(layout_of(bed))
    assert memory is not None
    lifecycle.kill(bed, "aws")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", memory.ports["aws"]))
        stranger.listen()
        with pytest.raises(SandboxError, match=f"port {memory.ports['aws']}, which aws"):
            lifecycle.up(bed)
    assert lifecycle.up(bed).healthy


def test_a_process_that_cannot_start_is_told_with_its_last_words(
    bed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle.up(bed)
    lifecycle.kill(bed, "aws")

    def wrong(layout: object, memory: object) -> dict[str, object]:
        found = dict(commands(layout, memory))  # type: ignore[arg-type]
        arguments = ("sh", "-c", "echo no such luck; exit 3")
        found["aws"] = type(found["aws"])("aws", arguments, environment())
        return found  # type: ignore[return-value]

    with monkeypatch.context() as patch:
        patch.setattr(startup, "commands", wrong)
        with pytest.raises(SandboxError, match="aws ended: no such luck"):
            lifecycle.start(bed, "aws")
    assert lifecycle.up(bed).healthy


def test_an_unknown_process_is_refused_with_the_known_ones(bed: str) -> None:
    with pytest.raises(NotThere, match="kube-apiserver"):
        lifecycle.kill(bed, "nosuch")
    with pytest.raises(NotThere, match="sandbox up"):
        lifecycle.kill("never-made", "aws")


def test_the_search_attributes_are_registered(bed: str) -> None:
    from activities.models.search_attributes import SEARCH_ATTRIBUTES

    lifecycle.up(bed)
    memory = read_memory(layout_of(bed))
    assert memory is not None
    program = commands(layout_of(bed), memory)["temporal"].arguments[0]
    address = f"127.0.0.1:{memory.ports['temporal']}"
    answer = subprocess.run(
        [program, "operator", "search-attribute", "list", "--address", address],
        capture_output=True,
        text=True,
        check=True,
    )
    for name, kind in SEARCH_ATTRIBUTES.items():
        assert [name, kind] in [line.split() for line in answer.stdout.splitlines()]
