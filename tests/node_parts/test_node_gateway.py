"""The gateway passes bytes both ways, and ends what its other side has ended."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sandbox.nodes import gateway

# Both are this machine alone: the gateway listens on the one and calls the other, with the same port number.
BRIDGE, CALLERS = "127.77.0.1", "127.0.0.0/8"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def free_port() -> int:
    """A port that nobody has on either address."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind((BRIDGE, one.getsockname()[1]))
        return int(one.getsockname()[1])


@contextlib.asynccontextmanager
async def served(handler: Handler | None, callers: str = CALLERS) -> AsyncIterator[int]:
    """The port of a gateway, before a server that does this, or before nobody."""
    port = free_port()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert handler is not None
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    servers = await gateway.forward(BRIDGE, [port], callers)
    if handler is not None:
        servers.append(await asyncio.start_server(handle, "127.0.0.1", port))
    try:
        yield port
    finally:
        for server in servers:
            server.close()
        await asyncio.gather(*(server.wait_closed() for server in servers))


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Link]:
    reader, writer = await asyncio.open_connection(BRIDGE, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1000):
        writer.write(chunk)
        await writer.drain()


async def test_bytes_go_both_ways() -> None:
    async with served(echo) as port, connected(port) as (reader, writer):
        for word in (b"one", b"two"):
            writer.write(word)
            assert await asyncio.wait_for(reader.readexactly(3), 5) == word


async def test_much_is_passed_on_whole() -> None:
    much = bytes(range(256)) * 8192
    async with served(echo) as port, connected(port) as (reader, writer):

        async def send() -> None:
            writer.write(much)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await asyncio.wait_for(reader.read(-1), 20) == much
        await sending


async def test_who_has_said_all_still_hears_the_answer() -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read(-1)
        # The connection has been half closed for a while when the answer comes.
        await asyncio.sleep(0.05)
        writer.write(b"answer to " + question)
        await writer.drain()

    async with served(answer_at_the_end) as port, connected(port) as (reader, writer):
        writer.write(b"question")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 5) == b"answer to question"


async def test_who_has_answered_all_still_hears_the_rest() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def greet_and_listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")
        writer.write_eof()
        heard.set_result(await reader.read(-1))

    async with served(greet_and_listen) as port, connected(port) as (reader, writer):
        assert await asyncio.wait_for(reader.read(-1), 5) == b"welcome"
        await asyncio.sleep(0.05)
        writer.write(b"the rest")
        writer.write_eof()
        assert await asyncio.wait_for(heard, 5) == b"the rest"


async def test_before_a_dead_server_the_connection_ends_at_once() -> None:
    async with served(None) as port, connected(port) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 5)


async def test_a_server_that_breaks_off_is_never_taken_for_one_that_has_said_all() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    async with served(break_off) as port, connected(port) as (reader, writer):
        writer.write(b"?")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(-1), 5)


async def test_a_caller_that_breaks_off_is_noticed_by_the_server() -> None:
    gone = asyncio.get_running_loop().create_future()

    async def wait_for_the_end(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        try:
            gone.set_result(await reader.read(-1))
        except ConnectionResetError:
            gone.set_result(b"reset")

    async with served(wait_for_the_end) as port:
        _, writer = await asyncio.open_connection(BRIDGE, port)
        writer.write(b"x")
        await writer.drain()
        writer.transport.abort()
        assert await asyncio.wait_for(gone, 5) in (b"x", b"reset")


async def test_a_caller_from_outside_of_the_sandboxs_network_gets_nothing() -> None:
    called = list[bool]()

    async def note(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        called.append(True)

    async with served(note, callers="10.140.0.0/17") as port, connected(port) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 5)
    assert not called


async def test_the_gateway_listens_on_the_address_it_was_given_alone() -> None:
    async with served(None) as port:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
