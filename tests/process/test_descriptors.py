"""A server that may open few files serves as many as it can, says so, and stays well."""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from serving import PATIENCE, Device

from app.base.descriptors import LEAST, fit
from tests.process.conftest import Start
from tests.process.server import ServerProcess
from tests.process.test_refusing import refusal

FILES = 256
CLIENTS = 400

HALF = b"GET /health HTTP/1.1\r\nHost: x\r\n"

pytestmark = pytest.mark.process


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder for the server's path, by which it runs on this event loop."""
    folder = tmp_path / "loop"
    folder.mkdir()
    if request.param == "asyncio":
        (folder / "uvloop.py").write_text("from asyncio import new_event_loop\n")
    return folder


class Client:
    """One socket and what came of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def status(self) -> int | None:
        """Return the status of the answer, read to the end of its headers; None without one."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self.head = head
        return int(head.split()[1])

    def write(self, data: bytes) -> None:
        self.writer.write(data)


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Return a function that connects to a server and sends this; all are gone at the end."""
    clients = []

    async def connect(server: ServerProcess, sent: bytes = b"") -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
        clients.append(client)
        client.write(sent)
        return client

    yield connect
    for client in clients:
        client.writer.transport.abort()
        with suppress(ConnectionError):
            await client.writer.wait_closed()


def upgrade(device: Device, number: int) -> bytes:
    return (
        f"GET /v1/ws?instance=i{number} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: {device.token}\r\n\r\n"
    ).encode()


def open_files(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def allow(server: ServerProcess, soft: int) -> None:
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (soft, hard))


async def test_more_clients_than_files(start: Start, loop: Path, connect: Connect) -> None:
    server = start(
        open_files=FILES,
        python_path=loop,
        max_connections_per_device=1000,
        max_connections_per_user=1000,
    )
    capacity = fit(50_000, FILES)
    warnings = [line for line in server.log if line["level"] == "warning"]
    assert [(line["limit"], line["connections"]) for line in warnings] == [
        (FILES, capacity.connections)
    ]
    device = await server.device("phone")
    async with server.connected(device) as peer:
        clients = [await connect(server, upgrade(device, n)) for n in range(CLIENTS)]
        statuses = [await client.status() for client in clients]
        assert statuses.count(101) == capacity.connections - 1
        assert statuses.count(503) == CLIENTS - capacity.connections + 1
        assert all(b"Retry-After: " in one.head for one in clients if b" 503 " in one.head[:20])
        # The node is full, and everything else goes on.
        for path in ("/health", "/ready", "/metrics"):
            assert (await asyncio.to_thread(server.get, path))[0] == 200
        stored = {"to": "user", "type": "note.new", "payload": "x" * 1000, "store": "log"}
        for _ in range(20):
            await peer.send("device.send", stored, id="ask")
            while (await peer.receive()).get("reply_to") != "ask":
                pass
        assert await asyncio.to_thread(server.run.json, "devices", "list")
    assert "Traceback" not in server.stderr.read_text()
    assert server.metric("switchboard_connections_limit") == capacity.connections


async def test_half_open_sockets_give_way(start: Start, loop: Path, connect: Connect) -> None:
    server = start(open_files=FILES, python_path=loop, header_seconds=3600)
    capacity = fit(50_000, FILES)
    held = [await connect(server, HALF) for _ in range(2 * capacity.sockets)]
    device = await server.device("phone")
    assert (await asyncio.to_thread(server.get, "/health"))[0] == 200
    async with server.connected(device) as peer:
        await peer.silence()
    # Those that came first are gone, the last ones may still finish.
    assert await held[0].status() == 503
    held[-1].write(b"\r\n")
    assert await held[-1].status() == 200
    replaced = await asyncio.to_thread(
        server.metric, 'switchboard_sockets_closed_total{reason="replaced"}'
    )
    assert replaced >= capacity.sockets


async def test_the_system_refuses_and_recovers(start: Start, loop: Path, connect: Connect) -> None:
    server = start(python_path=loop)
    device = await server.device("phone")
    async with server.connected(device) as peer:
        # Capacity for nothing but the spare.
        before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0]
        statuses: set[int] = set()
        # What was open for a moment when they were counted leaves room for somebody.
        while statuses != {503}:
            allow(server, open_files(server))
            refused = [await connect(server, HALF + b"\r\n") for _ in range(5)]
            statuses = {await client.status() for client in refused}
        [*_, line] = await server.until_logged("accept failed")
        assert (line["level"], line["reason"]) == ("warning", "EMFILE")
        # What is connected goes on, and is stored.
        await peer.send("device.send", {"to": "user", "type": "note.new", "store": "log"}, id="ask")
        while (await peer.receive()).get("reply_to") != "ask":
            pass
        allow(server, before)
        # The listener and the control socket are there again.
        client = await connect(server, HALF + b"Connection: close\r\n\r\n")
        while await client.status() != 200:
            client = await connect(server, HALF + b"Connection: close\r\n\r\n")
        assert await asyncio.to_thread(
            server.metric, 'switchboard_accept_failures_total{reason="EMFILE"}'
        )
        assert await asyncio.to_thread(server.run.json, "devices", "list")
    assert "Traceback" not in server.stderr.read_text()


async def test_no_use_of_the_database_opens_a_file(start: Start) -> None:
    server = start()
    devices = [await server.device(name) for name in ("phone", "laptop")]
    before = open_files(server)
    async with server.connected(devices[0], "?resume=live") as peer:
        for number in range(50):
            await peer.send(
                "device.send",
                {"to": "user", "type": "note.new", "payload": number, "store": "log"},
                id="ask",
            )
            while (await peer.receive()).get("reply_to") != "ask":
                pass
        await asyncio.gather(
            *(asyncio.to_thread(server.get, "/v1/devices", devices[0].by_header) for _ in range(12))
        )
        async with server.connected(devices[1]):
            pass
    async with asyncio.timeout(PATIENCE):
        while server.sockets():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # Less than before if a connection of the control socket still lingered then.
    assert open_files(server) <= before + 1


def test_too_few_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    sentence = refusal(tmp_path / "data", 2, open_files=LEAST - 1)
    assert str(LEAST - 1) in sentence
    assert "LimitNOFILE" in sentence


def test_the_soft_limit_is_raised(start: Start) -> None:
    server = start(max_connections=300)
    assert not server.logged("fewer connections than max_connections")
    soft, _hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert soft >= fit(300, soft).sockets
