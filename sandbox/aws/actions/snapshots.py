"""Snapshots of volumes: none can be made here yet, so none is there, whoever owns it. moto would show some of disks
that do not exist."""

from __future__ import annotations

import re

from sandbox.aws.errors import AwsError
from sandbox.aws.listing import Texts, chosen, page
from sandbox.aws.registry import Call, Result, action

_FILTERS: dict[str, Texts[str]] = {
    name: lambda snapshot: ()
    for name in (
        "description",
        "encrypted",
        "owner-alias",
        "owner-id",
        "progress",
        "snapshot-id",
        "start-time",
        "status",
        "storage-tier",
        "transfer-type",
        "volume-id",
        "volume-size",
    )
}


@action("DescribeSnapshots")
def describe_snapshots(call: Call) -> Result:
    ids = call.params.get("SnapshotIds", [])
    for snapshot_id in ids:
        if not re.fullmatch(r"snap-([0-9a-f]{8}|[0-9a-f]{17})", snapshot_id):
            raise AwsError("InvalidSnapshotID.Malformed", f'Invalid id: "{snapshot_id}"')
    none: list[str] = []
    found = chosen(none, call.params.get("Filters", []), _FILTERS, lambda snapshot: {})
    page(found, call.params, lambda snapshot: (0.0, snapshot), "snapshotSet" if ids else None)
    if ids:
        raise AwsError("InvalidSnapshot.NotFound", f"The snapshot '{ids[0]}' does not exist.")
    return {"Snapshots": []}
