"""A disk that is full, a database that is locked or read-only: 503, and nothing is changed."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from serving import PATIENCE

from app.storage.database import DATABASE_NAME
from tests.databases import PASSWORD
from tests.web.api import Api, SignedIn, problem
from tests.web.backend import Shop, shop

Fault = Callable[[Path], AbstractAsyncContextManager[str]]

UNAVAILABLE = (503, "storage_unavailable")


@asynccontextmanager
async def full(folder: Path) -> AsyncIterator[str]:
    """Let no file grow, as on a full disk."""
    size = (folder / f"{DATABASE_NAME}-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield "disk"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def locked(folder: Path) -> AsyncIterator[str]:
    """Hold the lock of the database, as a shell in another terminal may."""
    other = sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield "locked"
    finally:
        other.execute("ROLLBACK")
        other.close()


FAULTS = pytest.mark.parametrize("fault", [full, locked], ids=["full", "locked"])


@pytest.fixture
async def backend(api: Api) -> Shop:
    return await shop(api, "send", "read", "admin")


async def code(response: ClientResponse) -> tuple[int, str]:
    assert int(response.headers["Retry-After"]) > 0
    return response.status, (await problem(response))["code"]


def changes(api: Api, backend: Shop, ada: SignedIn) -> list[Awaitable[ClientResponse]]:
    """Return requests that change something, each of another kind."""
    http, me, key = api.http, ada.by_header, backend.by_header
    passwords = {"old_password": PASSWORD, "new_password": "another password"}
    user = {"user_handle": "bob", "password": PASSWORD}
    note = {"to": {"user": "ada"}, "type": "note.text", "store": "log"}
    return [
        api.login(device_uuid="device-0002"),
        http.patch(f"/v1/devices/{ada.device_id}", json={"device_name": "x"}, headers=me),
        http.post("/v1/auth/logout", headers=me),
        http.post("/v1/auth/password", json=passwords, headers=me),
        http.post("/v1/admin/users", json=user, headers=key),
        http.delete(f"/v1/devices/{ada.device_id}", headers=me),
        backend.post(note),
    ]


@FAULTS
async def test_what_has_to_be_stored_is_unavailable_and_changes_nothing(
    api: Api, backend: Shop, tmp_path: Path, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await api.sign_in()
    async with fault(tmp_path):
        answers = await asyncio.gather(*changes(api, backend, ada))
        assert [await code(answer) for answer in answers] == [UNAVAILABLE] * len(answers)
    assert not [record for record in caplog.records if record.exc_info]
    assert await api.whoami(ada.by_header) == 200
    assert (await api.login()).status == 201
    assert (await api.login(user_handle="bob")).status == 401


@FAULTS
async def test_readiness_tells_why_until_the_storage_works_again(
    api: Api, backend: Shop, tmp_path: Path, fault: Fault
) -> None:
    note = {"to": {"user": "ada"}, "type": "note.text", "store": "log"}
    assert (await backend.post(note)).status == 200
    async with fault(tmp_path) as reason:
        assert await code(await backend.post(note)) == UNAVAILABLE
        body = await problem(await api.http.get("/ready"))
        assert (body["status"], body["code"]) == UNAVAILABLE
        assert reason in body["detail"]
        assert (await api.http.get("/health")).status == 200
    async with asyncio.timeout(PATIENCE):
        while (await api.http.get("/ready")).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await backend.post(note)).status == 200
    shown = await (await api.http.get("/metrics")).text()
    counted = [line for line in shown.splitlines() if line.startswith("switchboard_storage_errors")]
    assert sum(float(line.split()[-1]) for line in counted) >= 1
