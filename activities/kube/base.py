"""The few calls we need of a Kubernetes API server, over plain manifests (dicts as in YAML).

Errors are those of `activities.errors`: Unreachable, AccessDenied, Conflict, InvalidSpec, Throttled.
"""

from typing import Any, Protocol

Manifest = dict[str, Any]


class Kube(Protocol):
    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply with our field manager, forced: what the manifest says is ours. The result."""
        ...

    def create(self, manifest: Manifest) -> bool:
        """Create, and leave an existing object of that name alone; True if it was created now."""
        ...

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None: ...

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: dict[str, str] | None = None,
        fields: dict[str, str] | None = None,
    ) -> list[Manifest]:
        """All pages; without a namespace, of the whole cluster. Of Secrets only metadata, as in `get`."""
        ...

    def replace(self, manifest: Manifest) -> Manifest:
        """Replace, guarded by metadata.resourceVersion; Conflict when it has changed."""
        ...

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        uid: str | None = None,
        version: str | None = None,
    ) -> None:
        """Ask for deletion. What is gone is success; with `uid`, only that very object, and with `version`
        (a resourceVersion) only if it has not changed since, else Conflict. A StatefulSet stays visible until
        its pod is gone."""
        ...

    def server_version(self) -> str: ...

    def missing_permissions(self) -> tuple[str, ...]:
        """Those of the permissions in `activities.kube.rbac` that the credentials lack: "create pods"."""
        ...
