"""Stands between the worker and one of the servers it calls, so that a test can hold a request, or lose one or
its answer, at a moment of its choosing. The product knows nothing of it: its settings name this address.
"""

import http.client
import json
import re
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol
from urllib.parse import parse_qs, unquote_plus

_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}
_CLAIM_SUFFIX = re.compile(r"-[0-9a-f]{6}(?![0-9a-z])")


@dataclass(frozen=True)
class Request:
    """One request of the worker, to the API server or to AWS."""

    method: str
    path: str
    body: bytes

    @cached_property
    def text(self) -> str:
        """All of it, as words to look for."""
        return f"{self.path}\n{unquote_plus(self.body.decode())}"

    @property
    def aws_action(self) -> str:
        return parse_qs(self.body.decode()).get("Action", [""])[0] if self.path == "/" else ""

    @property
    def volume(self) -> str:
        """The disk that AWS is asked to change."""
        return parse_qs(self.body.decode()).get("VolumeId", [""])[0] if self.path == "/" else ""

    @property
    def changes(self) -> bool:
        """Whether it asks for a change, not for an answer alone."""
        if self.path == "/":
            return not self.aws_action.startswith(("Describe", "Get"))
        return self.method != "GET"

    def change(self, app: str) -> str:
        """Which change it asks for, in words that are the same for every app; "" for none."""
        if not self.changes:
            return ""
        if self.aws_action:
            return self.aws_action
        name = json.loads(self.body)["metadata"]["name"] if self.method == "POST" else ""
        words = f"{self.method} {self.path.partition('?')[0]} {name}".strip().replace(app, "APP")
        return _CLAIM_SUFFIX.sub("-HASH", words)


class Gate(Protocol):
    """Asked about every request, in the request's own thread, which may be kept waiting."""

    def before(self, request: Request) -> bool:
        """Whether to pass it on; else the connection ends."""
        ...

    def after(self, request: Request, answer: bytes) -> bool:
        """Whether to give the answer back; else the connection ends, and nobody knows what happened."""
        ...


class Open:
    """Lets everything pass."""

    def before(self, request: Request) -> bool:
        return True

    def after(self, request: Request, answer: bytes) -> bool:
        return True


class Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self.connect = connect
        self.gate: Gate = Open()
        self.mistakes: list[BaseException | None] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1})
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def server_bind(self) -> None:
        # HTTPServer.server_bind asks DNS for the host's name.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that end are what this is for; anything else is a mistake in a test's gate."""
        if not isinstance(error := sys.exception(), OSError):
            self.mistakes.append(error)


def to_plain_http(url: str) -> Callable[[], http.client.HTTPConnection]:
    address = url.removeprefix("http://")
    return lambda: http.client.HTTPConnection(address, timeout=60)


def to_https(url: str, trust: ssl.SSLContext) -> Callable[[], http.client.HTTPConnection]:
    address = url.removeprefix("https://")
    return lambda: http.client.HTTPSConnection(address, timeout=60, context=trust)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Proxy

    def setup(self) -> None:
        super().setup()
        self._upstream = self.server.connect()

    def finish(self) -> None:
        self._upstream.close()
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request, gate = Request(self.command, self.path, body), self.server.gate
        if not gate.before(request):
            self.close_connection = True
            return
        try:
            answer, content = self._forward(body)
        except (OSError, http.client.HTTPException):
            # As if the server itself had ended the connection.
            self.close_connection = True
            return
        if not gate.after(request, content):
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_DELETE = do_PATCH = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        fresh = self._upstream.sock is None
        try:
            return self._ask(headers, body)
        except (OSError, http.client.HTTPException):
            self._upstream.close()
            # A kept connection may have died with the last server. Only what changes nothing is asked again.
            if fresh or self.command != "GET":
                raise
            return self._ask(headers, body)

    def _ask(self, headers: dict[str, str], body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        self._upstream.request(self.command, self.path, body or None, headers)
        answer = self._upstream.getresponse()
        return answer, answer.read()
