"""A very small Kubernetes client: JSON over TLS with the standard library.

Used by everything in the sandbox that talks to its own API server. The product's client is of no
use here: the sandbox imports nothing of the product, and starts in milliseconds.
"""

import http.client
import json
import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

Json = dict[str, Any]

_COLLECTIONS = {
    "CSIDriver": "/apis/storage.k8s.io/v1/csidrivers",
    "CSINode": "/apis/storage.k8s.io/v1/csinodes",
    "Node": "/api/v1/nodes",
    "Stage": "/apis/kwok.x-k8s.io/v1alpha1/stages",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
}


class ApiError(Exception):
    """The API server refused, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One API server, as its administrator. Safe to share between threads.

    Who calls a few times a second keeps its connections (one per thread) until it ends.
    """

    def __init__(
        self, port: int, certificates: Path, timeout_seconds: float = 10.0, keep_connections: bool = False
    ) -> None:
        self._port = port
        self._certificates = certificates
        self._timeout_seconds = timeout_seconds
        self._keep_connections = keep_connections
        self._context: ssl.SSLContext | None = None
        self._local = threading.local()

    def get(self, path: str, **query: str) -> Json:
        """Read one object or a list."""
        return self._call("GET", path, query)

    def items(self, path: str, **query: str) -> list[Json]:
        """Read a list."""
        return list(self.get(path, **query).get("items") or [])

    def create(self, path: str, body: Json) -> Json:
        """Create an object in a collection."""
        return self._call("POST", path, {}, body, "application/json")

    def patch(self, path: str, body: Json) -> Json:
        """Merge a change into an object."""
        return self._call("PATCH", path, {}, body, "application/merge-patch+json")

    def apply(self, manifest: Json) -> Json:
        """Make an object be as the manifest says, whether it exists or not."""
        path = f"{_COLLECTIONS[manifest['kind']]}/{manifest['metadata']['name']}"
        query = {"fieldManager": "supergiant-sandbox", "force": "true"}
        return self._call("PATCH", path, query, manifest, "application/apply-patch+yaml")

    def delete(self, path: str, **query: str) -> None:
        """Delete an object or a collection; one that is gone already is well."""
        try:
            self._call("DELETE", path, query)
        except ApiError as error:
            if error.status != 404:
                raise

    def ready(self) -> bool:
        """Whether the API server says that it serves."""
        try:
            self._send("GET", "/readyz", None, {})
        except ApiError:
            return False
        return True

    def _call(
        self, method: str, path: str, query: dict[str, str], body: Json | None = None, kind: str = ""
    ) -> Json:
        headers = {"Accept": "application/json"} | ({"Content-Type": kind} if kind else {})
        target = f"{path}?{urlencode(query)}" if query else path
        answer: Json = json.loads(self._send(method, target, body, headers))
        return answer

    def _send(self, method: str, target: str, body: Json | None, headers: dict[str, str]) -> bytes:
        text = None if body is None else json.dumps(body)
        for attempt in (1, 2):
            connection, reused = self._connection()
            try:
                connection.request(method, target, text, headers)
                reply = connection.getresponse()
                content = reply.read()
            except (OSError, http.client.HTTPException) as error:
                self._forget_connection()
                # A kept connection may have died with the last API server; a fresh one tells the truth.
                if not reused or attempt == 2:
                    raise ApiError(0, f"The API server does not answer: {error}") from error
            else:
                if not self._keep_connections:
                    self._forget_connection()
                break
        if reply.status >= 400:
            raise ApiError(reply.status, _message(content, reply.status))
        return content

    def _connection(self) -> tuple[http.client.HTTPSConnection, bool]:
        kept: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if kept is not None:
            return kept, True
        if self._context is None:
            try:
                self._context = _trust(self._certificates)
            except OSError as error:
                raise ApiError(0, f"The control plane's certificates cannot be read: {error}") from error
        fresh = http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=self._timeout_seconds, context=self._context
        )
        self._local.connection = fresh
        return fresh, False

    def _forget_connection(self) -> None:
        self._local.connection.close()
        self._local.connection = None


def _trust(certificates: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")
    return context


def _message(content: bytes, status: int) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace").strip() or f"HTTP {status}"
