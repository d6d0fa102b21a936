"""What the client sends, and what it makes of every kind of answer, over a real connection."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from activities.errors import (
    AccessDenied,
    Conflict,
    InvalidSpec,
    NotFound,
    NotReadyYet,
    QuotaExceeded,
    SupergiantError,
    Throttled,
    Unreachable,
)
from activities.kube.client import KubeClient, connect

TOKEN = "a-token-that-must-not-be-shown"


class Server(ThreadingHTTPServer):
    """Answers with what the test has queued, in order, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[tuple[str, str, dict[str, list[str]], dict[str, str], Any]] = []

    def answer(self, code: int, body: Any = None, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.answers.append((code, {k.replace("_", "-"): v for k, v in headers.items()}, raw))

    def refuse(self, code: int, reason: str, message: str, **more: Any) -> None:
        self.answer(code, {"kind": "Status", "reason": reason, "message": message, **more})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer, else every one waits 40 ms for an acknowledgement
    server: Server

    def handle_any(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        url = urlsplit(self.path)
        self.server.asked.append((self.command, url.path, parse_qs(url.query), dict(self.headers), body))
        code, headers, raw = self.server.answers.pop(0)
        if code == 0:
            self.close_connection = True
            return
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, format: str, *args: Any) -> None:
        pass


def write_kubeconfig(path: Path, server: str, context: str = "here", token: str = TOKEN) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[KubeClient]:
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{server.server_port}")
    client = connect(kubeconfig)
    yield client
    client.close()


SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "shop"}}


def test_apply_is_forced_server_side_apply_under_our_name(client: KubeClient, server: Server) -> None:
    server.answer(200, SERVICE)
    assert client.apply(SERVICE) == SERVICE
    method, path, query, headers, body = server.asked[0]
    assert (method, path) == ("PATCH", "/api/v1/namespaces/shop/services/db")
    assert query == {"fieldManager": ["supergiant"], "force": ["true"]}
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert body == SERVICE


def test_create_tells_whether_the_object_was_there(client: KubeClient, server: Server) -> None:
    server.answer(201, SERVICE)
    server.refuse(409, "AlreadyExists", 'services "db" already exists')
    assert client.create(SERVICE) is True
    assert client.create(SERVICE) is False


def test_a_list_reads_every_page_and_names_the_kind(client: KubeClient, server: Server) -> None:
    server.answer(200, {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]})
    server.answer(200, {"metadata": {}, "items": [{"metadata": {"name": "b"}}]})
    found = client.list("StatefulSet", "shop", {"x": "1", "y": "2"}, {"metadata.name": "a"})
    assert [(o["kind"], o["apiVersion"], o["metadata"]["name"]) for o in found] == [
        ("StatefulSet", "apps/v1", "a"),
        ("StatefulSet", "apps/v1", "b"),
    ]
    first, second = server.asked
    assert first[1] == "/apis/apps/v1/namespaces/shop/statefulsets"
    assert first[2]["labelSelector"] == ["x=1,y=2"]
    assert first[2]["fieldSelector"] == ["metadata.name=a"]
    assert second[2]["continue"] == ["more"]


def test_the_contents_of_secrets_are_never_asked_for(client: KubeClient, server: Server) -> None:
    server.answer(200, {"kind": "PartialObjectMetadata", "metadata": {"name": "db.password"}})
    server.answer(200, {"metadata": {}, "items": []})
    found = client.get("Secret", "db.password", "shop")
    client.list("Secret", "shop")
    assert found is not None
    assert found["kind"] == "Secret"
    assert [headers["Accept"] for _, _, _, headers, _ in server.asked] == [
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    ]


def test_what_does_not_exist_is_none(client: KubeClient, server: Server) -> None:
    server.refuse(404, "NotFound", 'services "db" not found')
    assert client.get("Service", "db", "shop") is None


def test_a_delete_carries_the_uid_and_keeps_a_statefulset_until_its_pod_is_gone(
    client: KubeClient, server: Server
) -> None:
    server.answer(200, {"kind": "Status", "status": "Success"})
    client.delete("StatefulSet", "db-0", "shop", uid="u-1")
    _, _, _, _, body = server.asked[0]
    assert body["preconditions"] == {"uid": "u-1"}
    assert body["propagationPolicy"] == "Foreground"


def test_a_delete_that_carries_a_version_does_not_take_what_has_changed(
    client: KubeClient, server: Server
) -> None:
    server.refuse(409, "Conflict", "the resourceVersion in the precondition does not match")
    server.answer(200, {"kind": "Namespace", "metadata": {"name": "shop", "uid": "u-1"}})
    with pytest.raises(Conflict):
        client.delete("Namespace", "shop", uid="u-1", version="41")
    assert server.asked[0][4]["preconditions"] == {"uid": "u-1", "resourceVersion": "41"}


def test_deleting_what_is_gone_or_replaced_is_success(client: KubeClient, server: Server) -> None:
    server.refuse(404, "NotFound", "not found")
    server.refuse(409, "Conflict", "the UID in the precondition (u-1) does not match the UID in record (u-2)")
    server.answer(200, {"metadata": {"name": "db", "uid": "u-2"}})
    client.delete("Service", "db", "shop")
    client.delete("Service", "db", "shop", uid="u-1")


def test_deleting_what_is_being_deleted_is_success_and_another_conflict_is_not(
    client: KubeClient, server: Server
) -> None:
    server.refuse(409, "Conflict", "the namespace is being emptied")
    server.answer(200, {"metadata": {"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    client.delete("Namespace", "shop")
    server.refuse(409, "Conflict", "something else")
    server.answer(200, {"metadata": {"name": "shop"}})
    with pytest.raises(Conflict):
        client.delete("Namespace", "shop")


def test_replace_refuses_to_overwrite_blindly(client: KubeClient) -> None:
    with pytest.raises(ValueError, match="resourceVersion"):
        client.replace({"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}})


def test_a_call_that_the_permissions_do_not_cover_is_a_mistake(client: KubeClient, server: Server) -> None:
    with pytest.raises(LookupError, match="does not let us delete Node"):
        client.delete("Node", "n-1")
    assert not server.asked


@pytest.mark.parametrize(
    ("code", "reason", "message", "error"),
    [
        (400, "BadRequest", "unknown field", InvalidSpec),
        (403, "Forbidden", 'exceeded quota: "pods", used: 5', QuotaExceeded),
        (404, "NotFound", 'namespaces "shop" not found', NotFound),
        (409, "Conflict", "the object has been modified", Conflict),
        (422, "Invalid", "spec.ports: Required value", InvalidSpec),
        (429, "TooManyRequests", "too many requests", Throttled),
        (500, "InternalError", "etcdserver: request timed out", Unreachable),
        (503, "ServiceUnavailable", "etcdserver: no leader", Unreachable),
        (504, "Timeout", "request did not complete", Unreachable),
    ],
)
def test_a_refusal_becomes_the_error_that_says_who_must_act(
    client: KubeClient, server: Server, code: int, reason: str, message: str, error: type[SupergiantError]
) -> None:
    server.refuse(code, reason, message)
    with pytest.raises(error) as caught:
        client.apply(SERVICE)
    assert message in str(caught.value)
    assert len(server.asked) == 1, "Temporal retries, the client does not"


def test_a_namespace_that_is_going_is_waited_for_not_a_lack_of_permission(
    client: KubeClient, server: Server
) -> None:
    causes = {"causes": [{"reason": "NamespaceTerminating"}]}
    server.refuse(403, "Forbidden", "because it is being terminated", details=causes)
    with pytest.raises(NotReadyYet, match="because it is being terminated"):
        client.apply(SERVICE)


@pytest.mark.parametrize("code", [401, 403])
def test_missing_rights_are_told_with_the_way_out(client: KubeClient, server: Server, code: int) -> None:
    server.refuse(code, "Forbidden", 'User "x" cannot patch services')
    server.answer(200)
    with pytest.raises(AccessDenied, match="does not let us apply Service shop/db") as caught:
        client.apply(SERVICE)
    assert "your-own-kubernetes.md" in caught.value.help
    assert TOKEN not in f"{caught.value!r} {caught.value.help}"


def test_renewed_credentials_are_read_after_the_old_ones_were_refused(server: Server, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{server.server_port}"
    client = connect(write_kubeconfig(tmp_path / "k", address))
    write_kubeconfig(tmp_path / "k", address, token="renewed")
    server.refuse(401, "Unauthorized", "Unauthorized")
    server.answer(200)
    with pytest.raises(AccessDenied):
        client.apply(SERVICE)
    server.answer(200, SERVICE)
    server.answer(200, SERVICE)
    client.apply(SERVICE)
    client.apply(SERVICE)
    sent = [asked[3]["authorization"] for asked in server.asked if asked[0] == "PATCH"]
    assert sent == [f"Bearer {TOKEN}", "Bearer renewed", "Bearer renewed"]
    client.close()


def test_a_kubeconfig_that_cannot_be_read_any_more_is_told_until_it_can(
    server: Server, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{server.server_port}"
    client = connect(write_kubeconfig(tmp_path / "k", address))
    (tmp_path / "k").write_text("half writ")
    server.refuse(401, "Unauthorized", "Unauthorized")
    server.answer(200)
    with pytest.raises(AccessDenied):
        client.server_version()
    with pytest.raises(InvalidSpec, match="cannot be used"):
        client.server_version()
    write_kubeconfig(tmp_path / "k", address)
    server.answer(200, {"gitVersion": "v1.37.2"})
    assert client.server_version() == "v1.37.2"
    client.close()


def test_a_server_that_is_starting_is_not_taken_for_one_that_refuses(
    client: KubeClient, server: Server
) -> None:
    server.refuse(403, "Forbidden", 'RBAC: clusterrole "supergiant" not found')
    server.answer(500, b"[-]poststarthook/rbac/bootstrap-roles failed")
    with pytest.raises(Unreachable, match="still starting"):
        client.apply(SERVICE)


def test_the_server_says_when_to_come_back(client: KubeClient, server: Server) -> None:
    server.answer(429, {"kind": "Status", "message": "slow down"}, Retry_After="7")
    with pytest.raises(Throttled) as caught:
        client.list("Pod")
    assert caught.value.retry_after == timedelta(seconds=7)


def test_a_server_that_is_not_kubernetes_is_recognised(client: KubeClient, server: Server) -> None:
    server.answer(404, b"<html>nothing here</html>")
    with pytest.raises(InvalidSpec, match="does not answer like a Kubernetes API server"):
        client.get("Service", "db", "shop")
    server.answer(200, b"<html>welcome</html>")
    with pytest.raises(InvalidSpec, match="does not answer like a Kubernetes API server"):
        client.server_version()


def test_a_broken_connection_leaves_the_outcome_unknown(client: KubeClient, server: Server) -> None:
    server.answer(0)
    with pytest.raises(Unreachable, match=r"no answer from the Kubernetes API server .* to create Service"):
        client.create(SERVICE)


def test_an_unreachable_server_is_named(tmp_path: Path, server: Server) -> None:
    with Server() as closed:
        port = closed.server_port
    client = connect(write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{port}"))
    with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{port} .*refused") as caught:
        client.server_version()
    assert "kubeconfig" in caught.value.help


def test_permissions_that_lack_are_named(client: KubeClient, server: Server) -> None:
    def allowed(body: Any) -> bool:
        attributes = body["spec"]["resourceAttributes"]
        return (attributes["resource"], attributes["verb"]) != ("statefulsets", "patch")

    class Reviews(list[Any]):
        def pop(self, *args: Any) -> Any:
            body = server.asked[-1][4]
            return 201, {}, json.dumps({"status": {"allowed": allowed(body)}}).encode()

    server.answers = Reviews()
    assert client.missing_permissions() == ("patch statefulsets.apps",)


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=f"kubeconfig {tmp_path}/nowhere cannot be used: .*No such file"):
        connect(tmp_path / "nowhere")


def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "k", "http://127.0.0.1:1")
    with pytest.raises(InvalidSpec, match="there"):
        connect(kubeconfig, "there")


@pytest.mark.parametrize("text", ["", "just words", "clusters: [", "apiVersion: v1\nkind: Config\n"])
def test_a_file_that_is_no_kubeconfig_is_told_without_a_traceback(tmp_path: Path, text: str) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(InvalidSpec, match=f"kubeconfig {tmp_path}/k cannot be used"):
        connect(tmp_path / "k")


def test_this_machine_is_never_reached_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    client = connect(write_kubeconfig(tmp_path / "k", f"http://127.0.0.1:{server.server_port}"))
    server.answer(200, {"gitVersion": "v1.37.2"})
    assert client.server_version() == "v1.37.2"
    client.close()
