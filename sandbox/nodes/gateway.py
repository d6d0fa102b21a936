"""Lets the real nodes reach the API server and the simulated EC2, which listen on 127.0.0.1 only.

Run by the supervisor as `python -m sandbox.nodes.gateway --octet N --folder F --port P ...`. It makes the sandbox's
bridge and forwards the connections of nodes, pods and the machine itself; nobody outside gets an answer.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import struct
import sys
from pathlib import Path

from sandbox.nodes import links
from sandbox.nodes.network import Network, holds

_CHUNK_BYTES = 64 * 1024
# Where connections of nodes and pods seem to come from, so that servers can tell them from the machine's own.
FROM_NODES = "127.0.0.2"
# Idle seconds, seconds between probes, probes: a dead caller is noticed within a minute.
_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}

log = logging.getLogger("gateway")


async def forward(host: str, ports: list[int], callers: str) -> list[asyncio.Server]:
    """Listen on these ports of the bridge, and pass callers of a network on to the same port of 127.0.0.1."""
    return [await asyncio.start_server(_Forwarder(port, callers).serve, host, port) for port in ports]


class _Forwarder:
    """One port."""

    def __init__(self, port: int, callers: str) -> None:
        self._port = port
        self._callers = callers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The kernel takes packets for the bridge's address from every link, whoever sent them.
        caller = writer.get_extra_info("peername")
        if caller is None or not holds(self._callers, caller[0]):
            _reset(writer)
            return
        _notice_death(writer)
        try:
            target_reader, target_writer = await asyncio.open_connection(
                "127.0.0.1", self._port, local_addr=(FROM_NODES, 0)
            )
        except OSError:
            # As a port nobody listens on: the caller's own patience decides.
            _reset(writer)
            return
        try:
            # One direction may end before the other, so neither closes what the other still needs.
            await asyncio.gather(_copy(reader, target_writer), _copy(target_reader, writer))
        finally:
            writer.close()
            target_writer.close()


def _notice_death(writer: asyncio.StreamWriter) -> None:
    """A node that loses power says no good-bye; its connections would stay for ever."""
    link = writer.get_extra_info("socket")
    # Of a caller that has just gone away the copying takes notice.
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            link.setsockopt(socket.IPPROTO_TCP, option, value)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        # Who is at the other end shall not take what came so far for all; this ends the other direction too.
        _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        # Without this the end would look like a good one.
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    writer.transport.abort()


async def _main(network: Network, ports: list[int]) -> None:
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    servers = await forward(network.host, ports, network.inside)
    log.info("forwarding ports %s of %s", ", ".join(map(str, ports)), network.host)
    await asked.wait()
    for server in servers:
        server.close()


def main() -> None:
    """Forward until asked to end."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--octet", type=int, required=True, help="second byte of the sandbox's network")
    parser.add_argument("--folder", type=Path, required=True, help="the sandbox's folder")
    parser.add_argument("--port", type=int, action="append", required=True, help="may be repeated")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s")
    network = Network(arguments.octet)
    links.ensure_switch(network, arguments.folder)
    asyncio.run(_main(network, arguments.port))


if __name__ == "__main__":
    main()
