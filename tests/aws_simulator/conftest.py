"""A running AWS simulator with a frozen clock, and plain boto3 clients for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.aws.__main__ import DEFAULT_ACCESS_KEY_ID, DEFAULT_SECRET
from sandbox.aws.admin import Admin
from sandbox.aws.moto_proxy import SANDBOX_IMAGE
from sandbox.aws.settings import Limits, describe


class RunningSimulator:
    """A simulator process that can be killed and started again on the same state and port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.state = folder / "aws.sqlite"
        self.port = 0
        self._log = folder / "aws.log"
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> Admin:
        return Admin(self.url)

    def start(self) -> None:
        command = [sys.executable, "-m", "sandbox.aws", "--port", str(self.port), "--state", str(self.state)]
        self._process = subprocess.Popen(
            [*command, "--log", str(self._log), *self._options], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert "ready on http://127.0.0.1:" in line, self.log()
        self.port = int(line.split("127.0.0.1:")[1].split()[0])

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Waits for a process that ends by itself."""
        assert self._process is not None
        code = self._process.wait(timeout=10)
        self._close()
        return code

    def client(self, service: str = "ec2", **changes: Any) -> Any:
        settings = {
            "region_name": "us-east-1",
            "aws_access_key_id": DEFAULT_ACCESS_KEY_ID,
            "aws_secret_access_key": DEFAULT_SECRET,
            "config": Config(retries={"total_max_attempts": 1}, connect_timeout=3, read_timeout=20),
            **changes,
        }
        return boto3.client(service, endpoint_url=self.url, **settings)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        os.kill(self._process.pid, number)
        return self.wait()

    def _close(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None


class Cloud:
    """What most tests do, in one line each; time moves only when a test says so."""

    def __init__(self, simulator: RunningSimulator) -> None:
        self.simulator = simulator
        self.admin = simulator.admin
        self.ec2 = simulator.client()

    def volume(self, zone: str = "us-east-1a", size: int = 10, kind: str = "gp3", **more: Any) -> str:
        """The id of a new volume that is available."""
        made = self.ec2.create_volume(AvailabilityZone=zone, Size=size, VolumeType=kind, **more)
        self.admin.advance(2)
        return str(made["VolumeId"])

    def instance(self, zone: str = "us-east-1a", kind: str = "m7i.2xlarge", **more: Any) -> str:
        """The id of a new instance that runs."""
        made = self.ec2.run_instances(
            ImageId=SANDBOX_IMAGE.id,
            InstanceType=kind,
            MinCount=1,
            MaxCount=1,
            Placement={"AvailabilityZone": zone},
            **more,
        )
        self.admin.advance(4)
        return str(made["Instances"][0]["InstanceId"])

    def attach(self, volume: str, instance: str, device: str = "/dev/xvdba") -> None:
        self.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=device)
        self.admin.advance(3)

    def show_volume(self, volume: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]
        return found

    def show_instance(self, instance: str) -> dict[str, Any]:
        found = self.ec2.describe_instances(InstanceIds=[instance])
        shown: dict[str, Any] = found["Reservations"][0]["Instances"][0]
        return shown


Refused = Callable[..., ClientError]


@pytest.fixture(scope="session")
def running_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    simulator = RunningSimulator(tmp_path_factory.mktemp("aws"), "--speed", "0", "--seed", "7")
    yield simulator
    assert simulator.stop() == 0
    assert "Traceback" not in simulator.log(), simulator.log()


@pytest.fixture
def cloud(running_simulator: RunningSimulator) -> Iterator[Cloud]:
    yield Cloud(running_simulator)
    running_simulator.admin.clear_faults()
    running_simulator.admin.set_limits(**describe(Limits()))


@pytest.fixture
def own_simulator(tmp_path: Path) -> Iterator[RunningSimulator]:
    """One that a test may kill."""
    simulator = RunningSimulator(tmp_path, "--speed", "0", "--seed", "7")
    yield simulator
    simulator.kill()


@pytest.fixture
def refused() -> Refused:
    """Calls a function that must be refused with the code given, and returns the refusal."""

    def call(code: str, function: Callable[..., Any], **params: Any) -> ClientError:
        with pytest.raises(ClientError) as caught:
            function(**params)
        assert caught.value.response["Error"]["Code"] == code, str(caught.value)
        return caught.value

    return call
