import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from scripts.benchmark.compiler import compile_program
from scripts.benchmark.load import Load, LoadFailed, Speech, request
from scripts.benchmark.peers.catalogue import SOCKET_IO
from scripts.benchmark.servers import (
    Shape,
    Start,
    Tools,
    bare,
    floor,
    floor_program,
    naive,
    naive_program,
)
from scripts.benchmark.texts import Kind
from scripts.benchmark.tls import certificate

pytestmark = pytest.mark.process


async def _refuse(request: web.Request) -> web.StreamResponse:
    raise web.HTTPUnauthorized


async def _cut(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.receive()
    await ws.close(code=1013)
    return ws


async def _engine_io(request: web.Request) -> web.StreamResponse:
    """Greet, ping and answer as a server of Socket.IO does."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.send_str('0{"sid":"a","pingInterval":25000}')
    assert await ws.receive_str() == "40"
    await ws.send_str('40{"sid":"b"}')
    async for message in ws:
        assert message.data == '42["ping",null]'
        await ws.send_str("2")
        assert await ws.receive_str() == "3"
        await ws.send_str('42["pong",null]')
    return ws


@pytest.fixture
async def faulty() -> AsyncIterator[int]:
    app = web.Application()
    app.add_routes([web.get("/refuse", _refuse), web.get("/cut", _cut)])
    app.add_routes([web.get("/socket.io/", _engine_io)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


@pytest.mark.parametrize("start", [floor, naive], ids=["floor", "naive"])
def test_every_delivery_and_every_answer_is_counted(tools: Tools, start: Start) -> None:
    with start(tools, Shape(7)) as server:
        assert server.load.open(0, 7).operations == 7
        assert server.load.fanout(5).operations == 35
        assert server.load.fanout(6, burst=3).operations == 126
        assert server.load.echo(4, 3).operations == 12
        assert server.load.close().operations == 7
        assert server.load.open(2, 3).operations == 3


@pytest.mark.parametrize("start", [floor, naive], ids=["floor", "naive"])
def test_groups_are_served_apart_and_a_sender_can_be_left_out(tools: Tools, start: Start) -> None:
    with start(tools, Shape(9, 3)) as server:
        server.load.open(0, 9)
        assert server.load.play("others", 5, size=3, groups=3).operations == 5 * 3 * 2
        assert server.load.play("others", 5, size=3, groups=2).messages == 5 * 2
        # A message with an id gets an answer.
        assert server.load.play("durable", 4, size=3, groups=3).operations == 4 * 3 * 3


@pytest.mark.parametrize("start", [floor, naive], ids=["floor", "naive"])
def test_a_mixture_is_the_same_each_time(tools: Tools, start: Start) -> None:
    with start(tools, Shape(10, 5)) as server:
        server.load.open(0, 10)
        first = server.load.play("mixed", 50, size=5, groups=2)
        again = server.load.play("mixed", 50, size=5, groups=2)
        assert first.messages == again.messages == 100
        assert 100 < first.operations == again.operations < 500


def test_rounds_begin_when_they_are_due(tools: Tools) -> None:
    with floor(tools, Shape(6, 3)) as server:
        server.load.open(0, 6)
        phase = server.load.play("others", 20, size=3, groups=2, per_second=400)
        assert phase.operations == 20 * 2 * 2
        # 40 rounds at 400 a second; none begins before it is due.
        assert phase.seconds >= 0.1


def test_those_that_stall_are_left_out(tools: Tools) -> None:
    with floor(tools, Shape(5)) as server:
        server.load.open(0, 5)
        server.load.stall(2)
        assert server.load.fanout(4).operations == 12
        assert server.load.close().operations == 3


@pytest.mark.parametrize("secure", [floor_program, naive_program], ids=["floor", "naive"])
def test_everything_is_counted_over_tls_too(tools: Tools, secure: Any) -> None:
    files = certificate(tools.folder)
    names = ("floor", "load")
    secured = Tools(*(compile_program(n, tools.folder, tls=True) for n in names), tools.folder)
    program = secure(secured, tls=files) if secure is floor_program else secure(files)
    with program(secured, Shape(4)) as server:
        assert server.load.open(0, 4).operations == 4
        assert server.load.fanout(5, burst=8).operations == 4 * 5 * 8
        assert server.load.close().operations == 4


def test_what_brings_no_frame_is_an_error(tools: Tools) -> None:
    with floor(tools, Shape(1)) as server:
        server.load.open(0, 1)
        with pytest.raises(LoadFailed, match="brings no frame"):
            server.load.play("others", 1)
        with pytest.raises(LoadFailed, match="nothing to play"):
            server.load.play("nonsense", 1)


def play_often(load: Load) -> None:
    """Play phases in turn: the last messages of one may come after its end, and meet the next."""
    for _ in range(100):
        load.play("fanout", 50)


async def test_what_nobody_asked_for_is_an_error(tools: Tools) -> None:
    promising_less = Speech((Kind("fanout", '{"payload":{"to":"user"}}', 0, 1),))
    program = replace(floor_program(tools), speech=promising_less)
    with program(tools, Shape(3)) as server:
        server.load.open(0, 3)
        with pytest.raises(LoadFailed, match="nothing had asked for"):
            play_often(server.load)


async def test_socket_io_is_spoken(tools: Tools, faulty: int) -> None:
    load = Load(tools.load, tools.folder, faulty, [request("/socket.io/")] * 2, SOCKET_IO)
    assert (await asyncio.to_thread(load.open, 0, 2)).messages == 2
    assert (await asyncio.to_thread(load.echo, 3, 2)).operations == 6
    load.stop()


def test_a_bare_server_is_only_opened_and_closed(tools: Tools) -> None:
    with bare(tools, Shape(3)) as server:
        assert server.load.open(0, 3).operations == 3
        assert server.load.hold(0.01).operations == 0
        assert server.load.close().operations == 3


def test_a_phase_has_ordered_quantiles_and_its_own_time(tools: Tools) -> None:
    with floor(tools, Shape(3)) as server:
        server.load.open(0, 3)
        phase = server.load.echo(10, 3)
        assert 0 < phase.p50_us <= phase.p99_us <= phase.p999_us <= phase.max_us
        assert 0 < phase.cpu_seconds <= phase.seconds
        assert phase.bytes > 0


async def test_a_refused_upgrade_is_an_error(tools: Tools, faulty: int) -> None:
    load = Load(tools.load, tools.folder, faulty, [request("/refuse")])
    with pytest.raises(LoadFailed, match=r"refused: HTTP/1\.1 401"):
        await asyncio.to_thread(load.open, 0, 1)
    load.stop()


async def test_a_lost_connection_is_an_error(tools: Tools, faulty: int) -> None:
    load = Load(tools.load, tools.folder, faulty, [request("/cut")])
    await asyncio.to_thread(load.open, 0, 1)
    with pytest.raises(LoadFailed, match="the server closed a connection"):
        await asyncio.to_thread(load.echo, 1, 1)
    load.stop()
