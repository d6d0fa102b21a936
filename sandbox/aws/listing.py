"""Filters and pages of Describe calls, with the vendor's rules. Used by every action that lists records."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sandbox.aws.errors import AwsError, invalid_combination, invalid_value

R = TypeVar("R")
# What a filter looks at: the texts of a record, any of which may match.
Texts = Callable[[R], Iterable[str | None]]


def chosen(
    records: Iterable[R],
    filters: Sequence[Mapping[str, Any]],
    known: Mapping[str, Texts[R]],
    tags: Callable[[R], Mapping[str, str]] | None = None,
) -> list[R]:
    """The records that match every filter; a filter nobody knows is refused, as the vendor does. Without `tags`
    there are no filters by tag."""
    tests: list[tuple[Texts[R], re.Pattern[str]]] = []
    for item in filters:
        name, values = str(item.get("Name", "")), item.get("Values") or []
        if len(values) > 200:
            raise AwsError(
                "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200"
            )
        texts = known.get(name) or (_tag_filter(name, tags) if tags else None)
        if texts is None:
            raise invalid_value(f"The filter '{name}' is invalid")
        tests.append((texts, _pattern(tuple(str(value) for value in values))))
    return [record for record in records if all(_matches(texts(record), pattern) for texts, pattern in tests)]


def page(
    records: Sequence[R],
    params: Mapping[str, Any],
    key: Callable[[R], tuple[float, str]],
    ids_given: str | None = None,
    limit: int = 1000,
) -> tuple[list[R], str | None]:
    """One page in a stable order and the token of the next; `ids_given` names the id list MaxResults excludes."""
    ordered = sorted(records, key=key)
    size = params.get("MaxResults")
    if size is not None:
        if ids_given:
            raise invalid_combination(
                f"The parameter {ids_given} cannot be used with the parameter maxResults"
            )
        check_page_size(size, limit)
    token = params.get("NextToken")
    if token:
        after = _read_token(token)
        ordered = [record for record in ordered if key(record) > after]
    if size is None or len(ordered) <= size:
        return ordered, None
    shown = ordered[:size]
    return shown, _write_token(key(shown[-1]))


def check_page_size(size: int, limit: int = 1000) -> None:
    if size < 5:
        raise invalid_value(
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value greater than or equal to 5."
        )
    if size > limit:
        raise invalid_value(
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value less than or equal to {limit}."
        )


def at(path: str) -> Texts[Mapping[str, Any]]:
    """Looks values up in what is shown of a record by the names on the way, in every item of a list."""

    def texts(shown: Mapping[str, Any]) -> Iterable[str | None]:
        found: list[Any] = [shown]
        for name in path.split("."):
            values = [item.get(name) for item in found if isinstance(item, Mapping)]
            found = [item for value in values for item in (value if isinstance(value, list) else [value])]
        return [
            flag(value) if isinstance(value, bool) else None if value is None else str(value)
            for value in found
        ]

    return texts


def flag(value: bool) -> str:
    return "true" if value else "false"


def _tag_filter(name: str, tags: Callable[[R], Mapping[str, str]]) -> Texts[R] | None:
    if name == "tag-key":
        return lambda record: tags(record)
    if name == "tag-value":
        return lambda record: tags(record).values()
    if name.startswith("tag:"):
        key = name[len("tag:") :]
        return lambda record: (tags(record).get(key),)
    return None


def _matches(texts: Iterable[str | None], pattern: re.Pattern[str]) -> bool:
    return any(text is not None and pattern.fullmatch(text) is not None for text in texts)


@lru_cache(maxsize=512)
def _pattern(values: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for all values: `*` and `?` are wildcards, a backslash takes their meaning away."""
    alternatives: list[str] = []
    for value in values:
        parts = re.findall(r"\\.|.", value, re.DOTALL)
        alternatives.append("".join(_WILDCARDS.get(part) or re.escape(part[-1]) for part in parts))
    # No value at all matches nothing.
    return re.compile("|".join(f"(?:{item})" for item in alternatives) or "(?!)", re.DOTALL)


_WILDCARDS = {"*": ".*", "?": "."}


def _write_token(position: tuple[float, str]) -> str:
    return base64.urlsafe_b64encode(f"{position[0]!r} {position[1]}".encode()).decode()


def _read_token(token: str) -> tuple[float, str]:
    try:
        at, _, identity = base64.urlsafe_b64decode(token.encode()).decode().partition(" ")
        return float(at), identity
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise AwsError("InvalidNextToken", "The token is invalid.") from None
