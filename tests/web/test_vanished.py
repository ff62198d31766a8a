"""While the database is gone everything that needs it is 503, and nobody is signed out."""

import asyncio
import shutil
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from serving import PATIENCE

from app.auth.tokens import TOKEN_LENGTH
from app.storage.database import DATABASE_NAME
from tests.web.api import Api, problem
from tests.web.backend import Shop, receive, shop


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / DATABASE_NAME


@pytest.fixture
async def backend(api: Api) -> Shop:
    return await shop(api, "send", "read", "admin")


def take_away(path: Path) -> None:
    """Put a copy in the database's place."""
    aside = path.with_name("aside.db")
    path.rename(aside)
    shutil.copy(aside, path)


def put_back(path: Path) -> None:
    path.with_name("aside.db").replace(path)


async def code(response: ClientResponse) -> tuple[int, str]:
    assert int(response.headers["Retry-After"]) > 0
    return response.status, (await problem(response))["code"]


UNAVAILABLE = (503, "storage_unavailable")


async def test_a_token_that_memory_does_not_know_is_not_told_401(api: Api, path: Path) -> None:
    take_away(path)
    for token in ("x" * TOKEN_LENGTH, "y" * TOKEN_LENGTH):
        headers = {"Authorization": f"Bearer {token}"}
        assert await code(await api.http.get("/v1/auth/session", headers=headers)) == UNAVAILABLE
        upgrade = await api.http.get(
            "/v1/ws",
            headers={
                **headers,
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )
        assert await code(upgrade) == UNAVAILABLE


async def test_a_token_is_looked_up_again_when_the_database_is_back(api: Api, path: Path) -> None:
    headers = {"Authorization": f"Bearer {'x' * TOKEN_LENGTH}"}
    take_away(path)
    assert await api.whoami(headers) == 503
    put_back(path)
    assert await api.whoami(headers) == 401


async def test_a_session_in_memory_stays_signed_in(api: Api, path: Path) -> None:
    ada = await api.sign_in()
    assert await api.whoami(ada.by_header) == 200
    take_away(path)
    assert await api.whoami(ada.by_header) == 200
    assert await code(await api.http.post("/v1/auth/logout", headers=ada.by_header)) == UNAVAILABLE
    assert await api.whoami(ada.by_header) == 200


async def test_nobody_signs_in(api: Api, path: Path) -> None:
    take_away(path)
    assert await code(await api.login()) == UNAVAILABLE
    assert await code(await api.login(password="wrong")) == UNAVAILABLE
    put_back(path)
    assert (await api.login()).status == 201


@pytest.mark.parametrize("store", ["log", "latest"])
async def test_a_backend_is_not_told_that_a_message_is_stored(
    backend: Shop, path: Path, store: str
) -> None:
    body = {"to": {"user": "ada"}, "type": "note.text", "store": store}
    if store == "latest":
        body["key"] = "a"
    assert (await backend.post(body)).status == 200
    take_away(path)
    assert await code(await backend.post(body)) == UNAVAILABLE
    put_back(path)
    assert (await backend.post(body)).status == 200


async def test_what_needs_no_disk_goes_on(backend: Shop, path: Path) -> None:
    ada = await backend.device()
    phone = await backend.api.connect(ada.by_header)
    laptop = await backend.api.connect((await backend.device(2)).by_header)
    take_away(path)
    message = {"to": "others", "type": "note.text"}
    await laptop.send_json({"type": "device.send", "payload": message, "id": "1"})
    assert (await receive(laptop))["payload"] == {"delivered": [ada.device_id]}
    assert (await receive(phone))["type"] == "note.text"
    await laptop.send_json(
        {"type": "device.send", "payload": {**message, "store": "log"}, "id": "2"}
    )
    refusal = await receive(laptop)
    assert (refusal["reply_to"], refusal["payload"]["code"]) == ("2", "storage_unavailable")


@pytest.mark.parametrize("route", ["/v1/users/1/devices", "/v1/users/1/stream"])
async def test_a_backend_reads_nothing(backend: Shop, path: Path, route: str) -> None:
    await backend.get(route)
    take_away(path)
    assert await code(await backend.api.http.get(route, headers=backend.by_header)) == UNAVAILABLE


async def test_probes_and_metrics_tell_and_stop_telling(api: Api, path: Path) -> None:
    take_away(path)
    async with asyncio.timeout(PATIENCE):
        while (response := await api.http.get("/ready")).status == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    body = await problem(response)
    assert (body["status"], body["code"]) == UNAVAILABLE
    assert DATABASE_NAME in body["detail"]
    assert str(path.parent) not in body["detail"]
    assert (await api.http.get("/health")).status == 200
    assert "\nswitchboard_database_in_place 0.0\n" in await (await api.http.get("/metrics")).text()
    put_back(path)
    async with asyncio.timeout(PATIENCE):
        while (await api.http.get("/ready")).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert "\nswitchboard_database_in_place 1.0\n" in await (await api.http.get("/metrics")).text()
