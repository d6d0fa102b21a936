"""The node's CSI driver with the machine's disks and mounts faked, and its socket real."""

import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from sandbox.kubernetes import rpc
from sandbox.kubernetes.rpc import Refused
from sandbox.kubernetes.stubs import csi_pb2, pluginregistration_pb2
from sandbox.nodes import csi_node, filesystems, loops, volumes
from sandbox.nodes.configuration import CSI_SOCKET
from sandbox.nodes.csi_node import NodeDriver, Registrar
from sandbox.nodes.ec2 import Ec2Error, Volume
from sandbox.nodes.plan import NodePlan
from sandbox.nodes.volumes import GIB

csi: Any = csi_pb2
registration: Any = pluginregistration_pb2
VOLUME = "vol-0123456789abcdef0"
STAGED = "/var/lib/kubelet/plugins/kubernetes.io/csi/ebs.csi.aws.com/x/globalmount"
POD = "/var/lib/kubelet/pods/p/volumes/kubernetes.io~csi/pv/mount"


class FakeEc2:
    """Says of one volume what a test tells it to say."""

    def __init__(self, instance_id: str) -> None:
        self.said: Volume | Ec2Error | None = Volume(VOLUME, 5, instance_id, "/dev/xvdba")

    def volume(self, volume_id: str) -> Volume | None:
        assert volume_id == VOLUME
        if isinstance(self.said, Ec2Error):
            raise self.said
        return self.said


class Computer:
    """Mounts and disks of a machine as the driver sees them."""

    def __init__(self) -> None:
        self.mounts = dict[Path, filesystems.Mount]()
        self.in_use = list[loops.Loop]()
        self.done = list[str]()
        self.refusal: Refused | None = None

    def mounted(self, target: Path) -> filesystems.Mount | None:
        return self.mounts.get(target)

    def mount_device(self, device: Path, target: Path, wanted: str, flags: list[str]) -> None:
        if self.refusal:
            raise self.refusal
        self.mounts[target] = filesystems.Mount(str(device), wanted, loops.Loop(9).device)
        self.in_use.append(loops.Loop(9))
        self.done.append(f"mount {wanted} {','.join(flags)}".strip())

    def complete(self, target: Path) -> None:
        assert target in self.mounts
        self.done.append("complete")

    def unmount(self, target: Path) -> None:
        if self.mounts.pop(target, None):
            self.in_use.clear()

    def bind(self, source: Path, target: Path, read_only: bool) -> None:
        self.mounts[target] = self.mounts[source]
        self.done.append(f"bind {'ro' if read_only else 'rw'}")

    @contextmanager
    def attached(self, image: Path) -> Iterator[loops.Loop]:
        assert image.exists()
        yield loops.Loop(9)


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Computer:
    computer = Computer()
    for name in ("mounted", "mount_device", "complete", "unmount", "bind"):
        monkeypatch.setattr(filesystems, name, getattr(computer, name))
    monkeypatch.setattr(filesystems, "grow_mounted", lambda target: computer.done.append(f"grow {target}"))
    monkeypatch.setattr(loops, "attached", computer.attached)
    monkeypatch.setattr(loops, "of", lambda _: list(computer.in_use))
    monkeypatch.setattr(loops, "refresh_size", lambda loop: computer.done.append(f"refresh {loop.number}"))
    monkeypatch.setattr(volumes, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(csi_node, "_device", lambda name, _: tmp_path / Path(name).name)
    return computer


@pytest.fixture
def ec2(plan: NodePlan) -> FakeEc2:
    return FakeEc2(plan.instance_id)


Call = Callable[..., Any]


@pytest.fixture
def call(plan: NodePlan, ec2: FakeEc2, computer: Computer) -> Iterator[Call]:
    """Calls the driver as a kubelet does, over a socket."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "csi.sock"
        server = rpc.serve(socket, NodeDriver(plan, ec2).services(), 4)  # type: ignore[arg-type]
        with grpc.insecure_channel(f"unix://{socket}") as channel:

            def ask(method: str, service: str = "Node", **fields: Any) -> Any:
                made = channel.unary_unary(
                    f"/csi.v1.{service}/{method}",
                    request_serializer=lambda request: request.SerializeToString(),
                    response_deserializer=getattr(csi, f"{method}Response").FromString,
                )
                return made(getattr(csi, f"{method}Request")(**fields), timeout=10)

            yield ask
        server.stop(grace=None).wait()


def stage(call: Call, kind: str = "xfs", *flags: str) -> None:
    mount = csi.VolumeCapability.MountVolume(fs_type=kind, mount_flags=flags)
    capability = csi.VolumeCapability(mount=mount)
    call("NodeStageVolume", volume_id=VOLUME, staging_target_path=STAGED, volume_capability=capability)


@contextmanager
def refusal(code: str, words: str | None = None) -> Iterator[None]:
    with pytest.raises(grpc.RpcError, match=words) as refused:
        yield
    assert refused.value.code() is grpc.StatusCode[code]


def test_the_driver_tells_the_instance_its_zone_and_how_many_volumes_it_takes(
    call: Call, plan: NodePlan
) -> None:
    told = call("NodeGetInfo")
    assert told.node_id == plan.instance_id
    assert told.max_volumes_per_node == 26
    assert dict(told.accessible_topology.segments) == {"topology.ebs.csi.aws.com/zone": "us-east-1b"}


def test_the_driver_says_what_it_can_and_that_it_is_ready(call: Call) -> None:
    kind = csi.NodeServiceCapability.RPC
    offered = {it.rpc.type for it in call("NodeGetCapabilities").capabilities}
    assert offered == {kind.STAGE_UNSTAGE_VOLUME, kind.EXPAND_VOLUME, kind.GET_VOLUME_STATS}
    assert call("GetPluginInfo", "Identity").name == "ebs.csi.aws.com"
    assert call("Probe", "Identity").ready.value


def test_an_attached_volume_is_mounted_as_big_as_ec2_says(
    call: Call, computer: Computer, plan: NodePlan
) -> None:
    stage(call, "xfs", "noatime")
    assert computer.done == ["mount xfs noatime"]
    assert (Path(plan.volumes) / f"{VOLUME}.img").stat().st_size == 5 * GIB


def test_a_volume_without_a_kind_gets_ext4(call: Call, computer: Computer) -> None:
    stage(call, "")
    assert computer.done == ["mount ext4"]


def test_a_call_that_comes_again_completes_what_a_killed_one_began(call: Call, computer: Computer) -> None:
    for _ in range(2):
        stage(call)
    assert computer.done == ["mount xfs", "complete"]


def test_a_volume_that_ec2_says_is_elsewhere_or_nowhere_is_not_touched(
    call: Call, ec2: FakeEc2, computer: Computer, plan: NodePlan
) -> None:
    ec2.said = Volume(VOLUME, 5, "i-another", "/dev/xvdba")
    with refusal("FAILED_PRECONDITION", "attached to i-another"):
        stage(call)
    ec2.said = Volume(VOLUME, 5)
    with refusal("FAILED_PRECONDITION", "not attached"):
        stage(call)
    ec2.said = None
    with refusal("NOT_FOUND"):
        stage(call)
    ec2.said = Ec2Error("RequestLimitExceeded", "slow down")
    with refusal("UNAVAILABLE", "slow down"):
        stage(call)
    assert computer.done == []
    assert not (Path(plan.volumes) / f"{VOLUME}.img").exists()


def test_a_volume_that_another_node_still_writes_to_is_not_mounted(call: Call, computer: Computer) -> None:
    computer.in_use.append(loops.Loop(3))
    with refusal("FAILED_PRECONDITION", "still in use"):
        stage(call)
    assert computer.done == []


def test_what_the_file_system_refuses_is_told_and_may_be_tried_again(call: Call, computer: Computer) -> None:
    computer.refusal = Refused("FAILED_PRECONDITION", "the volume holds ext4, not xfs")
    with refusal("FAILED_PRECONDITION", "holds ext4, not xfs"):
        stage(call)
    computer.refusal = None
    stage(call)
    assert computer.done == ["mount xfs"]


def test_an_id_that_could_name_another_file_is_refused(call: Call, ec2: FakeEc2) -> None:
    with refusal("NOT_FOUND", "no id of a volume"):
        call("NodeStageVolume", volume_id="../../etc/passwd", staging_target_path=STAGED)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("NodeStageVolume", {"staging_target_path": STAGED}),
        ("NodeStageVolume", {"volume_id": VOLUME}),
        ("NodeUnstageVolume", {"volume_id": VOLUME}),
        ("NodePublishVolume", {"volume_id": VOLUME, "staging_target_path": STAGED}),
        ("NodeUnpublishVolume", {"target_path": POD}),
        ("NodeExpandVolume", {"volume_id": VOLUME}),
    ],
)
def test_a_missing_field_is_an_invalid_argument(call: Call, method: str, fields: dict[str, str]) -> None:
    with refusal("INVALID_ARGUMENT", "is missing"):
        call(method, **fields)


def test_only_what_is_staged_is_shown_to_a_pod(call: Call, computer: Computer) -> None:
    fields = {"volume_id": VOLUME, "staging_target_path": STAGED, "target_path": POD}
    with refusal("FAILED_PRECONDITION", "not staged"):
        call("NodePublishVolume", **fields)
    stage(call)
    call("NodePublishVolume", **fields, readonly=True)
    assert computer.done == ["mount xfs", "bind ro"]
    call("NodeUnpublishVolume", volume_id=VOLUME, target_path=POD)
    assert Path(POD) not in computer.mounts


def test_a_volume_is_let_go_only_when_its_disk_is_gone(
    call: Call, computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(call)
    monkeypatch.setattr(filesystems, "unmount", lambda target: computer.mounts.pop(target, None))
    with refusal("FAILED_PRECONDITION", "still in use"):
        call("NodeUnstageVolume", volume_id=VOLUME, staging_target_path=STAGED)
    computer.in_use.clear()
    call("NodeUnstageVolume", volume_id=VOLUME, staging_target_path=STAGED)
    call("NodeUnstageVolume", volume_id=VOLUME, staging_target_path=STAGED)


@pytest.mark.parametrize(("is_its_own", "left"), [(True, []), (False, ["xvdba"])])
def test_a_volume_that_is_let_go_takes_its_name_away_but_not_that_of_another(
    call: Call, computer: Computer, tmp_path: Path, is_its_own: bool, left: list[str]
) -> None:
    folder = tmp_path / "dev"
    folder.mkdir()
    name = folder / "xvdba"
    name.touch()
    device = name.stat().st_rdev if is_its_own else loops.Loop(9).device
    computer.mounts[Path(STAGED)] = filesystems.Mount(str(name), "xfs", device)
    for _ in range(2):
        call("NodeUnstageVolume", volume_id=VOLUME, staging_target_path=STAGED)
        assert [it.name for it in folder.iterdir()] == left


def test_a_grown_volume_is_grown_from_its_file_to_its_file_system(
    call: Call, computer: Computer, ec2: FakeEc2, plan: NodePlan
) -> None:
    stage(call)
    ec2.said = Volume(VOLUME, 8, plan.instance_id, "/dev/xvdba")
    reply = call("NodeExpandVolume", volume_id=VOLUME, volume_path=POD)
    assert reply.capacity_bytes == 8 * GIB
    assert computer.done == ["mount xfs", "refresh 9", f"grow {POD}"]
    assert (Path(plan.volumes) / f"{VOLUME}.img").stat().st_size == 8 * GIB


def test_the_fill_level_is_what_the_file_system_says(call: Call, computer: Computer, tmp_path: Path) -> None:
    with refusal("NOT_FOUND"):
        call("NodeGetVolumeStats", volume_id=VOLUME, volume_path=str(tmp_path))
    computer.mounts[tmp_path] = filesystems.Mount("/dev/xvdba", "ext4", loops.Loop(9).device)
    bytes_used, inodes = call("NodeGetVolumeStats", volume_id=VOLUME, volume_path=str(tmp_path)).usage
    found = os.statvfs(tmp_path)
    assert bytes_used.unit == csi.VolumeUsage.BYTES
    assert bytes_used.total == found.f_blocks * found.f_frsize
    assert 0 < bytes_used.used <= bytes_used.total
    assert inodes.unit == csi.VolumeUsage.INODES
    with refusal("NOT_FOUND"):
        call("NodeGetVolumeStats", volume_id=VOLUME, volume_path=str(tmp_path / "nowhere"))


def test_a_kubelet_that_asks_hears_where_the_driver_listens(caplog: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as folder, caplog.at_level(logging.INFO, "csi"):
        socket = Path(folder) / "reg.sock"
        server = rpc.serve(socket, Registrar().services(), 1)
        with grpc.insecure_channel(f"unix://{socket}") as channel:

            def ask(method: str, request: Any, reply: Any) -> Any:
                return channel.unary_unary(
                    f"/pluginregistration.Registration/{method}",
                    request_serializer=lambda it: it.SerializeToString(),
                    response_deserializer=reply.FromString,
                )(request, timeout=10)

            info = ask("GetInfo", registration.InfoRequest(), registration.PluginInfo)
            status = registration.RegistrationStatus(plugin_registered=False, error="not so")
            ask("NotifyRegistrationStatus", status, registration.RegistrationStatusResponse)
        server.stop(grace=None).wait()
    assert (info.type, info.name, info.endpoint) == ("CSIPlugin", "ebs.csi.aws.com", CSI_SOCKET)
    assert list(info.supported_versions) == ["1.0.0"]
    assert "not so" in caplog.text


def test_only_the_owner_may_call_whatever_the_umask_is() -> None:
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "csi.sock"
        # One that a killed driver left.
        socket.touch()
        before = os.umask(0)
        try:
            server = rpc.serve(socket, Registrar().services(), 1)
        finally:
            os.umask(before)
        mode = socket.stat().st_mode
        server.stop(grace=None).wait()
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
