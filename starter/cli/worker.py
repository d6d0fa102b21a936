"""`supergiant worker`: becomes a worker process. It replaces itself, because starters import nothing of
workers and because whoever started this process wants to send its signals to the worker."""

import os
import sys

import click

from starter.cli.context import Context


@click.command(short_help="Run a worker, which carries operations out.")
@click.pass_obj
def worker(context: Context) -> None:
    """Run a worker in this process until it is told to stop (SIGTERM or Ctrl-C)."""
    source = context.settings.source
    if source:
        os.environ["SUPERGIANT_SETTINGS"] = str(source)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "workers.main"])  # noqa: S606
