"""What real nodes ask of the simulated EC2, with the standard library alone.

Each node runs a process that asks; boto3 in every one of them would cost a second of start and 60 MiB each.
"""

import configparser
import hashlib
import hmac
import http.client
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

REAL_TAG = "sandbox:node"
REAL_VALUE = "real"
_VERSION = "2016-11-15"
# EC2 counts a Nitro instance's network interface and root disk against the 28 it can attach at most.
_SHARED_LIMIT_TAKEN = 2
_DEFAULT_ATTACHMENTS = 28


class Ec2Error(Exception):
    """EC2 refused or did not answer; `code` is EC2's, or empty."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if code else message)
        self.code = code


@dataclass(frozen=True)
class Instance:
    """A machine that is to be a real node."""

    id: str
    state: str
    zone: str
    type: str
    name: str

    @property
    def has_power(self) -> bool:
        """Whether it is switched on."""
        return self.state == "running"

    @property
    def is_dead(self) -> bool:
        """Whether it never comes back."""
        return self.state in ("shutting-down", "terminated")


@dataclass(frozen=True)
class Volume:
    """A disk, and the instance that it is attached to (with the device name there), if any."""

    id: str
    size_gib: int
    instance_id: str = ""
    device: str = ""


class Ec2:
    """The simulated EC2 at an address of this machine."""

    def __init__(self, host: str, port: int, credentials: Path, profile: str, region: str) -> None:
        self._host, self._port, self._region = host, port, region
        sections = configparser.ConfigParser(interpolation=None)
        sections.read(credentials)
        self._key_id = sections[profile]["aws_access_key_id"]
        self._secret = sections[profile]["aws_secret_access_key"]

    def real_instances(self) -> list[Instance]:
        """Every instance that is to be a real node, whatever its state."""
        found = list[Instance]()
        token = ""
        while True:
            more = {"NextToken": token} if token else {}
            answer = self._ask(
                "DescribeInstances",
                {"Filter.1.Name": f"tag:{REAL_TAG}", "Filter.1.Value.1": REAL_VALUE, "MaxResults": "1000"}
                | more,
            )
            found += [_instance(item) for item in answer.findall("reservationSet/item/instancesSet/item")]
            token = answer.findtext("nextToken", "")
            if not token:
                return found

    def volume(self, volume_id: str) -> Volume | None:
        """One volume; None if there is none. Only an attachment that is complete counts as one."""
        answer = self._ask("DescribeVolumes", {"Filter.1.Name": "volume-id", "Filter.1.Value.1": volume_id})
        item = answer.find("volumeSet/item")
        if item is None:
            return None
        size_gib = int(item.findtext("size", "0"))
        for attachment in item.findall("attachmentSet/item"):
            if attachment.findtext("status") == "attached":
                where = attachment.findtext("instanceId", ""), attachment.findtext("device", "")
                return Volume(volume_id, size_gib, *where)
        return Volume(volume_id, size_gib)

    def attachments_of(self, instance_type: str) -> int:
        """How many data volumes an instance type takes."""
        answer = self._ask("DescribeInstanceTypes", {"InstanceType.1": instance_type})
        limits = "instanceTypeSet/item/ebsInfo"
        return data_volumes(
            answer.findtext(f"{limits}/maximumEbsAttachments"),
            answer.findtext(f"{limits}/attachmentLimitType"),
        )

    def terminate(self, instance_id: str) -> None:
        """End an instance for good."""
        self._ask("TerminateInstances", {"InstanceId.1": instance_id})

    def _ask(self, action: str, parameters: dict[str, str]) -> ElementTree.Element:
        body = urlencode({"Action": action, "Version": _VERSION, **parameters}).encode()
        connection = http.client.HTTPConnection(self._host, self._port, timeout=10)
        try:
            connection.request("POST", "/", body, self._signed(body))
            reply = connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise Ec2Error("", f"the simulated EC2 does not answer: {error}") from error
        finally:
            connection.close()
        try:
            # The answer comes from the sandbox's own simulator.
            tree = _without_namespaces(ElementTree.fromstring(content))  # noqa: S314
        except ElementTree.ParseError as error:
            raise Ec2Error(
                "", f"the simulated EC2 answers with {reply.status} and no XML: {error}"
            ) from error
        if reply.status >= 400:
            raise Ec2Error(tree.findtext(".//Code", ""), tree.findtext(".//Message", ""))
        return tree

    def _signed(self, body: bytes) -> dict[str, str]:
        """The headers of a request that carries Signature Version 4."""
        now = datetime.now(UTC)
        moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        host, kind = f"{self._host}:{self._port}", "application/x-www-form-urlencoded"
        canonical = (
            f"POST\n/\n\ncontent-type:{kind}\nhost:{host}\nx-amz-date:{moment}\n\n"
            f"content-type;host;x-amz-date\n{hashlib.sha256(body).hexdigest()}"
        )
        scope = f"{day}/{self._region}/ec2/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for part in (day, self._region, "ec2", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        return {
            "Content-Type": kind,
            "Host": host,
            "X-Amz-Date": moment,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self._key_id}/{scope}, "
            f"SignedHeaders=content-type;host;x-amz-date, Signature={signature}",
        }


def data_volumes(most: str | int | None, limit: str | None) -> int:
    """How many data volumes an instance type takes that can attach so many disks, under such a limit."""
    # A limit for disks alone counts only the root disk against it.
    taken = 1 if limit == "dedicated" else _SHARED_LIMIT_TAKEN
    return int(_DEFAULT_ATTACHMENTS if most is None else most) - taken


def _instance(item: ElementTree.Element) -> Instance:
    instance_id = item.findtext("instanceId", "")
    return Instance(
        instance_id,
        item.findtext("instanceState/name", ""),
        item.findtext("placement/availabilityZone", ""),
        item.findtext("instanceType", ""),
        item.findtext("privateDnsName", "") or f"{instance_id}.ec2.internal",
    )


def _without_namespaces(tree: ElementTree.Element) -> ElementTree.Element:
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    return tree
