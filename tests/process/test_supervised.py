"""A server under a supervisor such as systemd: its sockets outlive it, and it says how it is."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import PATIENCE

from tests.process.conftest import Start
from tests.process.server import Program


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens, as systemd holds it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class Supervisor:
    """What a server tells."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.settimeout(PATIENCE)

    def hear(self, wanted: str) -> str:
        """Return the next message with this state."""
        while wanted not in (heard := self._socket.recv(4096).decode()).splitlines():
            pass
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor that the servers of this test are told of."""
    supervisor = Supervisor(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
    yield supervisor
    supervisor.close()


def test_it_is_told_that_the_server_serves_lives_and_stops(
    start: Start, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    server = start(drain_seconds=0)
    assert server.url in supervisor.hear("READY=1")
    for _ in range(3):
        supervisor.hear("WATCHDOG=1")
    server.signal(signal.SIGTERM)
    supervisor.hear("STOPPING=1")


async def test_who_comes_between_two_servers_waits_and_is_not_refused(
    start: Start, listener: socket.socket
) -> None:
    server = start(listener=listener)
    assert server.port == listener.getsockname()[1]
    phone = await server.device("phone")
    async with server.connected(phone, "?resume=live") as peer:
        server.signal(signal.SIGTERM)
        goaway = await peer.receive()
        # The next server may be there at once, and until then all wait.
        assert (goaway["type"], goaway["payload"]["after_ms"]) == ("goaway", 0)
        assert await peer.closed() == (1001, "shutting_down")
    assert await server.status() == 0

    async def come_back() -> None:
        async with server.connected(phone) as peer:
            await peer.silence()

    coming = asyncio.create_task(come_back())
    await asyncio.to_thread(start, listener=listener)
    await coming


def test_a_server_started_with_something_else_says_so(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        program = Program(
            tmp_path,
            *("-m", "app", "serve", "--data-dir", str(tmp_path / "data")),
            settings={},
            listener=other,
        )
        try:
            assert program.process.wait(PATIENCE) == 2
        finally:
            program.end()
    said = program.stderr.read_text()
    assert "Descriptor 3 of LISTEN_FDS is no TCP socket that listens." in said
