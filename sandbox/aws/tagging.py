"""Tags as parameters and as answers, and the vendor's rules for them. Used by the tag actions and by every action
that creates something with tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.aws.errors import AwsError, invalid_value

MAX_TAGS = 50


def from_params(
    specifications: list[dict[str, Any]] | None, resource_type: str, allowed: set[str]
) -> dict[str, str]:
    """The tags a request gives to a type of resource; a type the action cannot make is refused."""
    tags: dict[str, str] = {}
    for specification in specifications or []:
        kind = specification.get("ResourceType")
        if kind not in allowed:
            raise invalid_value(
                f"'{kind}' is not a valid taggable resource type for this operation. "
                f"Use one of: {', '.join(sorted(allowed))}."
            )
        given = specification.get("Tags")
        if not given:
            raise invalid_value("Tag specification must have at least one tag")
        if kind == resource_type:
            tags.update(merged({}, given))
    return tags


def merged(existing: Mapping[str, str], given: list[dict[str, Any]]) -> dict[str, str]:
    tags = dict(existing)
    seen: set[str] = set()
    for tag in given:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not key or len(key) > 127:
            raise invalid_value("Tag keys must be 1 to 127 characters long")
        if len(value) > 255:
            raise invalid_value("Tag values must be at most 255 characters long")
        if key.lower().startswith("aws:"):
            raise invalid_value("Tag keys starting with 'aws:' are reserved for internal use")
        if key in seen:
            raise invalid_value(f"Duplicate tag key '{key}' specified.")
        seen.add(key)
        tags[key] = value
    # Tags of the vendor's own do not count.
    if sum(1 for key in tags if not key.startswith("aws:")) > MAX_TAGS:
        raise AwsError("TagLimitExceeded", f"The maximum number of Tags for a resource is {MAX_TAGS}.")
    return tags


def shown(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
