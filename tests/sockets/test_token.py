"""A connection whose token ends: what it is told, how it goes on, and when it is closed."""

import time
from dataclasses import replace
from typing import Any

import jwt
import pytest
from serving import Device, Peer, Server

from app.auth.tokens import Identity, Via
from app.keys import ACCOUNTS, SESSIONS

SECRET = "s" * 32
JWTS = {
    "jwt_algorithm": "HS256",
    "jwt_secret": SECRET,
    "jwt_issuer": "https://a.example",
    "jwt_audience": "sb",
}


def token(ends: float, sub: str = "7", device: str | None = "outside-0001", **claims: Any) -> str:
    """Return a JWT that ends then, in seconds since the epoch; never the same twice."""
    given = {
        "iss": "https://a.example",
        "aud": "sb",
        "sub": sub,
        "iat": time.time() - 1,
        "exp": ends,
        "jti": str(time.monotonic_ns()),
        **({"device_id": device} if device else {}),
        **claims,
    }
    return jwt.encode(given, SECRET, algorithm="HS256")


async def opened(server: Server, text: str) -> tuple[Peer, dict[str, Any]]:
    peer = await server.open(headers={"Authorization": text})
    connected = await peer.receive()
    assert connected["type"] == "connected"
    return peer, connected["payload"]


async def refresh(peer: Peer, payload: Any) -> dict[str, Any]:
    return await peer.ask("token.refresh", payload)


def code(answer: dict[str, Any]) -> str:
    assert answer["type"] == "error"
    return str(answer["payload"]["code"])


@pytest.fixture
async def outside(serve: Any) -> Server:
    """A server that takes JWTs."""
    server: Server = await serve(**JWTS)
    return server


async def test_connected_tells_the_whole_seconds_until_a_jwt_ends(outside: Server) -> None:
    _, connected = await opened(outside, token(time.time() + 100.9))
    assert type(connected["expires_in"]) is int
    assert 90 <= connected["expires_in"] <= 100


async def test_connected_tells_when_a_session_ends_used_or_not(serve: Any) -> None:
    server = await serve(session_max_days=2, session_idle_days=1)
    device = await server.device()
    _, connected = await opened(server, device.token)
    assert type(connected["expires_in"]) is int
    assert 2 * 86_400 - 60 <= connected["expires_in"] <= 2 * 86_400


async def test_a_newer_jwt_takes_the_place_of_the_old_one(outside: Server) -> None:
    end = time.time() + 2
    peer, _ = await opened(outside, token(end))
    answer = await refresh(peer, {"token": token(end + 3600)})
    assert answer["type"] == "ok"
    assert answer["payload"]["delivered"] == []
    assert 3500 < answer["payload"]["expires_in"] <= 3602
    # Another connection of the same old token is closed when that ends, and this one is not.
    other, _ = await opened(outside, token(end, device="outside-0002"))
    assert await other.closed() == (4501, "session_expired")
    await peer.silence()


async def test_a_refreshed_connection_ends_with_the_newer_token(outside: Server) -> None:
    peer, _ = await opened(outside, token(time.time() + 3600))
    end = time.time() + 1.5
    answer = await refresh(peer, {"token": token(end)})
    assert answer["payload"]["expires_in"] <= 1
    assert await peer.closed() == (4501, "session_expired")
    assert time.time() >= end


@pytest.mark.parametrize(
    "wrong",
    [
        {"sub": "8"},
        {"device": "outside-0002"},
        {"device": None},
        {"aud": "another"},
        {"ends": 1},
        {"iat": 4_000_000_000},
    ],
    ids=str,
)
async def test_a_token_of_anybody_else_is_refused_and_the_old_one_goes_on(
    outside: Server, wrong: dict[str, Any]
) -> None:
    peer, connected = await opened(outside, token(time.time() + 3600))
    await opened(outside, token(time.time() + 3600, sub="8"))
    await opened(outside, token(time.time() + 3600, device="outside-0002"))
    claims = {"ends": time.time() + 7200, **wrong}
    assert code(await refresh(peer, {"token": token(**claims)})) == "invalid_token"
    assert code(await refresh(peer, {"token": "made-up"})) == "invalid_token"
    answer = await refresh(peer, {"token": token(time.time() + 60)})
    assert answer["payload"]["expires_in"] <= 60 < connected["expires_in"]


async def test_a_refresh_makes_no_user_and_no_device(serve: Any) -> None:
    server = await serve(**JWTS, max_devices_per_user=1)
    peer, _ = await opened(server, token(time.time() + 3600))
    strangers = [token(time.time() + 3600, sub="8"), token(time.time() + 3600, device="new-00001")]
    for stranger in strangers:
        assert code(await refresh(peer, {"token": stranger})) == "invalid_token"
    # The limit would have removed the device of this connection.
    await peer.silence()
    users = await server.app[ACCOUNTS].list_users()
    assert len(users) == 1
    # It was refused here only: it is good for a connection of its own.
    _, connected = await opened(server, strangers[0])
    assert connected["user_id"] != users[0].id


async def test_a_token_of_a_session_and_a_jwt_may_follow_each_other(outside: Server) -> None:
    peer, connected = await opened(outside, token(time.time() + 3600))
    issued = await outside.app[ACCOUNTS].issue_token(connected["user_id"], "outside-0001", "web")
    assert issued.device is not None
    assert issued.device.id == connected["device_id"]
    answer = await refresh(peer, {"token": issued.token})
    assert answer["payload"]["expires_in"] > 86_400
    answer = await refresh(peer, {"token": token(time.time() + 60)})
    assert answer["payload"]["expires_in"] <= 60


async def test_the_connection_belongs_to_the_session_of_the_newer_token(
    server: Server, phone: Device
) -> None:
    peer, untouched = await server.connect(phone), await server.connect(phone, "?instance=b")
    second = await server.device("phone")
    assert (second.device_id, second.session_id != phone.session_id) == (phone.device_id, True)
    assert (await refresh(peer, {"token": second.token}))["type"] == "ok"
    for one in (phone, second):
        await peer.silence()
        identity = await server.app[SESSIONS].resolve(one.token, "header")
        server.end(await server.app[ACCOUNTS].sign_out(identity))
        if one is phone:
            assert await untouched.closed() == (1000, "signed_out")
    assert await peer.closed() == (1000, "signed_out")


async def test_a_session_that_was_signed_out_is_no_newer_token(
    server: Server, phone: Device
) -> None:
    peer = await server.connect(phone)
    second = await server.device("phone")
    identity = await server.app[SESSIONS].resolve(second.token, "header")
    server.end(await server.app[ACCOUNTS].sign_out(identity))
    assert code(await refresh(peer, {"token": second.token})) == "invalid_token"
    await peer.silence()


@pytest.mark.parametrize("payload", [None, {}, {"token": 7}, {"token": None}, "text", []], ids=str)
async def test_a_refresh_without_a_token_is_invalid(
    server: Server, phone: Device, payload: Any
) -> None:
    peer = await server.connect(phone)
    assert code(await refresh(peer, payload)) == "invalid_message"


async def test_a_refresh_needs_an_id(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    await peer.send("token.refresh", {"token": phone.token})
    assert code(await peer.receive()) == "invalid_message"
    answer = await peer.ask("token.x", {"token": phone.token})
    assert code(answer) == "unknown_type"


async def test_no_device_sends_token_messages_to_others(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    answer = await peer.ask("device.send", {"to": "user", "type": "token.refresh"})
    assert code(answer) == "forbidden"


async def test_no_token_is_logged(server: Server, phone: Device, caplog: Any) -> None:
    caplog.set_level("DEBUG", logger="app")
    peer = await server.connect(phone)
    second = await server.device("phone")
    await refresh(peer, {"token": second.token})
    await refresh(peer, {"token": "x" * 43})
    for secret in (second.token, "x" * 43):
        assert not [record for record in caplog.records if secret in str(record.__dict__)]


async def test_a_token_that_ends_during_the_upgrade_is_expired_and_not_revoked(
    server: Server, phone: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = server.app[SESSIONS]
    resolve = sessions.resolve

    async def and_then_time_passes(token: str, via: Via) -> Identity:
        return replace(await resolve(token, via), expires_at=time.time())

    monkeypatch.setattr(sessions, "resolve", and_then_time_passes)
    peer = await server.open(phone)
    assert await peer.closed() == (4501, "session_expired")
    assert server.manager.connection_count == 0
