"""The AWS simulator as a process of its own, and an adapter connected to it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from activities.clouds.aws import AwsCloud, connect
from activities.models.clusters import AwsSettings
from sandbox.aws.admin import Admin

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

KEY, SECRET = "AKIATESTTESTTESTTEST", "a-secret-for-tests"


def seen(look: Callable[[], bool]) -> None:
    """The simulated clock runs a hundred times as fast as ours, so no state lasts a second."""
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline, "it was not seen in ten seconds"
        time.sleep(0.02)


class SimulatedAws:
    """Runs until `stop`; `start` goes on from the same state on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.credentials_file = folder / "credentials"
        self.write_credentials(KEY, SECRET)
        # The simulator reads the right key from a file of its own, so that tests may spoil the product's.
        self._accepted = folder / "accepted"
        self._accepted.write_text(self.credentials_file.read_text())
        self._port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "sandbox.aws", "--port", str(self._port)]
        command += ["--state", str(self.folder / "aws.sqlite"), "--credentials-file", str(self._accepted)]
        command += ["--log", str(self.folder / "aws.log")]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert match, f"the simulator did not start: {line!r}"
        self._port = int(match[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self.admin = Admin(self.url)
        self.admin.wait_ready(20)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def write_credentials(self, key: str, secret: str, profile: str = "default") -> None:
        self.credentials_file.write_text(
            f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
        )

    def client_of_somebody_else(self) -> "EC2Client":
        """What the product does not do itself: machines, attaching."""
        return boto3.client(
            "ec2",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def connect(self, **settings: object) -> AwsCloud:
        defaults: dict[str, object] = {
            "region": "us-east-1",
            "endpoint_url": self.url,
            "credentials_file": self.credentials_file,
        }
        return connect(AwsSettings.model_validate(defaults | settings))
