"""The command `supergiant`. Its commands are modules of `starter.cli`, imported only when they are called, so
that `--help` and completion stay fast and no command pays for another's imports.

`main` is the only place that turns errors into a line on stderr and an exit code.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import NoReturn

import click

from starter.cli.context import Context
from starter.failures import BAD_REQUEST, FAILED, UNKNOWN, OperationFailed

#: Set in the environment, it makes an error that nobody foresaw show its traceback.
DEBUG = "SUPERGIANT_DEBUG"


class Lazy(click.Group):
    """A group whose commands are `module:attribute` with the short help that the group's own help shows."""

    def __init__(
        self, *args: object, lazy: dict[str, tuple[str, str]] | None = None, **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, attribute = self._lazy[cmd_name][0].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The base class imports every command to ask it for its short help; that is what this class avoids.
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in self._lazy.items()])


COMMANDS = {
    "app": ("starter.cli.app:app", "Deploy apps, and see and delete what runs."),
    "op": ("starter.cli.op:op", "Follow operations, approve, cancel, retry."),
    "disk": ("starter.cli.disk:disk", "The disks of apps, and where each is attached."),
    "recipe": ("starter.cli.recipe:recipe", "Ready-made app documents."),
    "cluster": ("starter.cli.cluster:cluster", "The clusters of the settings, and whether they can be used."),
    "doctor": ("starter.cli.doctor:doctor", "Look at everything that is needed, and say what is missing."),
    "worker": ("starter.cli.worker:worker", "Run a worker, which carries operations out."),
    "sandbox": ("starter.cli.sandbox:sandbox", "A whole cloud on this machine, to try things on."),
}


@click.group(
    cls=Lazy,
    lazy=COMMANDS,
    context_settings={"auto_envvar_prefix": "SUPERGIANT", "help_option_names": ["-h", "--help"]},
    epilog="Every option can also be given as SUPERGIANT_<COMMAND>_<OPTION> in the environment.",
)
@click.option(
    "--settings", metavar="FILE", help="The settings file; else ./supergiant.toml, else the user's."
)
@click.option("--cluster", metavar="NAME", help="The cluster; not needed when the settings name only one.")
@click.option(
    "--json", "as_json", is_flag=True, envvar="SUPERGIANT_JSON", help="One JSON document on stdout."
)
@click.option("--no-color", is_flag=True, help="No colours; also without a terminal or with NO_COLOR set.")
@click.version_option(package_name="supergiant", prog_name="supergiant")
@click.pass_context
def cli(ctx: click.Context, settings: str | None, cluster: str | None, as_json: bool, no_color: bool) -> None:
    """Run stateful software on Kubernetes, and change it by operations that survive anything, can be watched,
    approved and undone."""
    if no_color:
        # The same word to all who colour: ourselves, also after the command has ended, and rich.
        os.environ["NO_COLOR"] = "1"
    ctx.color = _color()
    given = ctx.ensure_object(Context)
    ctx.obj = replace(given, settings_path=settings, cluster_name=cluster, as_json=as_json)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code."""
    code = run(args)
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Temporal's client keeps threads of its own that have crashed interpreters on their way out; a command
    # has nothing left to do here, so it does not wait for them.
    os._exit(code)


def run(args: Sequence[str] | None = None, context: Context | None = None) -> int:
    """Run one command and return its exit code; every error is said here. Tests give a context of theirs."""
    try:
        result = cli.main(
            args=None if args is None else list(args),
            prog_name="supergiant",
            standalone_mode=False,
            obj=context,
        )
        return result if isinstance(result, int) else 0
    except OperationFailed as failure:
        complain(failure.message, failure.help, failure.details)
        return failure.category.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "supergiant"
        complain(error.format_message(), f"`{command} --help` shows how it is used")
        return BAD_REQUEST.exit_code
    except click.ClickException as error:
        complain(error.format_message())
        return BAD_REQUEST.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` does; the rest would have nobody to go to.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return FAILED.exit_code
    except Exception as error:
        # The last resort: whoever is woken at night gets a line that says what to do, like for any other error.
        if os.environ.get(DEBUG):
            import traceback

            traceback.print_exc()
        message = f"something went wrong that nobody foresaw: {type(error).__name__}: {error}"
        complain(message, f"with {DEBUG}=1 in the environment it shows where; please report that")
        return UNKNOWN.exit_code


def complain(message: str, help: str = "", details: Sequence[str] = ()) -> None:
    click.secho(f"Error: {message}", fg="red", err=True, color=_color())
    for line in details:
        click.echo(f"  {line}", err=True)
    if help:
        click.echo(f"  → {help}", err=True)


def _color() -> bool | None:
    return False if os.environ.get("NO_COLOR") else None


if __name__ == "__main__":
    main()
