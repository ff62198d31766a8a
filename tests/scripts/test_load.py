import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

import pytest
from aiohttp import web

from scripts.benchmark.load import Load, LoadFailed, request
from scripts.benchmark.servers import Server, Tools, bare, floor, naive

Start = Callable[[Tools, int], AbstractContextManager[Server]]


async def _refuse(request: web.Request) -> web.StreamResponse:
    raise web.HTTPUnauthorized


async def _cut(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    await ws.receive()
    await ws.close(code=1013)
    return ws


@pytest.fixture
async def faulty() -> AsyncIterator[int]:
    app = web.Application()
    app.add_routes([web.get("/refuse", _refuse), web.get("/cut", _cut)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


@pytest.mark.parametrize("start", [floor, naive], ids=["floor", "naive"])
def test_every_delivery_and_every_answer_is_counted(tools: Tools, start: Start) -> None:
    with start(tools, 7) as server:
        assert server.load.open(0, 7).operations == 7
        assert server.load.fanout(5).operations == 35
        assert server.load.fanout(6, window=3).operations == 42
        assert server.load.echo(4, 3).operations == 12
        assert server.load.close().operations == 7
        assert server.load.open(2, 3).operations == 3


def test_a_bare_server_is_only_opened_and_closed(tools: Tools) -> None:
    with bare(tools, 3) as server:
        assert server.load.open(0, 3).operations == 3
        assert server.load.hold(0.01).operations == 0
        assert server.load.close().operations == 3


def test_a_phase_has_ordered_quantiles_and_its_own_time(tools: Tools) -> None:
    with floor(tools, 3) as server:
        server.load.open(0, 3)
        phase = server.load.echo(10, 3)
        assert 0 < phase.p50_us <= phase.p99_us <= phase.max_us
        assert 0 < phase.cpu_seconds <= phase.seconds
        assert phase.bytes > 0


async def test_a_refused_upgrade_is_an_error(tools: Tools, faulty: int) -> None:
    load = Load(tools.load, tools.folder, faulty, 0, [request("/refuse")])
    with pytest.raises(LoadFailed, match=r"refused: HTTP/1\.1 401"):
        await asyncio.to_thread(load.open, 0, 1)
    load.stop()


async def test_a_lost_connection_is_an_error(tools: Tools, faulty: int) -> None:
    load = Load(tools.load, tools.folder, faulty, 0, [request("/cut")])
    await asyncio.to_thread(load.open, 0, 1)
    with pytest.raises(LoadFailed, match="the server closed a connection"):
        await asyncio.to_thread(load.echo, 1, 1)
    load.stop()
