"""What the tests of a real node's parts share: a plan, a simulated EC2, and disks that are taken down afterwards."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.nodes import loops
from sandbox.nodes.plan import NodePlan
from tests.clouds.simulator import SimulatedAws

DISK_PROGRAMS = (
    "blkid",
    "debugfs",
    "e2fsck",
    "mkfs.ext4",
    "mkfs.xfs",
    "mount",
    "resize2fs",
    "umount",
    "xfs_db",
)


def why_no_disks() -> str:
    """Why loop devices and mounts cannot be tested on this machine; empty if they can."""
    if os.geteuid() != 0:
        return "NOT TESTED: loop devices and mounts need root"
    if not Path("/dev/loop-control").exists():
        return "NOT TESTED: this machine has no loop devices"
    missing = [program for program in DISK_PROGRAMS if shutil.which(program) is None]
    return f"NOT TESTED: install {', '.join(missing)} (xfsprogs, e2fsprogs)" if missing else ""


def soon(reached: Callable[[], bool]) -> bool:
    """The kernel lets go of a device after its last close, in its own time."""
    deadline = time.monotonic() + 5
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.005)
    return reached()


@pytest.fixture
def plan(tmp_path: Path) -> NodePlan:
    home = tmp_path / "nodes" / "3"
    home.mkdir(parents=True)
    (tmp_path / "images").mkdir()
    return NodePlan(
        number=3,
        name="ip-10-0-0-7.ec2.internal",
        instance_id="i-0123456789abcdef0",
        instance_type="m7i.large",
        zone="us-east-1b",
        most_volumes=26,
        octet=140,
        folder=str(home),
        volumes=str(tmp_path / "volumes"),
        images=str(tmp_path / "images"),
        logs=str(tmp_path / "logs"),
        certificates=str(tmp_path / "pki"),
        kube_port=31001,
        aws_port=31002,
        aws_credentials=str(tmp_path / "aws-credentials"),
        aws_profile="sandbox",
        region="us-east-1",
        kubelet="/programs/kubelet",
        kube_proxy="/programs/kube-proxy",
    )


@pytest.fixture(scope="session")
def one_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedAws]:
    simulator = SimulatedAws(tmp_path_factory.mktemp("aws"))
    # Its clock moves only when a test says so.
    simulator.admin.set_speed(0)
    yield simulator
    simulator.stop()


@pytest.fixture
def aws(one_aws: SimulatedAws) -> Iterator[SimulatedAws]:
    yield one_aws
    one_aws.admin.clear_faults()


@pytest.fixture
def disk_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for images of disks; whatever a test leaves mounted or attached from it is taken down and told."""
    folder = tmp_path / "disks"
    folder.mkdir()
    yield folder
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    mounted = [line.split()[4] for line in table if line.split()[4].startswith(f"{tmp_path}/")]
    for target in reversed(mounted):
        subprocess.run(["umount", target], check=False)
    # Whatever is made on this machine at the same time may hold copies of its mounts for a moment.
    left = [] if soon(lambda: not loops.below(folder)) else loops.below(folder)
    for loop in left:
        subprocess.run(["losetup", "--detach", f"/dev/loop{loop.number}"], check=False)
    assert not mounted, f"the test left mounts: {mounted}"
    assert not left, f"the test left loop devices: {left}"
