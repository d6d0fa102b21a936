"""Reads an app document: YAML to `App`, strictly. Every mistake becomes one line with file, line and place.

Called by `app deploy` and `recipe`. The values are checked by the models; this module knows where they
stand in the text. Scalars reach the models as they are written, so that `1.10` stays a version and `yes`
stays a word; the models turn them into numbers where a number belongs.
"""

import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from activities.models.apps import App
from starter.failures import BAD_REQUEST, OperationFailed
from starter.mistakes import Mistake, mistakes_of
from starter.places import Place, Places

#: A document is written by hand; anything above is a mistake, or wants to use up our memory.
MAX_BYTES = 1024 * 1024
MAX_NODES = 50_000
MAX_DEPTH = 50
MAX_SHOWN = 20


def read(source: str) -> App:
    """The document in a file, or on standard input for "-"."""
    if source == "-":
        name = "standard input"
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        name = source
        data = _bytes_of(Path(source))
    return parse(_text_of(name, data), name)


def parse(text: str, name: str) -> App:
    """`name` is what mistakes are said to be in."""
    root = _compose(text, name)
    if root is None:
        raise OperationFailed(BAD_REQUEST, f"{name} is empty", _HELP)
    if not isinstance(root, yaml.MappingNode):
        raise OperationFailed(
            BAD_REQUEST, f"{name}:1: an app document is a mapping (app: …, components: …)", _HELP
        )
    places = Places()
    reader = _Reader(places)
    try:
        value = reader.value(root, (), 0)
    except _TooMuch as error:
        raise OperationFailed(BAD_REQUEST, f"{name}:{error.line}: {error}") from None
    mistakes = reader.mistakes
    if not mistakes:
        try:
            return App.model_validate(value, extra="forbid")
        except ValidationError as error:
            mistakes = mistakes_of(error, App, value, places)
    raise _refusal(name, mistakes)


#: What plain YAML resolves to by itself; any other tag asks for a value of some program's own making.
_PLAIN_TAGS = {"bool", "float", "int", "map", "null", "seq", "str", "timestamp", "value"}

_HELP = "`supergiant recipe show redis` shows a complete one, `supergiant app schema` every key"


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise OperationFailed(BAD_REQUEST, f"file {path} does not exist") from None
    except OSError as error:
        raise OperationFailed(BAD_REQUEST, f"file {path} cannot be read: {error.strerror}") from None


def _text_of(name: str, data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise OperationFailed(BAD_REQUEST, f"{name} is larger than 1 MiB; that is not an app document")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise OperationFailed(BAD_REQUEST, f"{name}:{line}: this is not UTF-8 text") from None


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        _check_depth(text)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except _TooMuch as error:
        raise OperationFailed(BAD_REQUEST, f"{name}:{error.line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        problem = error.problem or "it cannot be read as YAML"
        if "\\t" in problem:
            problem = "a tab cannot begin a line or a value; indent with spaces"
        elif "single document" in (error.context or ""):
            problem = "a second document begins here; one file holds one app"
        raise OperationFailed(BAD_REQUEST, f"{name}:{line}: not valid YAML: {problem}") from None
    except yaml.YAMLError as error:
        line = text[: getattr(error, "position", 0)].count("\n") + 1
        reason = getattr(error, "reason", None) or "it cannot be read"
        raise OperationFailed(BAD_REQUEST, f"{name}:{line}: not valid YAML: {reason}") from None


def _check_depth(text: str) -> None:
    # Composing recurses; the events do not, so depth is looked at first.
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _TooMuch("nested too deeply", line)
        if count > 2 * MAX_NODES:
            raise _TooMuch("the document has too many values", line)


class _TooMuch(Exception):
    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Reader:
    """Turns nodes into plain values, notes where each stands, and collects mistakes of the text itself."""

    def __init__(self, places: Places) -> None:
        self.mistakes: list[Mistake] = []
        self._places = places
        self._count = 0

    def value(self, node: yaml.Node, place: Place, depth: int) -> Any:
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            # Aliases can make a short text very large, or endless.
            raise _TooMuch("the aliases in the document expand to too much", line)
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _PLAIN_TAGS:
            self.mistakes.append(Mistake(line, place, f"the YAML tag {node.tag} is not allowed"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self._noted(item, (*place, i), depth) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return None if node.tag == "tag:yaml.org,2002:null" else node.value

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.mistakes.append(Mistake(line, place, "a key must be a word"))
                continue
            key = key_node.value
            if key in values:
                self.mistakes.append(
                    Mistake(line, (*place, key), f"duplicate key; it stands in line {lines[key]} already")
                )
                continue
            lines[key] = line
            values[key] = self._noted(value_node, (*place, key), depth, line)
        return values

    def _noted(self, node: yaml.Node, place: Place, depth: int, line: int | None = None) -> Any:
        value = self.value(node, place, depth + 1)
        self._places.note(place, line or node.start_mark.line + 1, value)
        return value


def _refusal(name: str, mistakes: list[Mistake]) -> OperationFailed:
    lines = [f"{name}:{mistake}" for mistake in sorted(mistakes)]
    if len(lines) == 1:
        return OperationFailed(BAD_REQUEST, lines[0])
    shown = lines[:MAX_SHOWN]
    if len(lines) > MAX_SHOWN:
        shown.append(f"… and {len(lines) - MAX_SHOWN} more")
    return OperationFailed(BAD_REQUEST, f"{name} has {len(lines)} mistakes", details=tuple(shown))
