import asyncio
import subprocess
from collections.abc import Iterator

import aiohttp
import pytest
from serving import PATIENCE

from scripts.benchmark import compiler
from scripts.benchmark.servers import Tools

pytestmark = pytest.mark.process

PONG = '{"type":"pong","payload":null}'
DELIVERY = '{"type":"bench.tick","payload":{}}'


@pytest.fixture
def floor(tools: Tools) -> Iterator[int]:
    process = subprocess.Popen(
        [tools.floor, DELIVERY, PONG], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.communicate()
        assert process.returncode == 0


@pytest.mark.parametrize("name", ["floor", "load"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_programs_compile_without_a_warning(
    name: str, tls: bool, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-Werror"))
    assert compiler.compile_program(name, tools.folder, tls=tls).exists()


async def test_a_ping_is_answered_to_its_sender(floor: int) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{floor}/") as ws,
    ):
        await ws.send_str('{"type":"ping","payload":null}')
        assert await ws.receive_str(timeout=PATIENCE) == PONG


async def test_any_other_text_is_delivered_to_everyone(floor: int) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{floor}/") as one,
        http.ws_connect(f"http://127.0.0.1:{floor}/") as two,
    ):
        await one.send_str("go")
        assert await one.receive_str(timeout=PATIENCE) == DELIVERY
        assert await two.receive_str(timeout=PATIENCE) == DELIVERY


async def test_a_path_is_a_group_of_its_own(floor: int) -> None:
    url = f"http://127.0.0.1:{floor}"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/1") as one,
        http.ws_connect(f"{url}/1") as two,
        http.ws_connect(f"{url}/2") as other,
    ):
        await one.send_str('{"payload":{"to":"others"}}')
        assert await two.receive_str(timeout=PATIENCE) == DELIVERY
        for ws in (one, other):
            await ws.send_str('{"type":"ping"}')
            # Nothing came before it.
            assert await ws.receive_str(timeout=PATIENCE) == PONG


async def test_one_that_leaves_is_left_out_afterwards(floor: int) -> None:
    url = f"http://127.0.0.1:{floor}/"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as one:
        async with http.ws_connect(url) as two:
            await two.send_str('{"type":"ping"}')
            assert await two.receive_str(timeout=PATIENCE) == PONG
        assert two.close_code == 1000
        await one.send_str("go")
        assert await one.receive_str(timeout=PATIENCE) == DELIVERY


async def test_a_request_in_pieces_is_understood(floor: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", floor)
    writer.write(b"GET / HTTP/1.1\r\nSec-WebSocket-")
    await writer.drain()
    async with aiohttp.ClientSession() as http, http.ws_connect(f"http://127.0.0.1:{floor}/"):
        writer.write(b"Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
    # The example of RFC 6455, section 1.3.
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
    writer.close()
