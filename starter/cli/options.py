"""Options that several commands share. `--json` and `--cluster` may stand before or after the command's
name."""

import re
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

import click

from starter.cli.context import Context, whoever_asks

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_json, help="One JSON document on stdout."
    )(command)


def cluster_option(command: F) -> F:
    return click.option(
        "--cluster", metavar="NAME", expose_value=False, callback=_cluster, help="The cluster to use."
    )(command)


def as_option(command: F) -> F:
    return click.option(
        "--as",
        "requester",
        envvar="SUPERGIANT_AS",
        metavar="NAME",
        default=whoever_asks,
        callback=_named,
        show_default="the user of this machine",
        help="Who asks for it; stands in the record.",
    )(command)


def id_option(command: F) -> F:
    return click.option(
        "--id",
        metavar="ID",
        callback=_checked_id,
        help="The operation's id; the same id twice is the same operation.",
    )(command)


def new_id(kind: str, name: str) -> str:
    """The id of an operation that was given none: it says what it is about, and 40 bits of chance make it
    unique."""
    return f"{kind}-{name[:20].rstrip('-')}-{secrets.token_hex(5)}"


def yes_option(command: F) -> F:
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def watch_option(command: F) -> F:
    return click.option(
        "-w/-W",
        "--watch/--no-watch",
        default=None,
        help="Follow it until it ends; the default on a terminal.",
    )(command)


def _json(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Context).as_json = True


def _cluster(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(Context).cluster_name = value


def _named(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("say a name; it stands in the record")
    return value


def _checked_id(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", value):
        raise click.BadParameter("use 1 to 40 lower-case letters, digits and '-', not beginning with '-'")
    return value
