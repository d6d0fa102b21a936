"""The cluster role that Supergiant's credentials need, made from the table of what the code calls.

`docs/guides/your-own-kubernetes.md` shows it (a test compares the two); `python -m activities.kube.rbac`
prints it.
"""

import sys

import yaml

from activities.kube.base import Manifest
from activities.kube.kinds import KINDS

ROLE_NAME = "supergiant"


def permissions() -> list[tuple[str, str]]:
    """Every (kind, verb) we need, in a stable order."""
    return [(kind.name, verb) for kind in KINDS.values() for verb in sorted(kind.verbs)]


def cluster_role() -> Manifest:
    """One ClusterRole: apps live in namespaces that we make, so a Role per namespace would not do."""
    resources: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for kind in KINDS.values():
        resources.setdefault((kind.group, tuple(sorted(kind.verbs))), []).append(kind.plural)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE_NAME},
        "rules": [
            {"apiGroups": [group], "resources": sorted(plurals), "verbs": list(verbs)}
            for (group, verbs), plurals in sorted(resources.items())
        ],
    }


def as_yaml() -> str:
    return yaml.safe_dump(cluster_role(), sort_keys=False)


if __name__ == "__main__":
    sys.stdout.write(as_yaml())
