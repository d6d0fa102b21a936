"""The simulated EC2 as the Kubernetes side of the sandbox sees it: plain boto3, told by the environment
where to call.

The CSI driver, the machines stand-in and the node pool share the client and the words for errors.
Only programs of the sandbox import this, never the command line: boto3 takes half a second to load.
"""

import argparse
import logging
import sys
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

# Whatever boto3 may raise for a call.
CloudErrors = (BotoCoreError, ClientError)


def ec2_client(parallel_calls: int = 10) -> "EC2Client":
    """A client of the endpoint, region and credentials that the environment names."""
    return boto3.client(
        "ec2",
        config=Config(
            connect_timeout=3,
            read_timeout=20,
            retries={"mode": "standard", "max_attempts": 4},
            max_pool_connections=parallel_calls,
        ),
    )


def code_of(error: Exception) -> str:
    """AWS's code of an error, or the name of its class when no reply came."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def message_of(error: Exception) -> str:
    """AWS's own words."""
    if isinstance(error, ClientError):
        return f"{code_of(error)}: {error.response.get('Error', {}).get('Message', '')}"
    return str(error)


def start_logging() -> None:
    """Lines with a time on standard output, which the supervisor writes to the log file."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)


def program(description: str) -> argparse.ArgumentParser:
    """The command line that the programs of the Kubernetes side have in common."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--kube-port", type=int, required=True, help="port of the API server")
    parser.add_argument("--certificates", required=True, help="folder of its certificates")
    return parser
