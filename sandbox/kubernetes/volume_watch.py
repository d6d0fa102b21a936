"""Waits for many volumes with few calls.

Fifty attachments under way at once would be two hundred DescribeVolumes a second if each asked for
itself. Here one thread asks for all that are waited for, and only while somebody waits.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sandbox.kubernetes.cloud import CloudErrors

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

Volume = dict[str, Any]
_PERIOD_SECONDS = 0.2
# EC2 takes at most 200 values of a filter.
_VALUES_PER_FILTER = 200


class VolumeWatch:
    """Looks at volumes of one region."""

    def __init__(self, ec2: "EC2Client", period_seconds: float = _PERIOD_SECONDS) -> None:
        self._ec2 = ec2
        self._period_seconds = period_seconds
        self._seen: dict[str, Volume | None] = {}
        self._waiting: dict[str, int] = {}
        self._round = 0
        self._error: Exception | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True, name="volume-watch").start()

    def look(self, volume_id: str) -> Volume | None:
        """The volume as it is now; None if there is none."""
        return self._describe([volume_id]).get(volume_id)

    def wait(
        self, volume_id: str, deadline: float, reached: Callable[[Volume | None], bool]
    ) -> Volume | None:
        """The volume as soon as it is as wanted, or as it is at the deadline (monotonic seconds)."""
        with self._changed:
            self._waiting[volume_id] = self._waiting.get(volume_id, 0) + 1
            first = self._round + 1
            self._changed.notify_all()
            try:
                while True:
                    seen = self._seen.get(volume_id)
                    # A look that began before this wait may show the state before the caller's change.
                    fresh = self._round > first and volume_id in self._seen
                    if fresh and self._error is None and reached(seen):
                        return seen
                    left = deadline - time.monotonic()
                    if left <= 0:
                        if self._error is not None:
                            raise self._error
                        return seen if volume_id in self._seen else self.look(volume_id)
                    self._changed.wait(left)
            finally:
                self._waiting[volume_id] -= 1
                if not self._waiting[volume_id]:
                    del self._waiting[volume_id]
                    self._seen.pop(volume_id, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                wanted = list(self._waiting)
            error, found = None, dict[str, Volume]()
            try:
                found = self._describe(wanted)
            except CloudErrors as raised:
                error = raised
            with self._changed:
                self._round += 1
                self._error = error
                if error is None:
                    self._seen.update({name: found.get(name) for name in wanted if name in self._waiting})
                self._changed.notify_all()
            time.sleep(self._period_seconds)

    def _describe(self, volume_ids: Iterable[str]) -> dict[str, Volume]:
        # A filter, unlike a list of ids, does not fail for all when one of them is gone.
        names, found = sorted(volume_ids), dict[str, Volume]()
        pages = self._ec2.get_paginator("describe_volumes")
        for start in range(0, len(names), _VALUES_PER_FILTER):
            values = names[start : start + _VALUES_PER_FILTER]
            for page in pages.paginate(Filters=[{"Name": "volume-id", "Values": values}]):
                found.update({str(volume["VolumeId"]): dict(volume) for volume in page["Volumes"]})
        return found
