"""The HTTP side of the simulator: one thread per connection, the vendor's API everywhere and the owner's
interface under `/_sandbox/`. Started by `sandbox.aws.__main__`."""

from __future__ import annotations

import json
import logging
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sandbox.aws.admin_routes import AdminRoutes
from sandbox.aws.auth import HttpRequest
from sandbox.aws.moto_proxy import Reply
from sandbox.aws.simulator import Simulator

log = logging.getLogger(__name__)

# An idle connection ends after this, so that clients which never close do not pile up threads.
_IDLE_SECONDS = 120
_MAX_BODY_BYTES = 64 << 20


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # A worker may open hundreds of connections at once; the default backlog of 5 would refuse some.
    request_queue_size = 1024

    def __init__(self, port: int, simulator: Simulator) -> None:
        self.simulator = simulator
        self.admin = AdminRoutes(simulator)
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer.server_bind asks DNS for the host's name, which can take seconds on a laptop.
        self.allow_reuse_address = True
        socket_address = self.server_address
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(socket_address)
        self.server_address = self.socket.getsockname()
        self.server_name = "127.0.0.1"
        self.server_port = int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news; anything else is a fault of ours and goes to the log."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a connection failed")


_NOT_FROM_HERE = (403, {"error": "the sandbox's own interface answers 127.0.0.1 only"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "SandboxEC2"
    sys_version = ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    # Head and body leave in one packet; written apart they cost a round trip of delayed acknowledgement.
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        self._answer()

    do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = do_GET

    def handle_expect_100(self) -> bool:
        """S3 clients wait a second for this line before they send a body, so it must leave the buffer."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def log_message(self, format: str, *args: object) -> None:
        """The log of calls replaces the line per request that the base class prints."""

    def _answer(self) -> None:
        body = self._read_body()
        if body is None:
            return
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        if path.startswith("/_sandbox/"):
            # What comes from a sandbox's nodes, and so perhaps from a pod, may use the cloud and not rule it.
            mine = self.client_address[0] == "127.0.0.1"
            ask = self.server.admin.answer
            status, answer = ask(self.command, path, query, headers, body) if mine else _NOT_FROM_HERE
            text = (json.dumps(answer) + "\n").encode()
            self._send(Reply(status, text, {"Content-Type": "application/json"}))
            return
        self._send(self.server.simulator.handle(HttpRequest(self.command, path, query, headers, body)))

    def _read_body(self) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks()
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= _MAX_BODY_BYTES:
            self.send_error(413 if length > 0 else 400)
            return None
        return self.rfile.read(length)

    def _read_chunks(self) -> bytes | None:
        body = bytearray()
        while True:
            try:
                size = int(self.rfile.readline(1024).split(b";")[0], 16)
            except ValueError:
                self.send_error(400)
                return None
            if size < 0 or len(body) + size > _MAX_BODY_BYTES:
                self.send_error(413)
                return None
            body += self.rfile.read(size)
            self.rfile.readline(1024)
            if size == 0:
                return bytes(body)

    def _send(self, reply: Reply) -> None:
        if reply.dropped:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
