"""Puts what the models refuse into the words of the document's writer: place, line, what is wrong, what is
right."""

import difflib
import re
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from starter.places import Place, Places, text_of


@dataclass(frozen=True)
class Mistake:
    line: int
    place: Place
    message: str

    def __str__(self) -> str:
        place = text_of(self.place)
        return f"{self.line}: {place}: {self.message}" if place else f"{self.line}: {self.message}"

    def __lt__(self, other: "Mistake") -> bool:
        # Places mix words and numbers, which do not compare.
        return (self.line, text_of(self.place)) < (other.line, text_of(other.place))


def mistakes_of(
    error: ValidationError, model: type[BaseModel], document: Any, places: Places
) -> list[Mistake]:
    """One mistake for each thing that is wrong; `document` is what was validated as `model`."""
    found: dict[tuple[Place, str], Mistake] = {}
    for detail in error.errors(include_url=False):
        place, meant = _in_document(detail["loc"], document, detail["type"] == "missing")
        if not meant:
            continue
        message = _message(detail, model, place)
        if detail["type"] == "value_error":
            place = _blamed(place, message, document, places)
        found.setdefault((place, message), Mistake(places.line(place), place, message))
    return list(found.values())


def _in_document(loc: tuple[int | str, ...], document: Any, missing: bool) -> tuple[Place, bool]:
    """The place without the names of union arms, which pydantic puts in between and the writer never
    wrote; and whether the error is of the arm that was meant: a mapping means the model, anything else the
    text."""
    place: list[str | int] = []
    meant = True
    here = document
    for position, part in enumerate(loc):
        if _has(here, part):
            here = here[part]
        elif not (missing and position == len(loc) - 1):
            meant = isinstance(here, dict) != (part == "str")
            continue
        place.append(part)
    return tuple(place), meant


def _has(here: Any, part: int | str) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and part < len(here)
    return isinstance(here, dict) and part in here


def _message(detail: Any, model: type[BaseModel], place: Place) -> str:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    match kind:
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            return _unknown_key(str(place[-1]), _model_at(model, place[:-1]))
        case "missing":
            return "is missing"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"{_said(given)} is not a whole number"
        case "bool_parsing" | "bool_type":
            return f"{_said(given)} is neither true nor false"
        case "string_type":
            return f"must be text, not {_said(given)}"
        case "list_type":
            return f"must be a list, not {_said(given)}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a mapping (key: value), not {_said(given)}"
        case "greater_than_equal":
            return f"{_said(given)} is too small; at least {context['ge']}"
        case "less_than_equal":
            return f"{_said(given)} is too large; at most {context['le']}"
        case "too_short":
            return f"needs at least {context['min_length']} item{'s' if context['min_length'] != 1 else ''}"
        case "string_too_short":
            return "is empty"
        case "string_too_long":
            return f"has {len(given)} characters; at most {context['max_length']}"
        case "literal_error" | "enum":
            return f"{_said(given)} is not one of {context['expected']}"
        case "string_pattern_mismatch":
            return f"{_said(given)} does not have the form {context['pattern']}"
    return str(detail["msg"])


def _said(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return str(value) if re.fullmatch(r"-?\d+", str(value)) else repr(value)


def _unknown_key(key: str, model: type[BaseModel] | None) -> str:
    known = sorted(model.model_fields) if model else []
    if close := difflib.get_close_matches(key, known, 1):
        return f"unknown key; did you mean {close[0]!r}?"
    return f"unknown key; known here: {', '.join(known)}" if known else "unknown key"


def _model_at(model: type[BaseModel] | None, place: Place) -> type[BaseModel] | None:
    """The model that the mapping at `place` is read as."""
    for part in place:
        if model is None:
            return None
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation)
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [_model_in(argument) for argument in get_args(annotation)]
    return next((model for model in found if model), None)


def _blamed(place: Place, message: str, document: Any, places: Places) -> Place:
    """Models judge several keys together and can only name the whole; the message says which key it is
    about."""
    for word in reversed(re.findall(r"'([^']*)'", message)):
        if found := places.find(word, place):
            return found
    here = document
    for part in place:
        here = here[part]
    first = message.split()[0] if message else ""
    return (*place, first) if isinstance(here, dict) and first in here else place
