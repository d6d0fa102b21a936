"""Attaches, detaches and grows volumes of the simulated EC2, and waits until it is so.

The CSI driver's calls end here. Every call may come again after it was half done: what is wanted is
compared with what is, and only the difference is asked for.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice, product
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from sandbox.kubernetes.cloud import CloudErrors, code_of, message_of
from sandbox.kubernetes.rpc import Refused
from sandbox.kubernetes.volume_watch import VolumeWatch

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

Volume = dict[str, Any]
log = logging.getLogger("csi")

# gRPC's word for each of AWS's: what the caller may do about it.
_STATUS = {
    "AttachmentLimitExceeded": "RESOURCE_EXHAUSTED",
    "IncorrectInstanceState": "FAILED_PRECONDITION",
    "IncorrectModificationState": "ABORTED",
    "IncorrectState": "FAILED_PRECONDITION",
    "InvalidInstanceID.Malformed": "NOT_FOUND",
    "InvalidInstanceID.NotFound": "NOT_FOUND",
    "InvalidVolume.NotFound": "NOT_FOUND",
    "InvalidVolume.ZoneMismatch": "INVALID_ARGUMENT",
    "InvalidVolumeID.Malformed": "NOT_FOUND",
    "RequestLimitExceeded": "UNAVAILABLE",
    "UnsupportedOperation": "UNIMPLEMENTED",
    "VolumeInUse": "FAILED_PRECONDITION",
}
_DEAD = ("shutting-down", "terminated")
_MODIFICATION_PERIOD_SECONDS = 0.5
# The names that EC2 recommends for data volumes, in the order in which they are handed out.
_DEVICES = tuple(f"/dev/xvd{first}{second}" for first, second in product("bcd", ascii_lowercase))


class Attachments:
    """The volumes and instances of one region."""

    def __init__(
        self,
        ec2: "EC2Client",
        released: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """`released` refuses while a real node uses a volume, and lets none begin inside its block."""
        self._ec2 = ec2
        self._released = released
        self._watch = VolumeWatch(ec2)
        self._claimed: set[tuple[str, str]] = set()
        self._claims_lock = threading.Lock()

    def must_exist(self, volume_id: str) -> Volume:
        """The volume as the cloud describes it."""
        volume = self._watch.look(volume_id)
        if volume is None:
            raise Refused("NOT_FOUND", f"{volume_id} does not exist")
        return volume

    def attach(self, volume_id: str, instance_id: str, seconds: float) -> str:
        """Attach a volume to an instance, if it is not, and return the device name."""
        deadline = time.monotonic() + seconds
        with _in_grpc_words():
            volume = self.must_exist(volume_id)
            found = _attachment(volume, instance_id)
            others = [a["InstanceId"] for a in _attachments(volume) if a["InstanceId"] != instance_id]
            if others:
                raise Refused("FAILED_PRECONDITION", f"{volume_id} is attached to {', '.join(others)}")
            if found is not None and found["State"] == "detaching":
                raise Refused("ABORTED", f"{volume_id} is still being detached from {instance_id}")
            if found is None:
                self._request_attachment(volume_id, instance_id)
            volume = self._wait(
                volume_id, deadline, lambda it: _state(it, instance_id) == "attached", "attached"
            )
            return str(_attachments(volume)[0]["Device"])

    def detach(self, volume_id: str, instance_id: str | None, seconds: float) -> None:
        """Detach a volume from an instance (from any, if none is named); gone already is well."""
        deadline = time.monotonic() + seconds
        with _in_grpc_words():
            volume = self._watch.look(volume_id)
            if volume is None:
                return
            found = [a for a in _attachments(volume) if instance_id in (None, a["InstanceId"])]
            for attachment in found:
                if attachment["State"] != "detaching":
                    with self._released(volume_id):
                        self._request_detachment(volume_id, attachment["InstanceId"])
            if found:
                instances = [a["InstanceId"] for a in found]
                self._wait(
                    volume_id,
                    deadline,
                    lambda it: not any(_attachment(it, name) for name in instances),
                    "detached",
                )

    def grow(self, volume_id: str, wanted_gib: int, seconds: float) -> int:
        """Make a volume at least this big, and return its size as soon as the new size is usable."""
        deadline = time.monotonic() + seconds
        with _in_grpc_words():
            if self.must_exist(volume_id)["Size"] < wanted_gib:
                self._request_growth(volume_id, wanted_gib)
            self._wait_modified(volume_id, deadline)
            volume = self.must_exist(volume_id)
            if volume["Size"] < wanted_gib:
                raise Refused("INTERNAL", f"{volume_id} did not grow to {wanted_gib} GiB")
            return int(volume["Size"])

    def _request_attachment(self, volume_id: str, instance_id: str) -> None:
        with self._device(instance_id) as device:
            log.info("attaching %s to %s as %s", volume_id, instance_id, device)
            try:
                self._ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)
            except CloudErrors as error:
                # The reply to an earlier call may have been lost: what counts is what is.
                if not _attachment(self.must_exist(volume_id), instance_id):
                    raise
                log.info("%s is being attached already (%s)", volume_id, message_of(error))

    def _request_detachment(self, volume_id: str, instance_id: str) -> None:
        log.info("detaching %s from %s", volume_id, instance_id)
        try:
            self._ec2.detach_volume(VolumeId=volume_id, InstanceId=instance_id)
        except CloudErrors as error:
            volume = self._watch.look(volume_id)
            if volume is not None and _state(volume, instance_id) not in (None, "detaching"):
                raise
            log.info("%s is being detached already (%s)", volume_id, message_of(error))

    def _request_growth(self, volume_id: str, wanted_gib: int) -> None:
        log.info("growing %s to %d GiB", volume_id, wanted_gib)
        try:
            self._ec2.modify_volume(VolumeId=volume_id, Size=wanted_gib)
        except CloudErrors as error:
            # The reply to an earlier call may have been lost: what counts is what is.
            if self.must_exist(volume_id)["Size"] < wanted_gib:
                raise
            log.info("%s is growing already (%s)", volume_id, message_of(error))

    def _wait_modified(self, volume_id: str, deadline: float) -> None:
        """Wait until what the volume shows can be used: it shows a new size before that."""
        while self._modification_state(volume_id) == "modifying":
            if time.monotonic() >= deadline:
                raise Refused("ABORTED", f"{volume_id} is not yet bigger")
            time.sleep(_MODIFICATION_PERIOD_SECONDS)

    def _modification_state(self, volume_id: str) -> str:
        # A filter, unlike a list of ids, does not fail when the volume was never modified.
        answer = self._ec2.describe_volumes_modifications(
            Filters=[{"Name": "volume-id", "Values": [volume_id]}]
        )
        found = answer["VolumesModifications"]
        return str(found[0]["ModificationState"]) if found else "completed"

    @contextmanager
    def _device(self, instance_id: str) -> Iterator[str]:
        """A device name that nothing on the instance has and no other call is about to take."""
        with self._claims_lock:
            used = self._devices_in_use(instance_id)
            names = (
                name for name in _DEVICES if name not in used and (instance_id, name) not in self._claimed
            )
            name = next(islice(names, 1), None)
            if name is None:
                raise Refused("RESOURCE_EXHAUSTED", f"{instance_id} has no free device name")
            self._claimed.add((instance_id, name))
        try:
            yield name
        finally:
            with self._claims_lock:
                self._claimed.discard((instance_id, name))

    def _devices_in_use(self, instance_id: str) -> set[str]:
        answer = self._ec2.describe_instances(InstanceIds=[instance_id])
        for reservation in answer["Reservations"]:
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] in _DEAD:
                    raise Refused("NOT_FOUND", f"{instance_id} is {instance['State']['Name']}")
                return {mapping["DeviceName"] for mapping in instance.get("BlockDeviceMappings", [])}
        raise Refused("NOT_FOUND", f"{instance_id} does not exist")

    def _wait(self, volume_id: str, deadline: float, reached: Callable[[Volume], bool], word: str) -> Volume:
        volume = self._watch.wait(volume_id, deadline, lambda it: it is None or reached(it))
        if volume is None:
            raise Refused("NOT_FOUND", f"{volume_id} vanished before it was {word}")
        if not reached(volume):
            # The side-car calls again, and the next call finds the work under way.
            raise Refused("ABORTED", f"{volume_id} is not yet {word}")
        return volume


def _attachments(volume: Volume) -> list[dict[str, Any]]:
    return [a for a in volume.get("Attachments", []) if a["State"] != "detached"]


def _attachment(volume: Volume, instance_id: str) -> dict[str, Any] | None:
    return next((a for a in _attachments(volume) if a["InstanceId"] == instance_id), None)


def _state(volume: Volume, instance_id: str) -> str | None:
    attachment = _attachment(volume, instance_id)
    return None if attachment is None else str(attachment["State"])


@contextmanager
def _in_grpc_words() -> Iterator[None]:
    try:
        yield
    except CloudErrors as error:
        raise Refused(_STATUS.get(code_of(error), "INTERNAL"), message_of(error)) from error
