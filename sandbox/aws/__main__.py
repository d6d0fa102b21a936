"""Starts the AWS simulator: `python -m sandbox.aws --port P --state FILE`. Run by the sandbox's supervisor and
by tests; prints one line when ready, ends at SIGTERM, and may be killed at any moment."""

from __future__ import annotations

import argparse
import configparser
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from sandbox.aws.auth import ACCOUNT, Key
from sandbox.aws.server import Server
from sandbox.aws.simulator import Simulator
from sandbox.aws.store import Store, StoreError

# Known to everybody and good for nothing but a sandbox; a real account has never had this key.
DEFAULT_ACCESS_KEY_ID = "AKIASANDBOXSUPERGIAN"
DEFAULT_SECRET = "sandbox-secret-that-opens-nothing"  # noqa: S105


def main() -> int:
    options = _options()
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    # botocore and moto warn about things nobody here can change.
    logging.getLogger("botocore").setLevel(logging.ERROR)
    try:
        key = _key(options.credentials_file, options.profile)
        store = Store(options.state)
    except (StoreError, _BadCredentials) as error:
        sys.stderr.write(f"sandbox.aws: {error}\n")
        return 2
    simulator = Simulator(store, key, options.seed, options.speed)
    try:
        server = Server(options.port, simulator)
    except OSError as error:
        sys.stderr.write(f"sandbox.aws: cannot listen on 127.0.0.1:{options.port}: {error.strerror}\n")
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the serving loop, which is this thread: another one has to call it.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    simulator.moto.warm_up()
    sys.stdout.write(f"AWS simulator ready on http://127.0.0.1:{server.server_port} (account {ACCOUNT})\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.2)
    server.server_close()
    store.close()
    return 0


class _BadCredentials(Exception):
    pass


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.aws",
        description="An AWS simulator: EC2 instances, EBS and STS with the vendor's rules, the rest from moto.",
    )
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument(
        "--state", type=Path, required=True, metavar="FILE", help="SQLite file, made if missing"
    )
    parser.add_argument("--speed", type=float, help="how many times as fast as real time (default 1)")
    parser.add_argument("--seed", type=int, help="of ids and of faults with a probability; kept in the state")
    parser.add_argument(
        "--credentials-file", type=Path, metavar="FILE", help="the key to accept, as ~/.aws/credentials"
    )
    parser.add_argument("--profile", default="default", help="section of that file (default: default)")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="where messages go instead of stdout and stderr"
    )
    options = parser.parse_args()
    if options.speed is not None and options.speed < 0:
        parser.error("--speed must be 0 (frozen) or more")
    if options.log is not None:
        _redirect(options.log, parser)
    return options


def _redirect(path: Path, parser: argparse.ArgumentParser) -> None:
    """stdout keeps the line that says ready; the rest goes to the file."""
    try:
        log = path.open("a", buffering=1)
    except OSError as error:
        parser.error(f"cannot write the log {path}: {error.strerror}")
    os.dup2(log.fileno(), sys.stderr.fileno())


def _key(path: Path | None, profile: str) -> Key:
    """The one long-lived key: from the file, else from the environment, else the sandbox's default."""
    access_key_id = os.environ.get("SANDBOX_AWS_ACCESS_KEY_ID", DEFAULT_ACCESS_KEY_ID)
    secret = os.environ.get("SANDBOX_AWS_SECRET_ACCESS_KEY", DEFAULT_SECRET)
    if path is not None:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(path.read_text())
            access_key_id = parser[profile]["aws_access_key_id"].strip()
            secret = parser[profile]["aws_secret_access_key"].strip()
        except OSError as error:
            raise _BadCredentials(f"cannot read {path}: {error.strerror}") from error
        except (configparser.Error, KeyError) as error:
            raise _BadCredentials(
                f"{path} needs a section [{profile}] with aws_access_key_id and aws_secret_access_key"
            ) from error
    return Key(
        access_key_id, secret, arn=f"arn:aws:iam::{ACCOUNT}:user/sandbox", user_id="AIDASANDBOXUSER000001"
    )


if __name__ == "__main__":
    sys.exit(main())
