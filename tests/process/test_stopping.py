"""A stop: what the server still answers, what its peers are told, and what it leaves behind."""

import asyncio
import resource
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest
from serving import NO_LIMITS, PATIENCE, Peer
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.control.address import SOCKET_NAME
from app.storage.database import DATABASE_NAME
from tests.process.conftest import Start
from tests.process.server import Program, ServerProcess, StoppablePeer


async def draining(server: ServerProcess) -> None:
    """Wait until the server says that it stops."""
    async with asyncio.timeout(PATIENCE):
        while server.get("/ready")[0] != 503:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def check_database(data_dir: Path) -> None:
    """Check that the database is whole, and that no journal is left beside it."""
    assert not [path.name for path in data_dir.iterdir() if path.name.endswith(("-wal", "-shm"))]
    with sqlite3.connect(data_dir / DATABASE_NAME) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


async def test_a_stop_sends_new_clients_elsewhere_and_answers_the_others(start: Start) -> None:
    server = start(drain_seconds=60, shutdown_seconds=120)
    phone = await server.device("phone")
    async with server.connected(phone) as peer:
        server.signal(signal.SIGTERM)
        await draining(server)
        assert int(server.get("/ready")[1]["Retry-After"]) > 0
        assert server.get("/health")[0] == 200
        assert server.get("/v1/devices", phone.by_header)[0] == 200
        status, headers = server.get("/v1/auth/session", phone.by_header)
        assert (status, int(headers["Retry-After"]) > 0) == (503, True)
        with pytest.raises(InvalidStatus) as refused:
            async with server.connected(phone, "?instance=late"):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        # Those who are connected talk on until the end.
        await peer.silence()


async def test_a_stop_closes_its_peers_and_leaves_nothing_behind(start: Start) -> None:
    server = start(drain_seconds=0.2)
    phone = await server.device("phone")
    async with server.connected(phone) as peer:
        server.signal(signal.SIGTERM)
        assert await peer.closed() == (1001, "shutting_down")
    assert await server.status() == 0
    check_database(server.data_dir)
    assert not (server.data_dir / SOCKET_NAME).exists()
    again = start(port=server.port)
    async with again.connected(phone) as peer:
        await peer.silence()


async def farewell(peer: Peer) -> int:
    """Check the goaway and the close of a positioned peer; return its `after_ms`."""
    message = await peer.receive()
    assert message["type"] == "goaway"
    assert message["payload"].keys() == {"reason", "reconnect", "after_ms"}
    assert message["payload"]["reason"] == "shutting_down"
    assert message["payload"]["reconnect"] is True
    assert await peer.closed() == (1001, "shutting_down")
    return int(message["payload"]["after_ms"])


async def test_positioned_clients_are_spread_over_the_window_and_plain_ones_just_closed(
    start: Start,
) -> None:
    server = start(drain_seconds=0, reconnect_window_seconds=4)
    phone = await server.device("phone")
    async with AsyncExitStack() as stack:
        positioned = [
            await stack.enter_async_context(server.connected(phone, f"?instance=p{n}&resume=live"))
            for n in range(7)
        ]
        plain = await stack.enter_async_context(server.connected(phone))
        server.signal(signal.SIGINT)
        after = await asyncio.gather(*map(farewell, positioned))
        with pytest.raises(ConnectionClosed):
            await plain.receive()
        assert plain.ws.close_code == 1001
    assert await server.status() == 0
    # Not while nobody serves, which takes five seconds unless the settings say otherwise.
    assert all(5000 <= ms < 9000 for ms in after)
    assert Counter(ms // 1000 for ms in after).keys() == {5, 6, 7, 8}
    [end] = server.logged("stopping")
    assert end["connections"] == 8


async def test_what_waits_is_sent_before_the_close(start: Start) -> None:
    # A quiet machine uses little of this time.
    server = start(drain_seconds=0, shutdown_seconds=PATIENCE, **NO_LIMITS)
    phone, tv = await server.device("phone"), await server.device("tv")
    async with server.raw(tv) as slow, server.connected(phone) as sender:
        slow.writer.transport.pause_reading()
        message = {"to": tv.device_id, "type": "n.x", "payload": "x" * 30_000}
        delivered = 0
        while (await sender.ask("device.send", message))["payload"]["delivered"]:
            delivered += 1
        server.signal(signal.SIGTERM)
        assert await sender.closed() == (1001, "shutting_down")
        slow.writer.transport.resume_reading()
        received = 0
        while (frame := await slow.frame())[0] != 8:
            received += b'"n.x"' in frame[1]
        assert received == delivered
        assert int.from_bytes(frame[1][:2], "big") == 1001
    assert await server.status() == 0


async def test_peers_that_answer_nothing_and_read_nothing_do_not_hold_the_stop(
    start: Start, tmp_path: Path
) -> None:
    # Only the end of the time to stop can end the connections of these peers.
    server = start(
        drain_seconds=0.2,
        heartbeat_seconds=3600,
        stall_seconds=3600,
        **NO_LIMITS,
    )
    phone, tv, radio = [await server.device(name) for name in ("phone", "tv", "radio")]
    stopped = await StoppablePeer.start(tmp_path / "radio", server, radio, stopped=True)
    try:
        async with server.raw(tv) as stuck, server.connected(phone) as sender:
            stuck.writer.transport.pause_reading()
            message = {"to": tv.device_id, "type": "n.x", "payload": "x" * 30_000}
            while (await sender.ask("device.send", message))["payload"]["delivered"]:
                pass
            server.signal(signal.SIGTERM)
            assert await sender.closed() == (1001, "shutting_down")
            assert await server.status() == 0
    finally:
        stopped.program.end()
    [aborted] = server.logged("connections aborted at shutdown")
    assert aborted["count"] == 1
    assert not [line for line in server.log if line["level"] == "error"]


async def test_a_second_signal_stops_at_once(start: Start) -> None:
    server = start(drain_seconds=60, shutdown_seconds=120)
    server.signal(signal.SIGINT)
    await draining(server)
    server.signal(signal.SIGTERM)
    assert await server.status() == 128 + signal.SIGTERM
    assert server.logged("stopped at once by a second signal")
    # It left its socket behind, which the next server replaces.
    assert (server.data_dir / SOCKET_NAME).exists()
    again = start()
    assert await asyncio.to_thread(again.run.json, "devices", "list") == []


async def test_a_signal_during_the_start_stops_it(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text(
        "import os, signal\n"
        "class Early:\n"
        "    prefix = 'early'\n"
        "    def __init__(self, node): os.kill(os.getpid(), signal.SIGTERM)\n"
        "    async def handle(self, connection, message): return None\n"
    )
    program = Program(
        tmp_path / "program",
        *("-m", "app", "serve", "--port", "0", "--data-dir", str(tmp_path / "data")),
        settings={"features": "early:Early", "drain_seconds": 0},
        python_path=tmp_path,
    )
    try:
        assert await program.status() == 0
    finally:
        program.end()
    assert '"stopped"' in program.stderr.read_text()
    check_database(tmp_path / "data")


async def test_a_drain_as_long_as_the_stop_still_says_goodbye(start: Start) -> None:
    server = start(drain_seconds=1, shutdown_seconds=1, restart_seconds=0)
    phone = await server.device("phone")
    async with server.connected(phone, "?resume=live") as peer:
        server.signal(signal.SIGTERM)
        assert await farewell(peer) == 0
    assert await server.status() == 0
    assert not server.logged("connections aborted at shutdown")


async def test_a_hang_up_without_a_certificate_changes_nothing(start: Start) -> None:
    server = start()
    phone = await server.device("phone")
    async with server.connected(phone) as peer:
        server.signal(signal.SIGHUP)
        await server.until_logged("nothing to reload")
        await peer.silence()


LOG_BYTES = 100_000


@contextmanager
def read_only(server: ServerProcess) -> Iterator[None]:
    """Let the server commit nothing, and put no file into its folder or take one out of it.

    Its own log, which is a file here, is shorter than the limit, and the write-ahead log longer.
    """
    pid, folder = server.process.pid, server.data_dir
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    assert (folder / f"{DATABASE_NAME}-wal").stat().st_size > LOG_BYTES
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (LOG_BYTES, hard))
    folder.chmod(0o500)
    # The mode holds root up nowhere.
    held = subprocess.run(["chattr", "+i", str(folder)], capture_output=True, check=False)
    try:
        yield
    finally:
        if held.returncode == 0:
            subprocess.run(["chattr", "-i", str(folder)], check=True)
        folder.chmod(0o700)


async def test_a_stop_on_a_disk_that_takes_nothing_succeeds_and_tells_in_a_line_what_is_missing(
    start: Start,
) -> None:
    server = start(drain_seconds=0)
    phone = await server.device("phone")
    async with server.connected(phone, "?resume=live") as peer:
        message = {"to": "others", "type": "n.x", "payload": "x" * 30_000, "store": "log"}
        for _ in range(5):
            assert (await peer.ask("device.send", message))["type"] == "ok"
        with read_only(server):
            server.signal(signal.SIGTERM)
            assert await server.status() == 0
            assert (server.data_dir / SOCKET_NAME).exists()
    [line] = server.logged("not written at the stop")
    assert line["reason"] == "the disk failed"
    assert line["what"] == "last-seen times, the mark of a clean stop, trusted time"
    assert not [one for one in server.log if one["level"] in {"error", "critical"}]
    assert "Traceback" not in server.stderr.read_text()
    again = start()
    async with again.connected(phone) as peer:
        await peer.silence()


HANGING = """
import asyncio
import time


class Threaded:
    prefix = "threaded"

    def __init__(self, node):
        pass

    async def handle(self, connection, message):
        await asyncio.to_thread(time.sleep, 600)


class Stubborn:
    prefix = "stubborn"

    def __init__(self, node):
        pass

    async def handle(self, connection, message):
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass
"""


@pytest.mark.parametrize("feature", ["Threaded", "Stubborn"])
async def test_a_stop_ends_although_a_feature_does_not(
    start: Start, tmp_path: Path, feature: str
) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    server = start(features=f"hanging:{feature}", python_path=tmp_path, shutdown_seconds=3)
    phone = await server.device("phone")
    async with server.connected(phone) as peer:
        await peer.send(f"{feature.lower()}.x")
        await peer.silence()
        server.signal(signal.SIGTERM)
        assert await peer.closed() == (1001, "shutting_down")
    assert await server.status() == 0
    assert "stopped while a feature still ran" in server.stderr.read_text()
    check_database(server.data_dir)
