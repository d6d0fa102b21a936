"""The messages of the sweep of kept disks."""

from activities.models.common import Message


class Sweep(Message):
    clusters: list[str]


class SweepReport(Message):
    """By cluster: the ids of the disks that were deleted, and why a cluster could not be swept."""

    deleted: dict[str, list[str]]
    failed: dict[str, str] = {}
