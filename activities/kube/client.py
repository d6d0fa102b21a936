"""The Kubernetes API over plain JSON: the one implementation of `Kube`, built by `workers.assembly`.

The `kubernetes` package gives us kubeconfig, credentials and connections. Its typed models are left aside:
they cost four times the time and twice the memory of plain JSON, and lose fields they do not know.
"""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import kubernetes.config
import urllib3
import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException

from activities.errors import AccessDenied, Conflict, InvalidSpec, NotFound, Unreachable
from activities.kube.base import Manifest
from activities.kube.failures import no_answer, refusal, status_of
from activities.kube.kinds import Kind, allowed_kind
from activities.kube.rbac import permissions

FIELD_MANAGER = "supergiant"
_CONNECT_SECONDS = 3.0
#: A list of 2,000 pods takes half a second; more than this is a server that does not answer.
_READ_SECONDS = 15.0
_PAGE = 500
#: As many connections are kept as a worker has threads for activities; more would be opened and thrown away.
_CONNECTIONS = 64
_JSON = "application/json"
#: The package has no types; this says so once.
_kubeconfigs: Any = kubernetes.config
_METADATA = "application/json;as={form};g=meta.k8s.io;v=v1"


def connect(kubeconfig: Path | None, context: str = "") -> "KubeClient":
    """A client for one context ("": the current one) of a kubeconfig file. Without a file: the credentials
    that Kubernetes gives to the pod this runs in. Opens no connection."""
    return KubeClient(lambda: _read(kubeconfig, context))


class KubeClient:
    """Safe to use from many threads. Every method asks the server once (`list` once per page). The credentials
    are read now, and again after they were refused: whoever renews them has only to retry the operation."""

    def __init__(self, read: Callable[[], ApiClient]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._api: ApiClient | None = read()
        self._host: str = self._api.configuration.host
        self._credentials = threading.Lock()

    def apply(self, manifest: Manifest) -> Manifest:
        name, namespace = _identity(manifest)
        kind = allowed_kind(manifest["kind"], "patch")
        return self._send(
            "PATCH",
            f"apply {_title(kind, name, namespace)}",
            kind.path(namespace, name),
            {"fieldManager": FIELD_MANAGER, "force": "true"},
            manifest,
            content_type="application/apply-patch+yaml",
        )

    def create(self, manifest: Manifest) -> bool:
        name, namespace = _identity(manifest)
        kind = allowed_kind(manifest["kind"], "create")
        what = f"create {_title(kind, name, namespace)}"
        code, headers, body = self._ask(
            "POST", what, kind.path(namespace), {"fieldManager": FIELD_MANAGER}, manifest
        )
        if code == 409 and (status_of(body) or {}).get("reason") == "AlreadyExists":
            return False
        self._check(what, code, headers, body)
        return True

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        known = allowed_kind(kind, "get")
        what = f"get {_title(known, name, namespace)}"
        accept = _METADATA.format(form="PartialObjectMetadata") if known.metadata_only else _JSON
        try:
            found = self._send("GET", what, known.path(namespace, name), accept=accept)
        except NotFound:
            return None
        return {**found, "apiVersion": known.api_version, "kind": kind}

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: dict[str, str] | None = None,
        fields: dict[str, str] | None = None,
    ) -> list[Manifest]:
        known = allowed_kind(kind, "list")
        what = f"list {known.resource}" + (f" in namespace {namespace}" if namespace else "")
        accept = _METADATA.format(form="PartialObjectMetadataList") if known.metadata_only else _JSON
        query = {"limit": str(_PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        if fields:
            query["fieldSelector"] = ",".join(f"{key}={value}" for key, value in fields.items())
        items: list[Manifest] = []
        while True:
            page = self._send("GET", what, known.path(namespace), query, accept=accept)
            # The items of a list come without kind and apiVersion.
            items += ({**item, "apiVersion": known.api_version, "kind": kind} for item in page["items"] or [])
            more = page["metadata"].get("continue")
            if not more:
                return items
            query["continue"] = more

    def replace(self, manifest: Manifest) -> Manifest:
        name, namespace = _identity(manifest)
        kind = allowed_kind(manifest["kind"], "update")
        if not manifest["metadata"].get("resourceVersion"):
            raise ValueError("replace needs metadata.resourceVersion, else it would overwrite blindly")
        return self._send(
            "PUT",
            f"replace {_title(kind, name, namespace)}",
            kind.path(namespace, name),
            {"fieldManager": FIELD_MANAGER},
            manifest,
        )

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        uid: str | None = None,
        version: str | None = None,
    ) -> None:
        known = allowed_kind(kind, "delete")
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": known.propagation,
        }
        guards = {"uid": uid, "resourceVersion": version}
        if preconditions := {key: value for key, value in guards.items() if value}:
            options["preconditions"] = preconditions
        try:
            self._send(
                "DELETE",
                f"delete {_title(known, name, namespace)}",
                known.path(namespace, name),
                body=options,
            )
        except NotFound:
            return
        except Conflict:
            # Either another object has taken the name, so that ours is gone, or ours is being deleted.
            found = (self.get(kind, name, namespace) or {}).get("metadata", {})
            if found and found.get("uid") == (uid or found.get("uid")) and not found.get("deletionTimestamp"):
                raise

    def server_version(self) -> str:
        return str(self._send("GET", "read the version", "/version").get("gitVersion", ""))

    def missing_permissions(self) -> tuple[str, ...]:
        missing = []
        for name, verb in permissions():
            kind = allowed_kind(name, verb)
            review = self._send(
                "POST",
                "review our permissions",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                body={
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectAccessReview",
                    "spec": {
                        "resourceAttributes": {"group": kind.group, "resource": kind.plural, "verb": verb}
                    },
                },
            )
            if not review["status"].get("allowed"):
                missing.append(f"{verb} {kind.resource}")
        return tuple(missing)

    def close(self) -> None:
        if self._api is not None:
            self._api.rest_client.close()

    def _send(
        self,
        method: str,
        what: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Manifest:
        code, headers, answer = self._ask(method, what, path, query, body, content_type, accept)
        self._check(what, code, headers, answer)
        try:
            parsed = json.loads(answer)
        except ValueError as error:
            raise refusal(self._host, what, 400, headers, answer) from error
        if not isinstance(parsed, dict):
            raise refusal(self._host, what, 400, headers, answer)
        return parsed

    def _check(self, what: str, code: int, headers: Mapping[str, str], answer: bytes) -> None:
        if code < 300:
            return
        error = refusal(self._host, what, code, headers, answer)
        # A server that is still starting refuses everybody until it has read its roles; without this, every
        # restart of the API server would park operations as "access denied".
        if isinstance(error, AccessDenied) and not self._is_serving():
            raise Unreachable(f"the Kubernetes API server {self._host} is still starting") from error
        if isinstance(error, AccessDenied):
            self._forget()
        raise error

    def _connected(self) -> ApiClient:
        with self._lock:
            if self._api is None:
                self._api = self._read()
                self._host = self._api.configuration.host
            return self._api

    def _forget(self) -> None:
        """The file may hold others meanwhile; the next call reads it."""
        with self._lock:
            self._api = None

    def _is_serving(self) -> bool:
        return self._ask("GET", "see whether it is ready", "/readyz")[0] < 500

    def _ask(
        self,
        method: str,
        what: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": FIELD_MANAGER}
        api = self._connected()
        url = api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            # Refreshing an expired token may run a program of the kubeconfig; once is enough.
            with self._credentials:
                api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            connections: Any = api.rest_client
            response = connections.request(
                method, url, headers, body, _request_timeout=(_CONNECT_SECONDS, _READ_SECONDS)
            )
            return response.status, response.headers, response.read()
        except (urllib3.exceptions.HTTPError, ApiException) as error:
            explained = no_answer(self._host, what, error)
            if isinstance(explained, AccessDenied):
                self._forget()
            raise explained from error
        except OSError as error:
            self._forget()
            raise AccessDenied(f"the credentials for {self._host} cannot be read: {error}") from error


def _read(kubeconfig: Path | None, context: str) -> ApiClient:
    configuration = Configuration()
    try:
        if kubeconfig is None:
            _kubeconfigs.load_incluster_config(configuration)
        else:
            _require_readable(kubeconfig)
            _kubeconfigs.load_kube_config(
                str(kubeconfig), context or None, configuration, persist_config=False
            )
    except (ConfigException, KeyError, TypeError, ValueError, OSError, yaml.YAMLError) as error:
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's own credentials"
        said = " ".join(str(error).split())
        raise InvalidSpec(
            f"{where} cannot be used: {said}", help="set `kubeconfig` and `context` of this cluster"
        ) from error
    if _is_loopback(configuration.host):
        # Go's clients never use a proxy for this machine; the Python one would.
        configuration.proxy = None
    configuration.retries = False  # Temporal owns retries; a second layer would multiply the waits
    configuration.connection_pool_maxsize = _CONNECTIONS
    return ApiClient(configuration)


def _require_readable(kubeconfig: Path) -> None:
    # The package reports a missing file as "Invalid kube-config file. No configuration found."
    with kubeconfig.open():
        pass


def _is_loopback(host: str) -> bool:
    name = urlsplit(host).hostname or ""
    with suppress(ValueError):
        return ip_address(name).is_loopback
    return name == "localhost"


def _identity(manifest: Manifest) -> tuple[str, str | None]:
    metadata = manifest["metadata"]
    return metadata["name"], metadata.get("namespace")


def _title(kind: Kind, name: str, namespace: str | None) -> str:
    return f"{kind.name} {namespace}/{name}" if kind.namespaced and namespace else f"{kind.name} {name}"
