"""Whatever AWS, the network or the credentials do, the adapter says it in one of our errors, in one call."""

import socket
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from activities.clouds import aws as adapter
from activities.clouds.aws import AwsCloud
from activities.errors import (
    AccessDenied,
    InvalidSpec,
    OutOfCapacity,
    QuotaExceeded,
    SupergiantError,
    Throttled,
    Unreachable,
)
from activities.models.tags import CLUSTER
from activities.models.volumes import VolumeSpec
from tests.clouds.simulator import KEY, SECRET, SimulatedAws

#: Every call that the adapter makes of EC2, as AWS names it.
CALLS = ["CreateTags", "CreateVolume", "DeleteTags", "DeleteVolume", "DescribeVolumes"]


def spec() -> VolumeSpec:
    return VolumeSpec(zone="us-east-1a", size_gib=1, type="gp3", tags={CLUSTER: "failures"})


def call(cloud: AwsCloud, action: str, volume: str) -> None:
    match action:
        case "CreateTags":
            cloud.tag_volumes([volume], {"a": "b"})
        case "CreateVolume":
            cloud.create_volume(uuid.uuid4().hex, spec())
        case "DeleteTags":
            cloud.untag_volumes([volume], ["a"])
        case "DeleteVolume":
            cloud.delete_volume(volume)
        case "DescribeVolumes":
            cloud.get_volume(volume)
        case _:
            raise AssertionError(action)


@pytest.fixture
def volume(aws: SimulatedAws, cloud: AwsCloud) -> str:
    # One that is being made could not be deleted.
    aws.admin.set_limits(volume_creating_seconds=0)
    return cloud.create_volume(uuid.uuid4().hex, spec()).id


@pytest.mark.parametrize("action", CALLS)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"effect": "throttle"}, Throttled),
        ({"effect": "drop-before"}, Unreachable),
        ({"effect": "drop-after"}, Unreachable),
        ({"effect": "error", "code": "InternalError", "status": 500}, Unreachable),
        ({"effect": "error", "code": "UnauthorizedOperation", "status": 403}, AccessDenied),
        ({"effect": "error", "code": "SomethingNobodyHeardOf", "status": 400}, InvalidSpec),
    ],
    ids=lambda value: value.get("code", value["effect"]) if isinstance(value, dict) else "",
)
def test_a_failure_of_any_call_is_ours_and_the_call_is_made_once(
    aws: SimulatedAws,
    cloud: AwsCloud,
    volume: str,
    action: str,
    fault: dict[str, object],
    error: type[SupergiantError],
) -> None:
    added = aws.admin.add_fault(action=action, **fault)  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        call(cloud, action, volume)
    assert caught.value.__cause__ is not None
    [hit] = [fault for fault in aws.admin.faults() if fault["id"] == added["id"]]
    assert (hit["hits"], hit["seen"]) == (1, 1)
    call(cloud, action, volume)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("VolumeLimitExceeded", 400, QuotaExceeded),
        ("MaxIOPSLimitExceeded", 400, QuotaExceeded),
        ("InsufficientVolumeCapacity", 500, OutOfCapacity),
    ],
)
def test_what_an_account_or_a_zone_lacks_is_told_apart_and_says_who_must_act(
    aws: SimulatedAws, cloud: AwsCloud, code: str, status: int, error: type[SupergiantError]
) -> None:
    aws.admin.add_fault("error", "CreateVolume", code=code, status=status, message="no more")
    with pytest.raises(error, match=rf"AWS would not create a disk: no more \({code}\)") as caught:
        cloud.create_volume(uuid.uuid4().hex, spec())
    assert caught.value.help


def test_a_real_quota_is_seen(aws: SimulatedAws, cloud: AwsCloud) -> None:
    aws.admin.set_limits(max_volumes=0)
    with pytest.raises(QuotaExceeded):
        cloud.create_volume(uuid.uuid4().hex, spec())


def test_the_account_of_the_credentials_is_told(cloud: AwsCloud) -> None:
    assert cloud.account() == "123456789012"


@pytest.mark.parametrize(("key", "secret"), [("AKIAWRONGWRONGWRONGX", SECRET), (KEY, "wrong")])
def test_wrong_credentials_are_refused_by_every_service(aws: SimulatedAws, key: str, secret: str) -> None:
    aws.write_credentials(key, secret)
    cloud = aws.connect()
    with pytest.raises(AccessDenied, match="does not accept the credentials") as caught:
        cloud.account()
    assert "credentials" in caught.value.help
    with pytest.raises(AccessDenied, match="does not accept the credentials"):
        cloud.find_volumes({CLUSTER: "x"})
    assert secret not in f"{caught.value} {caught.value.help}"


def test_renewed_credentials_are_used_without_a_restart(aws: SimulatedAws) -> None:
    aws.write_credentials(KEY, "expired")
    cloud = aws.connect()
    with pytest.raises(AccessDenied):
        cloud.account()
    aws.write_credentials(KEY, SECRET)
    assert cloud.account() == "123456789012"


def test_a_credentials_file_that_is_not_there_is_named(aws: SimulatedAws, tmp_path: Path) -> None:
    cloud = aws.connect(credentials_file=tmp_path / "absent")
    with pytest.raises(AccessDenied, match=r"absent does not exist") as caught:
        cloud.account()
    assert "credentials_file" in caught.value.help


def test_half_a_key_is_refused(aws: SimulatedAws, tmp_path: Path) -> None:
    path = tmp_path / "half"
    path.write_text("[default]\naws_access_key_id = AKIAHALF\n")
    with pytest.raises(AccessDenied, match="no AWS credentials"):
        aws.connect(credentials_file=path).account()


def test_a_file_that_is_no_credentials_file_is_refused(aws: SimulatedAws, tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    path.write_text("this is not an ini file")
    with pytest.raises(AccessDenied, match="garbage"):
        aws.connect(credentials_file=path).account()


def test_a_profile_that_is_not_there_is_named(aws: SimulatedAws) -> None:
    with pytest.raises(AccessDenied, match="no profile 'nobody' in"):
        aws.connect(profile="nobody").account()


def test_a_named_profile_is_used(aws: SimulatedAws) -> None:
    aws.write_credentials(KEY, SECRET, profile="work")
    assert aws.connect(profile="work").account() == "123456789012"


def test_keys_in_the_environment_do_not_go_before_the_settings(
    aws: SimulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONGWRONGWRONGX")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert aws.connect().account() == "123456789012"


def test_no_credentials_anywhere_says_so(
    aws: SimulatedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AccessDenied, match="no AWS credentials were found"):
        aws.connect(credentials_file=None).account()


def test_an_endpoint_where_nobody_listens_is_named(aws: SimulatedAws) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    cloud = aws.connect(endpoint_url=f"http://127.0.0.1:{port}")
    with pytest.raises(Unreachable, match=f"cannot reach http://127.0.0.1:{port}") as caught:
        cloud.find_volumes({CLUSTER: "x"})
    assert "endpoint_url" in caught.value.help


def test_an_endpoint_that_is_no_address_is_refused(aws: SimulatedAws) -> None:
    with pytest.raises(InvalidSpec, match="nonsense") as caught:
        aws.connect(endpoint_url="nonsense").account()
    assert "endpoint_url" in caught.value.help


def test_a_proxy_for_the_outside_world_is_not_asked_for_this_machine(
    aws: SimulatedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert aws.connect().account() == "123456789012"


class _Garbage(BaseHTTPRequestHandler):
    status = 502
    body = b"<html>bad gateway<br>"

    def do_POST(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def garbage() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Garbage)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("status", [200, 400, 502])
def test_an_answer_that_is_not_awss_is_tried_again(
    aws: SimulatedAws, garbage: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Garbage, "status", status)
    with pytest.raises(Unreachable):
        aws.connect(endpoint_url=garbage).find_volumes({CLUSTER: "x"})


def test_an_answer_that_does_not_come_is_given_up(aws: SimulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "READ_TIMEOUT_SECONDS", 0.3)
    cloud = aws.connect()
    aws.admin.add_fault("delay", "DescribeVolumes", seconds=2)
    with pytest.raises(Unreachable, match="no readable answer"):
        cloud.find_volumes({CLUSTER: "x"})


def test_a_simulator_that_is_killed_and_started_again_is_found_again(tmp_path: Path) -> None:
    simulator = SimulatedAws(tmp_path)
    try:
        cloud = simulator.connect()
        made = cloud.create_volume(uuid.uuid4().hex, spec())
        simulator.stop()
        with pytest.raises(Unreachable):
            cloud.get_volume(made.id)
        simulator.start()
        assert cloud.get_volume(made.id) is not None
    finally:
        simulator.stop()
