"""What the global options said, handed to every command as `ctx.obj`. Settings and connections are made at
first use, because most commands need only some of them, and imports follow them for the same reason.
"""

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from activities.models.settings import ClusterSettings, Settings
    from starter.listing import Listing
    from starter.operations import Operations

T = TypeVar("T")


@dataclass
class Context:
    """`opened`: what to ask instead of connecting to Temporal; tests give their own."""

    settings_path: str | None = None
    cluster_name: str | None = None
    as_json: bool = False
    opened: "Operations | None" = None

    @cached_property
    def settings(self) -> "Settings":
        from starter.settings import read

        return read(self.settings_path)

    @cached_property
    def cluster(self) -> "ClusterSettings":
        from starter.settings import choose_cluster

        return choose_cluster(self.settings, self.cluster_name)

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin.isatty() and sys.stderr.isatty() and not self.as_json

    def ask(self, work: "Callable[[Operations], Awaitable[T]]") -> T:
        """Connect, and do `work` with the operations."""

        async def connected() -> T:
            return await work(self.opened or await self._operations())

        return _run(connected())

    def ask_listing(self, work: "Callable[[Listing], Awaitable[T]]") -> T:
        """As `ask`, for lists alone, without loading what lists do not need."""

        async def connected() -> T:
            return await work(self.opened or await self._listing())

        return _run(connected())

    def say(self, note: str) -> None:
        """A remark for whoever waits; never on stdout, which carries results."""
        click.secho(note, fg="yellow", err=True)

    async def _operations(self) -> "Operations":
        from starter.connecting import connect
        from starter.operations import Operations

        return Operations(await connect(self.settings), self.say)

    async def _listing(self) -> "Listing":
        from starter.connecting import connect
        from starter.listing import Listing

        return Listing(await connect(self.settings, with_models=False), self.say)


def whoever_asks() -> str:
    """The name that operations are asked for by: the user's of this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)
