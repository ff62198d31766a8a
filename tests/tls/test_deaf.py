"""What libraries get that stop reading at a close frame: an end without one."""

import asyncio
import json
import logging
import socket
import ssl
from contextlib import suppress

import pytest
from serving import NO_LIMITS, PATIENCE, Device, RawPeer, Server, masked

from app.keys import METRICS, NODE
from app.protocol.close import ABUSE, REPLACED, REVOKED, SESSION_EXPIRED, TOO_SLOW, Close, Selector
from app.protocol.frames import frame

pytestmark = pytest.mark.parametrize("serve", ["plain", "tls"], indirect=True)

OKHTTP = "User-Agent: okhttp/4.12.0\r\n"


async def heard(peer: RawPeer) -> list[int]:
    """Return the opcodes of all frames until the stream ends, as it should: not by a reset."""
    found: list[int] = []
    with suppress(asyncio.IncompleteReadError):
        while True:
            found.append((await peer.frame())[0])
    return found


async def end(server: Server, close: Close) -> None:
    await server.until(lambda: server.manager.connections())
    assert server.app[NODE].disconnect(Selector(), close) == 1


@pytest.mark.parametrize("close", [REVOKED, SESSION_EXPIRED, TOO_SLOW], ids=lambda one: one.reason)
async def test_okhttp_gets_a_fin_without_a_close_frame_and_the_code_is_counted(
    serve, close: Close, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = await serve(close_seconds=60)
    peer = await RawPeer.upgrade(server, await server.device(), headers=OKHTTP)
    await end(server, close)
    assert await heard(peer) == [1]
    # The peer's own end is enough; nobody waits for a close frame of it.
    peer.abort()
    await server.until(lambda: not server.app[NODE].live)
    assert dict(server.app[METRICS].closed) == {str(close.code): 1}
    [line] = [one for one in caplog.records if one.getMessage() == "disconnected"]
    assert (line.fields["code"], line.fields["reason"]) == (close.code, close.reason)


@pytest.mark.parametrize(
    ("query", "headers", "close"),
    [
        ("", OKHTTP, REPLACED),
        ("?resume=live", OKHTTP, REVOKED),
        ("", "User-Agent: Mozilla/5.0 okhttp/4.12.0\r\n", REVOKED),
        ("", "", REVOKED),
    ],
    ids=["not to come back", "positioned", "another library", "no name"],
)
async def test_all_others_get_a_close_frame(serve, query: str, headers: str, close: Close) -> None:
    server = await serve()
    peer = await RawPeer.upgrade(server, await server.device(), query=query, headers=headers)
    await end(server, close)
    assert await peer.close_code() == close.code


async def test_what_was_sent_before_comes_before_the_end(serve) -> None:
    server = await serve()
    peer = await RawPeer.upgrade(server, await server.device(), headers=OKHTTP)
    await peer.frame()
    [connection] = server.manager.connections()
    for _ in range(3):
        connection.send(frame(b"{}"))
    closing = asyncio.ensure_future(server.app[NODE].close_all(PATIENCE))
    assert await heard(peer) == [1, 1, 1]
    peer.abort()
    await closing


async def test_a_peer_that_breaks_the_protocol_gets_its_answers_and_then_the_end(serve) -> None:
    server = await serve(**NO_LIMITS)
    peer = await RawPeer.upgrade(server, await server.device(), headers=OKHTTP)
    await peer.frame()
    peer.write(masked(b'{"type":"ping"}'))
    assert json.loads((await peer.frame())[1])["type"] == "pong"
    # Without a mask.
    peer.write(b"\x81\x02{}")
    assert await heard(peer) == []
    peer.abort()
    await server.until(lambda: not server.app[NODE].live)
    assert dict(server.app[METRICS].closed) == {str(ABUSE.code): 1}


async def test_a_peer_that_does_not_end_its_side_is_dropped(serve) -> None:
    server = await serve()
    await RawPeer.upgrade(server, await server.device(), headers=OKHTTP)
    await end(server, REVOKED)
    await server.until(lambda: not server.app[NODE].live)


def last_words(server: Server, phone: Device, authority: ssl.SSLContext | None) -> bytes:
    """Return what comes after the 101 until the end, which must be announced under TLS."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw:
        talk = raw
        if authority is not None:
            talk = authority.wrap_socket(
                raw, server_hostname="127.0.0.1", suppress_ragged_eofs=False
            )
        with talk:
            talk.sendall(
                f"GET /v1/ws HTTP/1.1\r\nHost: {server.host}\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"{OKHTTP}Authorization: {phone.token}\r\n\r\n".encode()
            )
            found = b""
            while more := talk.recv(65_536):
                found += more
    return found.partition(b"\r\n\r\n")[2]


async def test_under_tls_a_close_notify_comes_before_the_fin(serve) -> None:
    server = await serve()
    phone = await server.device()
    listening = asyncio.ensure_future(
        asyncio.to_thread(last_words, server, phone, server.client_tls)
    )
    await end(server, REVOKED)
    words = await listening
    assert b'"connected"' in words
    assert b"revoked" not in words
