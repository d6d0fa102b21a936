"""What all commands of `supergiant sandbox` share: its options, its words for errors, and its tables."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click

from starter.failures import BAD_REQUEST, FAILED, OperationFailed

name_option = click.option(
    "--name",
    default="default",
    show_default=True,
    envvar="SUPERGIANT_SANDBOX_NAME",
    help="Which sandbox; several can live side by side.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@contextmanager
def explained() -> Iterator[None]:
    """The sandbox's errors in the words and exit codes of the whole program."""
    from sandbox.aws.admin import AdminError
    from sandbox.errors import NotThere, SandboxError

    try:
        yield
    except SandboxError as error:
        category = BAD_REQUEST if isinstance(error, NotThere) else FAILED
        raise OperationFailed(category, error.problem, error.way_out) from error
    except AdminError as error:
        raise OperationFailed(FAILED, str(error), "`supergiant sandbox status` shows what runs") from error


def wants_json(ctx: click.Context, here: bool) -> bool:
    return here or bool(getattr(ctx.obj, "as_json", False))


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2))


def print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
