"""Answers whether this worker is ready: an HTTP server on loopback, for a readiness probe."""

import asyncio
from collections.abc import Callable

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nready\n"
_NOT = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 10\r\nConnection: close\r\n\r\nnot ready\n"


async def serve_health(address: str, is_ready: Callable[[], bool]) -> asyncio.Server:
    """Serve until closed; every request gets the same answer, whatever its path."""
    host, _, port = address.rpartition(":")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.readline(), timeout=5)
            writer.write(_OK if is_ready() else _NOT)
            await writer.drain()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, host, int(port))
