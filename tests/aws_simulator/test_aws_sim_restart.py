"""Killed and started again: nothing that was acknowledged is lost, nothing is made twice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

VOLUME = {"AvailabilityZone": "us-east-1a", "Size": 1, "VolumeType": "gp3"}


def volumes(client: Any) -> list[str]:
    return [item["VolumeId"] for item in client.describe_volumes()["Volumes"]]


def test_everything_is_there_after_sigkill(own_simulator):
    ec2, admin = own_simulator.client(), own_simulator.admin
    instance = ec2.run_instances(
        ImageId="ami-05a9db0c000000001", InstanceType="m7i.large", MinCount=1, MaxCount=1
    )
    instance_id = instance["Instances"][0]["InstanceId"]
    volume = ec2.create_volume(**VOLUME, ClientToken="kept")["VolumeId"]
    admin.advance(5)
    ec2.attach_volume(VolumeId=volume, InstanceId=instance_id, Device="/dev/sdf")
    ec2.create_tags(Resources=[volume], Tags=[{"Key": "kept", "Value": "yes"}])
    admin.set_limits(max_volumes=9)
    admin.add_fault("throttle", "DeleteVolume", count=2)
    before = (
        ec2.describe_instances()["Reservations"],
        ec2.describe_volumes()["Volumes"],
        admin.clock()["now"],
    )
    own_simulator.kill()
    own_simulator.start()
    after = (
        ec2.describe_instances()["Reservations"],
        ec2.describe_volumes()["Volumes"],
        admin.clock()["now"],
    )
    assert after == before
    assert ec2.create_volume(**VOLUME, ClientToken="kept")["VolumeId"] == volume
    assert admin.limits()["max_volumes"] == 9
    assert admin.faults()[0]["count"] == 2
    assert "CreateVolume" in [call["action"] for call in admin.calls()]


def test_a_crash_before_applying_makes_nothing(own_simulator):
    ec2 = own_simulator.client()
    own_simulator.admin.add_fault("crash", "CreateVolume")
    with pytest.raises(BotoCoreError):
        ec2.create_volume(**VOLUME, ClientToken="crash")
    assert own_simulator.wait() == -9
    own_simulator.start()
    assert volumes(ec2) == []
    ec2.create_volume(**VOLUME, ClientToken="crash")
    assert len(volumes(ec2)) == 1


def test_a_crash_after_applying_keeps_the_volume_for_the_retry(own_simulator):
    ec2 = own_simulator.client()
    own_simulator.admin.add_fault("crash", "CreateVolume", when="after")
    with pytest.raises(BotoCoreError):
        ec2.create_volume(**VOLUME, ClientToken="crash")
    assert own_simulator.wait() == -9
    own_simulator.start()
    kept = volumes(ec2)
    assert len(kept) == 1
    assert ec2.create_volume(**VOLUME, ClientToken="crash")["VolumeId"] == kept[0]


def test_killed_under_load_it_keeps_what_it_acknowledged(own_simulator):
    acknowledged: list[str] = []
    lock = threading.Lock()

    def create(worker: int) -> None:
        client = own_simulator.client()
        for number in range(200):
            try:
                made = client.create_volume(**VOLUME, ClientToken=f"{worker}-{number}")["VolumeId"]
            except (BotoCoreError, ClientError):
                return
            with lock:
                acknowledged.append(made)

    threads = [threading.Thread(target=create, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 60 and any(thread.is_alive() for thread in threads):
        threads[0].join(0.01)
    own_simulator.kill()
    for thread in threads:
        thread.join()
    own_simulator.start()
    kept = volumes(own_simulator.client())
    assert len(acknowledged) >= 60
    assert set(acknowledged) <= set(kept)
    # Each worker had at most one call under way that was applied and not answered.
    assert len(kept) <= len(acknowledged) + 4


def test_what_moto_keeps_has_the_same_ids_after_a_restart(own_simulator):
    ec2, iam = own_simulator.client(), own_simulator.client("iam")
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="app", Description="app", VpcId=network)["GroupId"]
    subnets = [item["SubnetId"] for item in ec2.describe_subnets()["Subnets"]]
    role = iam.create_role(RoleName="node", AssumeRolePolicyDocument="{}")["Role"]["RoleId"]
    ec2.create_tags(Resources=[group], Tags=[{"Key": "kept", "Value": "yes"}])
    own_simulator.kill()
    own_simulator.start()
    assert ec2.describe_vpcs()["Vpcs"][0]["VpcId"] == network
    assert [item["SubnetId"] for item in ec2.describe_subnets()["Subnets"]] == subnets
    shown = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert shown["Tags"] == [{"Key": "kept", "Value": "yes"}]
    assert iam.get_role(RoleName="node")["Role"]["RoleId"] == role


def test_sigterm_ends_it_cleanly(own_simulator):
    own_simulator.client().create_volume(**VOLUME)
    assert own_simulator.stop() == 0
    own_simulator.start()
    assert len(volumes(own_simulator.client())) == 1


def test_a_second_simulator_on_the_same_state_is_refused_in_one_line(own_simulator):
    ended = start(own_simulator.state, "--port", "0")
    assert ended.returncode == 2
    assert "in use by another simulator" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_told_in_one_line(own_simulator, tmp_path):
    ended = start(tmp_path / "other.sqlite", "--port", str(own_simulator.port))
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{own_simulator.port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_state_file_that_is_none_is_told_in_one_line(tmp_path):
    state = tmp_path / "none.sqlite"
    state.write_text("this is no database, and long enough to be looked at as one" * 20)
    ended = start(state, "--port", "0")
    assert ended.returncode == 2
    assert "not a usable state file" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_credentials_file_without_the_profile_is_told_in_one_line(tmp_path):
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
    ended = start(
        tmp_path / "s.sqlite", "--port", "0", "--credentials-file", str(credentials), "--profile", "sandbox"
    )
    assert ended.returncode == 2
    assert "needs a section [sandbox]" in ended.stderr


def start(state: object, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox.aws", "--state", str(state), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def test_old_records_are_dropped_and_their_tokens_with_them(own_simulator):
    ec2, admin = own_simulator.client(), own_simulator.admin
    kept = ec2.create_volume(**VOLUME, ClientToken="kept")["VolumeId"]
    dropped = ec2.create_volume(**VOLUME, ClientToken="dropped")["VolumeId"]
    admin.advance(10)
    ec2.modify_volume(VolumeId=dropped, Size=2)
    ec2.delete_volume(VolumeId=dropped)
    for _ in range(2):  # the volume goes first, and its token when it is seen to be gone
        admin.advance(50 * 3600)
        ec2.describe_volumes()
    own_simulator.stop()
    with sqlite3.connect(own_simulator.state) as db:
        kinds = dict(db.execute("SELECT kind, count(*) FROM records GROUP BY kind"))
    db.close()
    own_simulator.start()
    assert (kinds["volume"], kinds["token"], kinds.get("modification")) == (1, 1, None)
    assert ec2.create_volume(**VOLUME, ClientToken="kept")["VolumeId"] == kept
