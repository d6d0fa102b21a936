"""The recipes that ship with the product: app documents, read as package data by `recipe` and `app
deploy`."""

from importlib.resources import files
from typing import NamedTuple

from starter.failures import BAD_REQUEST, OperationFailed


class Recipe(NamedTuple):
    name: str
    summary: str
    text: str


def names() -> list[str]:
    found = (entry.name for entry in files("recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def get(name: str) -> Recipe:
    if name not in names():
        raise OperationFailed(BAD_REQUEST, f"no recipe named {name!r}", f"known: {', '.join(names())}")
    text = (files("recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    # A recipe opens with a comment, and the first line of it says what it is.
    return Recipe(name, text.splitlines()[0].removeprefix("#").strip(), text)
