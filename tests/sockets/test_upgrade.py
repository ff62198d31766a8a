"""Which requests may upgrade, and how the server refuses the others."""

import logging
from typing import Any

import aiohttp
import pytest
from serving import PASSWORD, Device, Server
from websockets.exceptions import InvalidStatus

from app.keys import ACCOUNTS, METRICS, READINESS

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def refusal(
    server: Server, headers: dict[str, str], *, query: str = "", method: str = "GET"
) -> tuple[int, Any, aiohttp.ClientResponse]:
    """Send an upgrade and return status and problem code of the answer, which must not be 101."""
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.request(
            method, f"http://{server.host}/v1/ws{query}", headers={**HANDSHAKE, **headers}
        ) as response,
    ):
        assert response.status != 101
        body = await response.json(content_type=None) if method != "HEAD" else {}
        return response.status, body.get("code"), response


async def cookie_of(server: Server, device_uuid: str = "browser-1") -> str:
    """Sign in as a browser does and return the value of the cookie."""
    await server.user("ada")
    form = {
        "user_handle": "ada",
        "password": PASSWORD,
        "device_uuid": device_uuid,
        "device_type": "web",
    }
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(f"http://{server.host}/v1/auth/login", json=form) as response,
    ):
        assert response.status == 201
        return response.cookies["session_token"].value


async def test_the_raw_token_is_enough(server: Server, phone: Device) -> None:
    await server.connect(phone)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_bearer_token_is_enough(server: Server, phone: Device, scheme: str) -> None:
    peer = await server.open(headers={"Authorization": f"{scheme} {phone.token}"})
    assert (await peer.receive())["payload"]["device_id"] == phone.device_id


async def test_the_cookie_is_enough(server: Server) -> None:
    cookie = await cookie_of(server)
    peer = await server.open(headers={"Cookie": f"session_token={cookie}"})
    assert (await peer.receive())["type"] == "connected"


async def test_a_proxys_basic_credentials_are_ignored(server: Server) -> None:
    cookie = await cookie_of(server)
    peer = await server.open(
        headers={"Cookie": f"session_token={cookie}", "Authorization": "Basic YTpi"}
    )
    assert (await peer.receive())["type"] == "connected"


async def test_without_a_session_it_is_401(server: Server) -> None:
    status, code, _ = await refusal(server, {})
    assert (status, code) == (401, "unauthorized")


async def test_a_wrong_token_never_falls_back_to_the_cookie(server: Server) -> None:
    cookie = await cookie_of(server)
    status, _, _ = await refusal(
        server, {"Cookie": f"session_token={cookie}", "Authorization": "Bearer " + "x" * 43}
    )
    assert status == 401


async def test_a_token_in_the_url_is_never_looked_at(server: Server, phone: Device) -> None:
    status, _, _ = await refusal(server, {}, query=f"?token={phone.token}")
    assert status == 401


async def test_a_session_without_a_device_is_400(server: Server) -> None:
    issued = await server.app[ACCOUNTS].issue_token(await server.user("ada"), None, "web")
    status, code, _ = await refusal(server, {"Authorization": issued.token})
    assert (status, code) == (400, "device_required")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1"]
)
async def test_a_foreign_origin_is_403(server: Server, phone: Device, origin: str) -> None:
    status, code, _ = await refusal(server, {**phone.by_header, "Origin": origin})
    assert (status, code) == (403, "forbidden_origin")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_own_origin_is_fine_under_either_scheme(
    server: Server, phone: Device, scheme: str
) -> None:
    peer = await server.open(phone, headers={"Origin": f"{scheme}://{server.host}"})
    assert (await peer.receive())["type"] == "connected"


async def test_an_allowed_origin_offers_its_token_as_a_subprotocol(serve) -> None:
    server = await serve(allowed_origins="https://app.example")
    phone = await server.device()
    peer = await server.open(
        headers={"Origin": "https://app.example"},
        subprotocols=["switchboard.v1", f"bearer.{phone.token}"],
    )
    assert peer.ws.subprotocol == "switchboard.v1"
    assert (await peer.receive())["payload"]["device_id"] == phone.device_id


async def test_the_cookie_does_not_count_for_an_allowed_other_origin(serve) -> None:
    server = await serve(allowed_origins="https://app.example")
    cookie = await cookie_of(server)
    status, _, _ = await refusal(
        server, {"Cookie": f"session_token={cookie}", "Origin": "https://app.example"}
    )
    assert status == 401


async def test_an_offered_token_is_never_logged(server: Server, phone: Device, caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        peer = await server.open(phone, subprotocols=[f"bearer.{phone.token}"])
        assert (await peer.receive())["type"] == "connected"
        await refusal(server, {"Authorization": "Bearer " + "secret" * 7})
    shown = [record.getMessage() + str(record.__dict__) for record in caplog.records]
    # The client library logs the requests that it sends.
    ours = [line for line in shown if "'name': 'websockets" not in line]
    assert not [line for line in ours if phone.token in line or "secretsecret" in line]


@pytest.mark.parametrize(
    "change",
    [
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": ""},
    ],
    ids=str,
)
async def test_what_is_no_handshake_is_426(
    server: Server, phone: Device, change: dict[str, str]
) -> None:
    status, code, response = await refusal(server, {**phone.by_header, **change})
    assert (status, code) == (426, "upgrade_required")
    assert response.headers["Upgrade"] == "websocket"
    assert response.headers["Sec-WebSocket-Version"] == "13"


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "DELETE"])
async def test_another_method_is_426(server: Server, phone: Device, method: str) -> None:
    status, _, _ = await refusal(server, phone.by_header, method=method)
    assert status == 426


async def test_a_plain_get_is_426(server: Server) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{server.host}/v1/ws") as response,
    ):
        assert response.status == 426


@pytest.mark.parametrize(
    "query",
    [
        "?instance=",
        "?instance=a%20b",
        "?instance=" + "x" * 65,
        "?epoch=e",
        "?offset=1",
        "?epoch=e&offset=-1",
        "?epoch=e&offset=1.0",
        "?epoch=e&offset=x",
        "?epoch=e&offset=" + "9" * 30,
        "?resume=all",
        "?snapshot=yes",
    ],
)
async def test_a_malformed_parameter_is_400(server: Server, phone: Device, query: str) -> None:
    status, code, _ = await refusal(server, phone.by_header, query=query)
    assert (status, code) == (400, "invalid_parameter")


async def test_unknown_parameters_are_ignored(server: Server, phone: Device) -> None:
    await server.connect(phone, "?colour=red&instance=tab_1-x")


async def test_while_draining_it_is_503_with_retry_after(server: Server, phone: Device) -> None:
    server.app[READINESS].draining = True
    status, code, response = await refusal(server, phone.by_header)
    assert (status, code) == (503, "draining")
    assert int(response.headers["Retry-After"]) > 0


async def test_a_full_house_is_503_with_retry_after(serve) -> None:
    server = await serve(max_connections=1)
    phone = await server.device()
    peer = await server.connect(phone)
    status, code, response = await refusal(server, phone.by_header)
    assert (status, code) == (503, "overloaded")
    assert int(response.headers["Retry-After"]) > 0
    await peer.close()
    await server.until(lambda: server.manager.connection_count == 0)
    await server.connect(phone)


async def test_an_address_has_its_share(serve) -> None:
    server = await serve(max_connections_per_address=1, trusted_proxies="127.0.0.1")
    phone = await server.device()
    await server.connect(phone, headers={"X-Forwarded-For": "192.0.2.1"})
    status, code, _ = await refusal(server, {**phone.by_header, "X-Forwarded-For": "192.0.2.1"})
    assert (status, code) == (503, "too_many_connections")
    await server.connect(phone, "?instance=b", headers={"X-Forwarded-For": "192.0.2.2"})


async def test_the_checks_come_in_order(serve) -> None:
    """426, 503, 403, 401, 400: each fault is told before the ones after it."""
    server = await serve()
    phone = await server.device()
    faults: dict[str, str] = {"Upgrade": "h2c", "Origin": "https://evil.example"}
    server.app[READINESS].draining = True
    assert (await refusal(server, faults, query="?snapshot=x"))[0] == 426
    del faults["Upgrade"]
    assert (await refusal(server, faults, query="?snapshot=x"))[0] == 503
    server.app[READINESS].draining = False
    assert (await refusal(server, faults, query="?snapshot=x"))[0] == 403
    del faults["Origin"]
    assert (await refusal(server, faults, query="?snapshot=x"))[0] == 401
    assert (await refusal(server, phone.by_header, query="?snapshot=x"))[0] == 400


async def test_compression_is_not_negotiated(server: Server, phone: Device) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"http://{server.host}/v1/ws", headers=phone.by_header, compress=15
        ) as ws,
    ):
        assert not ws.compress


async def test_a_refused_upgrade_is_counted_by_its_reason(server: Server, phone: Device) -> None:
    await refusal(server, {})
    with pytest.raises(InvalidStatus):
        await server.open(phone, headers={"Origin": "https://evil.example"})
    assert server.app[METRICS].refused == {"unauthorized": 1, "forbidden_origin": 1}
