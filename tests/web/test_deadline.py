"""The deadline of a request."""

import asyncio

import pytest
from serving import PATIENCE

from app.keys import ACCOUNTS
from tests.web.api import Api, Start

HEAD = (
    "POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    "Content-Length: 100\r\n\r\n{"
)


async def test_a_body_that_never_ends_is_answered_408_and_hung_up_on(start: Start) -> None:
    api = await start(request_seconds=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
    writer.write(HEAD.encode())
    answer = (await asyncio.wait_for(reader.read(), PATIENCE)).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 408")
    assert '"code":"request_timeout"' in answer


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nX: y"])
async def test_a_silent_or_half_sent_request_is_hung_up_on(start: Start, sent: bytes) -> None:
    api = await start(keepalive_seconds=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
    writer.write(sent)
    assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
    writer.close()


async def test_a_socket_outlives_the_deadline(start: Start) -> None:
    api = await start(request_seconds=0.05)
    ada = await issue_token(api)
    socket = await api.connect({"Authorization": ada})
    for _ in range(3):
        # Each request here runs into its own deadline: time passes without a sleep.
        reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
        writer.write(HEAD.encode())
        assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 408")
        writer.close()
    await socket.send_json({"type": "ping"})
    assert (await socket.receive_json(timeout=PATIENCE))["type"] == "pong"


async def issue_token(api: Api) -> str:
    """Return a token without signing in: hashing a password takes longer than the deadline."""
    user = await api.app[ACCOUNTS].find_user("ada")
    signed_in = await api.app[ACCOUNTS].issue_token(user.id, "device-0001", "web")
    return signed_in.token
