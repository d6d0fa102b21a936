"""Where the values of a document stand in its text; filled by `documents`, asked by `mistakes`."""

from typing import Any

#: The way to a value: keys of mappings and positions in lists.
Place = tuple[str | int, ...]


class Places:
    def __init__(self) -> None:
        self._lines: dict[Place, int] = {}
        self._scalars: dict[Place, str] = {}

    def note(self, place: Place, line: int, value: Any) -> None:
        self._lines[place] = line
        if isinstance(value, str):
            self._scalars[place] = value

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest thing around it that is in the text."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def find(self, word: str, within: Place) -> Place | None:
        """The last value inside `within` that reads `word`, or the last key called so."""
        depth = len(within)
        inside = [place for place in self._lines if place[:depth] == within and len(place) > depth]
        named = [p for p in inside if self._scalars.get(p) == word] or [p for p in inside if p[-1] == word]
        return max(named, key=lambda place: self._lines[place], default=None)


def text_of(place: Place) -> str:
    """("components", 0, "name") is "components[0].name"."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
