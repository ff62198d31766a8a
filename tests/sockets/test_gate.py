"""Sockets that send nothing, half a request, or too many of them: counted from the accept on."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

import pytest
import uvloop
from serving import PATIENCE, Server

from app.base.accepting import Acceptor
from app.base.listening import bind
from app.keys import METRICS, SOCKETS
from tests.sockets.conftest import Serve

WHOLE = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = WHOLE[:-2]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Client:
    """A socket that a test writes to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self) -> bytes:
        """Return what comes until the server closes."""
        with suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), PATIENCE)
        return b""

    async def ask(self, request: bytes = WHOLE) -> bytes:
        """Return the first line of the answer."""
        self.writer.write(request)
        return await asyncio.wait_for(self.reader.readline(), PATIENCE)


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Return a function that connects to a port and sends this; all are gone at the end."""
    clients = []

    async def connect(port: int, sent: bytes = b"") -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        clients.append(client)
        client.writer.write(sent)
        return client

    yield connect
    for client in clients:
        client.writer.transport.abort()
        with suppress(ConnectionError):
            await client.writer.wait_closed()


async def until_open(server: Server, count: int) -> None:
    await server.until(lambda: server.app[SOCKETS].open == count)


@pytest.mark.parametrize("line", [b"OPTIONS *", b"CONNECT switchboard.example:443"])
async def test_a_target_that_is_no_path_is_answered_by_a_problem(
    serve: Serve, connect: Connect, line: bytes
) -> None:
    server = await serve()
    request = line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await (await connect(server.port, request)).read()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in answer
    assert b'"not_found"' in answer


@pytest.mark.parametrize("pieces", [[HALF], [b"G"], [b"GET /health HT", b"TP/1.1\r\nHost:"]])
async def test_half_a_request_is_answered_408(
    serve: Serve, connect: Connect, pieces: list[bytes]
) -> None:
    server = await serve(header_seconds=0.2)
    client = await connect(server.port)
    for piece in pieces:
        client.writer.write(piece)
    answer = await client.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    assert server.app[METRICS].sockets_closed == {"late": 1}
    await until_open(server, 0)


async def test_a_socket_that_sends_nothing_is_closed(serve: Serve, connect: Connect) -> None:
    server = await serve(header_seconds=0.2)
    assert await (await connect(server.port)).read() == b""
    await until_open(server, 0)


async def test_a_request_byte_by_byte_is_answered(serve: Serve, connect: Connect) -> None:
    server = await serve()
    client = await connect(server.port)
    for byte in WHOLE[:-1]:
        client.writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert await client.ask(WHOLE[-1:]) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "bytes_",
    [b"\x16\x03\x01\x02\x00\x01", b"hello\r\n", b"GET / FTP/1.0\r\n", b"GET / HTTP/1.1\n\n"],
    ids=["tls", "no method", "no http", "bare newlines"],
)
async def test_what_is_no_http_gets_its_answer_at_once(
    serve: Serve, connect: Connect, bytes_: bytes
) -> None:
    server = await serve(header_seconds=3600)
    assert b" 400 " in await (await connect(server.port)).ask(bytes_)


async def test_a_header_that_is_too_long_gets_its_answer_at_once(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(header_seconds=3600)
    assert b" 431 " in await (await connect(server.port)).ask(HALF + b"X: " + b"x" * 20_000)


async def test_a_connection_and_requests_that_rest_outlive_the_deadline(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(header_seconds=0.2)
    peer = await server.connect(await server.device())
    client = await connect(server.port)
    assert b" 200 " in await client.ask()
    # Long enough for the deadline of a socket that comes later.
    assert await (await connect(server.port)).read() == b""
    await peer.silence()
    await client.reader.readuntil(b"}")
    assert b" 200 " in await client.ask()


async def answered(client: Client, request: bytes = WHOLE) -> bytes:
    """Send the request and return its answer, body included."""
    client.writer.write(request)
    return await asyncio.wait_for(client.reader.readuntil(b"}"), PATIENCE)


async def test_a_connection_that_asks_for_nothing_more_is_closed(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(keepalive_seconds=0.2)
    client = await connect(server.port)
    assert b" 200 " in await answered(client)
    assert await client.read() == b""
    assert server.app[METRICS].sockets_closed == {"idle": 1}
    await until_open(server, 0)


async def test_a_request_that_comes_when_the_time_is_over_is_answered(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(keepalive_seconds=1)
    client = await connect(server.port)
    assert b" 200 " in await answered(client)
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()

    def hold_up() -> None:
        """Have the loop stand still until after the end, as another's long call does.

        What is due then, the sweep among it, comes before uvloop reads what has come meanwhile.
        """
        loop.remove_reader(ours)
        client.writer.write(WHOLE)
        time.sleep(1.5)

    with ours, theirs:
        loop.add_reader(ours, hold_up)
        theirs.send(b"!")
        assert b" 200 " in await answered(client, b"")


async def test_half_a_next_request_is_answered_408(serve: Serve, connect: Connect) -> None:
    server = await serve(header_seconds=0.2)
    client = await connect(server.port)
    assert b" 200 " in await answered(client)
    client.writer.write(HALF)
    answer = await client.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    await until_open(server, 0)


async def test_an_empty_line_after_a_request_is_no_next_one(serve: Serve, connect: Connect) -> None:
    server = await serve(header_seconds=0.2)
    client = await connect(server.port)
    assert b" 200 " in await answered(client)
    client.writer.write(b"\r\n")
    # Long enough for the deadline of a socket that comes later.
    assert await (await connect(server.port)).read() == b""
    assert b" 200 " in await answered(client)


async def test_half_open_sockets_give_way(serve: Serve, connect: Connect) -> None:
    server = await serve(max_sockets=5, header_seconds=3600)
    held = [await connect(server.port, HALF) for _ in range(20)]
    peer = await server.connect(await server.device())
    assert b" 200 " in await (await connect(server.port)).ask()
    await peer.silence()
    assert b'"code":"overloaded"' in await held[0].read()
    assert server.app[SOCKETS].open == 5
    assert server.app[METRICS].sockets_closed == {"replaced": 17}


async def test_websockets_leave_room_for_other_requests(serve: Serve, connect: Connect) -> None:
    server = await serve(max_sockets=3, max_connections=2)
    device = await server.device()
    peers = [await server.connect(device, f"?instance=i{n}") for n in range(2)]
    for _ in range(5):
        assert b" 200 " in await (await connect(server.port)).ask()
    for peer in peers:
        await peer.silence()


async def test_an_address_has_its_share_from_the_accept_on(serve: Serve, connect: Connect) -> None:
    server = await serve(max_connections_per_address=3, trusted_proxies="198.51.100.0/24")
    gate = server.gate
    for addresses, allowed in (
        (["192.0.2.1", "::ffff:192.0.2.1"], 3),
        (["2001:db8::1", "2001:db8::2"], 3),
        (["127.0.0.1", "::1"], 8),
        (["198.51.100.7"], 8),
    ):
        turns = iter(addresses * 8)
        (listener,) = await bind("127.0.0.1", 0, 60)
        port = listener.getsockname()[1]
        acceptor = Acceptor(
            [listener],
            lambda accepted, _, turns=turns: gate.protocol_for(accepted, (next(turns), 1)),
            backlog=16,
        )
        acceptor.start()
        clients = [await connect(port) for _ in range(8)]
        answers = Counter([await client.ask() for client in clients])
        assert answers[b"HTTP/1.1 200 OK\r\n"] == allowed, addresses
        assert answers[b"HTTP/1.1 503 Service Unavailable\r\n"] == 8 - allowed
        await acceptor.close()


async def test_nothing_is_left_of_sockets_that_were_closed(serve: Serve, connect: Connect) -> None:
    server = await serve()
    device = await server.device()
    for sent in (b"", HALF, WHOLE, b"\x16\x03"):
        client = await connect(server.port, sent)
        if sent == WHOLE:
            await client.reader.readline()
        client.writer.close()
    peer = await server.connect(device)
    await until_open(server, 1)
    await peer.close()
    await until_open(server, 0)
    assert server.app[SOCKETS].waiting == 0
