"""The tags that cloud resources carry, by which they are found, guarded and swept; used by planning, by the
activities that touch a cloud, and in the IAM policy."""

from collections.abc import Mapping
from datetime import UTC, datetime

CLUSTER = "supergiant.io/cluster"
TENANT = "supergiant.io/tenant"
APP = "supergiant.io/app"
COMPONENT = "supergiant.io/component"
INSTANCE = "supergiant.io/instance"
VOLUME = "supergiant.io/volume"

#: Who made it: with the cluster, the key that a disk is looked up by.
OPERATION = "supergiant.io/operation"
STEP = "supergiant.io/step"
#: Which try of that step made it; absent for the first.
TRY = "supergiant.io/try"

#: ISO time until which a disk that is no longer used is kept.
KEEP_UNTIL = "supergiant.io/keep-until"

#: The mark of a disk while its component's delete is under way, or after one was ended by force.
FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)


def kept_until(tags: Mapping[str, str]) -> datetime | None:
    """Until when a disk with these tags is kept; None also for a mark that somebody has edited into something
    else."""
    try:
        found = datetime.fromisoformat(tags[KEEP_UNTIL])
    except (KeyError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def has_end(moment: datetime) -> bool:
    """Whether a mark is a date, and not FOR_EVER."""
    return moment.year < FOR_EVER.year
