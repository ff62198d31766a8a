"""API keys and sessions do not stand in for each other."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import WSServerHandshakeError
from serving import PATIENCE

from app.keys import API_KEYS, DATABASE
from tests.auth.house import statements
from tests.web.api import Api, problem
from tests.web.backend import Shop, all_keys, shop

NOTE = {"to": {"everyone": True}, "type": "note.text"}

BACKEND = [
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/batch"),
    ("GET", "/v1/users?handle=ada"),
    ("GET", "/v1/users/1/stream"),
    ("GET", "/v1/users/1/devices"),
]
SESSIONS = [
    ("GET", "/v1/auth/session"),
    ("POST", "/v1/auth/logout"),
    ("POST", "/v1/auth/password"),
    ("GET", "/v1/devices"),
    ("PATCH", "/v1/devices/1"),
    ("DELETE", "/v1/devices/1"),
]


@pytest.mark.parametrize(("method", "path"), BACKEND)
async def test_no_session_is_a_key(api: Api, method: str, path: str) -> None:
    device = await api.sign_in()
    for headers in ({}, device.by_header, device.by_cookie, {"Authorization": "Basic YTpi"}):
        response = await api.http.request(method, path, headers=headers, json=NOTE)
        assert response.status == 401
        assert (await problem(response))["code"] == "unauthorized"
        assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), SESSIONS)
async def test_no_key_is_a_session(api: Api, method: str, path: str) -> None:
    backend = await shop(api, "admin")
    body = {"old_password": "a", "new_password": "b", "device_name": "c"}
    with statements(api.app[DATABASE]) as seen:
        response = await api.http.request(method, path, headers=backend.by_header, json=body)
    assert response.status == 401
    assert seen.seen == []


async def test_no_key_opens_a_socket(api: Api) -> None:
    backend = await shop(api, "admin")
    for headers in (
        backend.by_header,
        {"Sec-WebSocket-Protocol": f"switchboard.v1, bearer.{backend.key}"},
    ):
        with pytest.raises(WSServerHandshakeError) as caught:
            await api.http.ws_connect("/v1/ws", headers=headers)
        assert caught.value.status == 401


async def test_a_key_offered_as_a_protocol_does_not_count(api: Api) -> None:
    backend = await shop(api, "admin")
    response = await api.http.get(
        "/v1/users/1/devices",
        headers={"Upgrade": "websocket", "Sec-WebSocket-Protocol": f"bearer.{backend.key}"},
    )
    assert response.status == 401


@pytest.mark.parametrize("form", ["Bearer {}", "bearer  {}", "{}"])
async def test_a_key_comes_with_bearer_or_bare(api: Api, form: str) -> None:
    backend = await shop(api, "read")
    headers = {"Authorization": form.format(backend.key)}
    response = await api.http.get("/v1/users/1/devices", headers=headers)
    assert response.status == 200


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("send", BACKEND[:2]), ("read", BACKEND[2:]), ("admin", BACKEND)],
)
async def test_a_key_is_for_its_scopes_only(
    api: Api, scope: str, allowed: list[tuple[str, str]]
) -> None:
    backend = await shop(api, scope)
    for method, path in BACKEND:
        response = await api.http.request(
            method, path, headers=backend.by_header, json={**NOTE, "messages": [NOTE]}
        )
        assert response.status == (200 if (method, path) in allowed else 403), path
        if response.status == 403:
            assert (await problem(response))["code"] == "forbidden"


async def test_a_key_sends_its_prefixes_only(api: Api) -> None:
    backend = await shop(api, "send", prefixes=("note",))
    for type_ in ("note", "note.text", "note.text.more"):
        await backend.send({"everyone": True}, type_)
    for type_ in ("notes.text", "no.te", "cart.note"):
        assert await backend.refused({**NOTE, "type": type_}) == (403, "forbidden")


async def test_a_dead_key_costs_no_select_and_is_in_no_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = "sbk_" + "x" * 43
    dead = Shop(api, unknown)
    with caplog.at_level(logging.DEBUG):
        assert await dead.refused(NOTE) == (401, "unauthorized")
        with statements(api.app[DATABASE]) as seen:
            assert await dead.refused(NOTE) == (401, "unauthorized")
    assert seen.seen == []
    assert unknown not in caplog.text


async def test_a_key_revoked_while_its_body_is_on_the_way_sends_nothing(api: Api) -> None:
    backend = await shop(api, "send")
    received = asyncio.Event()
    release = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"to": {"everyone": true}, '
        received.set()
        await release.wait()
        yield b'"type": "note.text"}'

    headers = {**backend.by_header, "Content-Type": "application/json"}
    sending = asyncio.create_task(api.http.post("/v1/messages", data=body(), headers=headers))
    await received.wait()
    # The server has checked the key when it knows of this use.
    async with asyncio.timeout(PATIENCE):
        while (await all_keys(api))[0].last_used is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await api.app[API_KEYS].revoke((await all_keys(api))[0].id)
    release.set()
    response = await sending
    assert response.status == 401
    assert (await problem(response))["code"] == "unauthorized"
