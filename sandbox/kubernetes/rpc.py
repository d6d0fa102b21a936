"""Serves gRPC on a socket without generated server code.

Shared by the two halves of the stand-in CSI driver: the controller (`csi`) and the node side
(`sandbox.nodes.csi_node`).
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

Method = tuple[Any, Callable[[Any, float], Any]]
# The side-cars give a call 15 s unless told otherwise; without a deadline of theirs, this is ours.
_DEFAULT_SECONDS = 60.0

log = logging.getLogger("csi")


class Refused(Exception):
    """A call that cannot be done (now), with gRPC's status."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


def demand(**fields: str) -> None:
    """Refuse a request that lacks a field."""
    for name, value in fields.items():
        if not value:
            raise Refused("INVALID_ARGUMENT", f"{name} is missing")


def service(name: str, methods: Mapping[str, Method]) -> grpc.GenericRpcHandler:
    """A service of these methods; each takes the request and the seconds it has."""
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(
            _logged(method, call),
            request_deserializer=request.FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )
        for method, (request, call) in methods.items()
    }
    return grpc.method_handlers_generic_handler(name, handlers)


def serve(socket: Path, services: Iterable[grpc.GenericRpcHandler], parallel_calls: int) -> grpc.Server:
    """Serve on a socket that only the owner may use."""
    # A socket left by a killed driver would refuse the new one.
    socket.unlink(missing_ok=True)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=parallel_calls))
    server.add_generic_rpc_handlers(tuple(services))
    server.add_insecure_port(f"unix://{socket}")
    # Whatever the caller's umask says.
    socket.chmod(0o600)
    server.start()
    return server


def until_asked_to_end() -> None:
    """Return when the process is told to end."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()


def _logged(method: str, call: Callable[[Any, float], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    def handle(request: Any, context: grpc.ServicerContext) -> Any:
        started = time.monotonic()
        volume = getattr(request, "volume_id", "")
        left = context.time_remaining()
        try:
            # Answer shortly before the caller gives up, so that it hears the reason.
            reply = call(request, _DEFAULT_SECONDS if left is None else max(left - 0.5, 0.5))
        except Refused as refusal:
            log.warning("%s %s %s: %s", method, volume, refusal.status, refusal)
            context.abort(grpc.StatusCode[refusal.status], str(refusal))
        if volume:
            log.info("%s %s done in %.1f s", method, volume, time.monotonic() - started)
        return reply

    return handle
