"""What the log says of a connection, when it comes and when it ends."""

import asyncio
import logging
import time
from typing import Any

import jwt
import pytest
from serving import PASSWORD, Device, Peer, RawPeer, Server, masked

from app.base.foreign import MASK
from app.base.logs import JsonFormatter, TextFormatter
from app.keys import NODE
from app.websocket.upgrade import AGENT_LENGTH

Log = pytest.LogCaptureFixture


@pytest.fixture
def log(caplog: Log) -> Log:
    caplog.set_level(logging.DEBUG, logger="app")
    return caplog


def records(log: Log, message: str) -> list[logging.LogRecord]:
    return [one for one in log.records if one.getMessage() == message]


def fields_of(log: Log, message: str) -> dict[str, Any]:
    [record] = records(log, message)
    found: dict[str, Any] = record.__dict__["fields"]
    return found


async def ended(server: Server) -> None:
    await server.until(lambda: not server.app[NODE].live)


async def upgraded(server: Server, device: Device, *lines: bytes, query: str = "") -> RawPeer:
    """Return a peer that sent these header lines as they are, once it has `connected`."""
    reader, writer = await asyncio.open_connection(*server.host.split(":"))
    peer = RawPeer(reader, writer)
    server.add_raw(peer)
    head = (
        f"GET /v1/ws{query} HTTP/1.1\r\nHost: {server.host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: Bearer {device.token}\r\n"
    )
    peer.write(head.encode() + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    await peer.frame()
    return peer


async def test_the_line_of_a_client_without_parameters_says_who_and_how(
    server: Server, phone: Device, log: Log
) -> None:
    await upgraded(server, phone, b"User-Agent: tv/1.0")
    line = fields_of(log, "connected")
    assert (line["user"], line["handle"], line["device"]) == (1, "ada", phone.device_id)
    assert (line["resume"], line["positioned"]) == ("live", False)
    assert (line["tls"], line["via"], line["agent"]) == (False, "header", "tv/1.0")
    assert "asked" not in line
    assert "subprotocol" not in line


async def test_the_line_has_the_protocol_that_was_agreed(
    server: Server, phone: Device, log: Log
) -> None:
    offered = f"Sec-WebSocket-Protocol: switchboard.v1, bearer.{phone.token}"
    await upgraded(server, phone, offered.encode())
    assert fields_of(log, "connected")["subprotocol"] == "switchboard.v1"


async def position_of(peer: Peer) -> tuple[str, int]:
    greeting = (await peer.receive())["payload"]["resume"]
    return greeting["epoch"], greeting["head"]


async def test_the_line_of_a_client_that_comes_back_says_what_it_asked_for_and_got(
    server: Server, phone: Device, laptop: Device, log: Log
) -> None:
    first = await server.open(phone, "?resume=live")
    epoch, head = await position_of(first)
    await first.close()
    await ended(server)
    sender = await server.connect(laptop)
    await sender.ask("device.send", {"to": "others", "type": "n.x", "store": "log"})
    log.clear()
    await server.open(phone, f"?epoch={epoch}&offset={head}")
    await server.until(lambda: records(log, "connected"))
    line = fields_of(log, "connected")
    assert (line["resume"], line["positioned"]) == ("resumed", True)
    assert (line["asked"], line["epoch"]) == (f"{epoch}:{head}", epoch)
    assert (line["offset"], line["head"]) == (head, head + 1)


async def test_the_line_of_a_reset_names_the_position_of_another_history(
    server: Server, phone: Device, log: Log
) -> None:
    await upgraded(server, phone, query="?epoch=elsewhere&offset=7")
    line = fields_of(log, "connected")
    assert (line["resume"], line["asked"], line["offset"]) == ("reset", "elsewhere:7", line["head"])
    assert line["epoch"] != "elsewhere"


async def test_a_jwts_user_is_named_by_its_sub(serve, log: Log) -> None:
    secret = "s" * 32
    server = await serve(
        jwt_algorithm="HS256", jwt_secret=secret, jwt_issuer="app", jwt_audience="us"
    )
    now = int(time.time())
    claims = {"iss": "app", "aud": "us", "sub": f"u\N{RIGHT-TO-LEFT OVERRIDE}{'1' * 100}"}
    token = jwt.encode(
        {**claims, "iat": now, "exp": now + 60, "device_id": "phone-0001"}, secret, "HS256"
    )
    peer = await server.open(headers={"Authorization": f"Bearer {token}"})
    await peer.receive()
    line = fields_of(log, "connected")
    assert (line["handle"], line["via"]) == (f"u?{'1' * 62}", "jwt in header")


@pytest.mark.parametrize(
    ("lines", "agent"),
    [
        pytest.param([], None, id="missing"),
        pytest.param([b"User-Agent:"], None, id="empty"),
        pytest.param([b"User-Agent: " + b"x " * 8000], "x " * (AGENT_LENGTH // 2), id="16 KB"),
        pytest.param([b"User-Agent: a\xff\xfeb"], "a??b", id="no UTF-8"),
        pytest.param(["User-Agent: a\N{RIGHT-TO-LEFT OVERRIDE}b".encode()], "a?b", id="bidi"),
        pytest.param(["User-Agent: a\u2028b".encode()], "a?b", id="line separator"),
        pytest.param(["User-Agent: a\x9b31mb".encode()], "a?31mb", id="escape"),
        pytest.param(["User-Agent: Küche/1".encode()], "Küche/1", id="umlaut"),
    ],
)
async def test_a_user_agent_is_shown_cut_and_clean_and_never_two_lines(
    server: Server, phone: Device, log: Log, lines: list[bytes], agent: str | None
) -> None:
    await upgraded(server, phone, *lines)
    assert fields_of(log, "connected").get("agent") == agent
    [record] = records(log, "connected")
    for form in (TextFormatter(colour=False), JsonFormatter()):
        assert len(form.format(record).encode().splitlines()) == 1


async def test_two_user_agents_are_no_http_and_not_in_the_line(
    server: Server, phone: Device, log: Log
) -> None:
    with pytest.raises(AssertionError, match="400"):
        await RawPeer.upgrade(
            server, phone, headers="User-Agent: first/1\r\nUser-Agent: second/2\r\n"
        )
    [record] = log.records
    assert record.getMessage() == "malformed request"
    assert "first/1" not in str(record.__dict__)


async def test_a_user_agent_writes_no_field_of_its_own(
    server: Server, phone: Device, log: Log
) -> None:
    await upgraded(server, phone, b'User-Agent: x" user=7 code=1000')
    [record] = records(log, "connected")
    assert r'agent="x\" user=7 code=1000"' in TextFormatter(colour=False).format(record)


async def test_no_secret_is_logged_wherever_a_client_puts_it(
    server: Server, phone: Device, log: Log
) -> None:
    token = phone.token
    agents = [f"User-Agent: {'x ' * pad}{token}".encode() for pad in (0, 90, 99)]
    for agent in agents:
        await upgraded(server, phone, agent, f"Cookie: session_token={token}".encode())
    queries = (f"?token={token}", f"?epoch={token}&offset=1", f"?access_token={token}&snapshot=1")
    for query in queries:
        await upgraded(server, phone, query=query)
    with pytest.raises(AssertionError):
        await upgraded(server, phone, agents[0], query=f"?instance={token}.{PASSWORD}")
    await server.forget_peers()
    await ended(server)
    assert len(records(log, "connected")) == len(agents) + len(queries)
    assert MASK in log.records[0].__dict__["fields"]["agent"]
    for record in log.records:
        for cut in (token[:12], token[-12:], PASSWORD):
            assert cut not in str(record.__dict__)


# The end


async def test_the_end_names_a_client_that_closed(server: Server, phone: Device, log: Log) -> None:
    peer = await server.connect(phone)
    await peer.close()
    await ended(server)
    line = fields_of(log, "disconnected")
    assert (line["by"], line["code"], line["handle"]) == ("client", 1000, "ada")
    assert "reason" not in line


async def test_a_close_frame_without_a_code_is_the_clients_too(
    server: Server, phone: Device, log: Log
) -> None:
    peer = await upgraded(server, phone)
    peer.write(masked(b"", opcode=8))
    await peer.ended()
    await ended(server)
    line = fields_of(log, "disconnected")
    assert (line["by"], line["code"]) == ("client", 1005)


@pytest.mark.parametrize("way", ["half closed", "reset"])
async def test_a_connection_without_a_close_frame_was_ended_by_the_network(
    server: Server, phone: Device, log: Log, way: str
) -> None:
    peer = await upgraded(server, phone)
    if way == "reset":
        peer.abort()
    else:
        await peer.drop()
    await ended(server)
    line = fields_of(log, "disconnected")
    assert (line["by"], line["code"]) == ("network", 1006)


async def test_a_frame_that_breaks_the_protocol_has_the_server_close(
    server: Server, phone: Device, log: Log
) -> None:
    peer = await upgraded(server, phone)
    # Not masked, with a reserved bit.
    peer.write(b"\xf1\x01x")
    await peer.ended()
    await ended(server)
    line = fields_of(log, "disconnected")
    assert (line["by"], line["code"]) == ("server", 4503)


async def test_the_end_says_why_the_server_closed(server: Server, phone: Device, log: Log) -> None:
    old = await server.connect(phone)
    await server.connect(phone)
    await old.closed()
    await server.until(lambda: records(log, "disconnected"))
    line = fields_of(log, "disconnected")
    assert (line["by"], line["code"], line["reason"]) == ("server", 1000, "replaced")
