"""Prints the IAM policy that a worker needs for one cluster: `python -m activities.clouds.permissions NAME`.

The text in docs/guides/your-own-aws.md comes from here.
"""

import json
import sys
from typing import Any

from activities.clouds.aws_actions import ACTIONS, ANY_CLUSTER


def policy(cluster: str) -> dict[str, Any]:
    """The least that the adapter's calls need, as an IAM policy document."""
    statements = [
        {
            "Sid": grant.why,
            "Effect": "Allow",
            "Action": grant.action,
            "Resource": grant.resource,
            **({"Condition": _of(cluster, grant.condition)} if grant.condition else {}),
        }
        for grants in ACTIONS.values()
        for grant in grants
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def policy_text(cluster: str) -> str:
    return json.dumps(policy(cluster), indent=2)


def _of(cluster: str, condition: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        test: {key: cluster if value == ANY_CLUSTER else value for key, value in pairs.items()}
        for test, pairs in condition.items()
    }


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m activities.clouds.permissions CLUSTER\n")
        return 2
    sys.stdout.write(policy_text(arguments[0]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
