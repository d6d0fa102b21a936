"""Workflow ids: the outer one names the operation, the inner one is the lock. Pure; used by both ends."""

import hashlib


def operation_workflow_id(operation: str) -> str:
    return f"op/{operation}"


def component_lock(cluster: str, app: str, component: str) -> str:
    """Whoever runs under this id holds the component; the server lets only one run."""
    return f"component/{cluster}/{app}/{component}"


def short_hash(*parts: str) -> str:
    """Six hexadecimal digits that make a name unique to an operation."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:6]
