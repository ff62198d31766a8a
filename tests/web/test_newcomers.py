"""Messages to users of the application who have never come."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import outside
import pytest

from app.auth.addressees import Addressees, DeviceOwners, Subject
from app.base.errors import StorageUnavailable
from app.keys import ACCOUNTS
from app.storage.database import DATABASE_NAME, Database
from tests.web.api import Start
from tests.web.backend import Shop, receive, shop

EVE = {"iss": outside.ISSUER, "sub": "eve"}


@pytest.fixture
async def backend(start: Start) -> Shop:
    return await shop(await start(**outside.SETTINGS), "admin")


async def subjects(backend: Shop) -> list[str]:
    return [user.sub for user in await backend.api.app[ACCOUNTS].list_users() if user.sub]


async def first_messages(
    backend: Shop, query: str, sub: str = "eve"
) -> tuple[str, list[dict[str, Any]]]:
    """Return the outcome of a device's first connection, and what it gets before it is live."""
    socket = await backend.api.http.ws_connect(
        f"/v1/ws?{query}", headers={"Authorization": outside.token(sub)}
    )
    connected = await receive(socket)
    got = []
    while (message := await receive(socket))["type"] != "position":
        got.append(message)
    await socket.close()
    return connected["payload"]["resume"]["outcome"], got


async def test_a_value_waits_for_a_user_who_has_never_come(backend: Shop) -> None:
    sent = await backend.send({"user": EVE}, "plan.state", 7, store="latest", key="plan")
    assert (sent["delivered"], sent["waiting"]) == ([], [])
    assert await subjects(backend) == ["eve"]
    outcome, [message] = await first_messages(backend, "resume=live")
    assert outcome == "live"
    assert (message["payload"], message["snapshot"]) == (7, True)
    # The JWT has made no second user.
    assert await subjects(backend) == ["eve"]


async def test_the_log_is_read_by_who_is_told_where_it_begins(backend: Shop) -> None:
    sent = await backend.send({"user": EVE}, "note.text", 7, store="log")
    assert await first_messages(backend, "resume=live") == ("live", [])
    outcome, [message] = await first_messages(backend, f"epoch={sent['epoch']}&offset=0")
    assert (outcome, message["payload"]) == ("resumed", 7)


async def test_the_id_is_found_then(backend: Shop) -> None:
    path = f"/v1/users?iss={outside.ISSUER}&sub=eve"
    assert (await backend.api.http.get(path, headers=backend.by_header)).status == 404
    await backend.send({"user": EVE}, store="log")
    found = await backend.get(path)
    [row] = (await backend.get(f"/v1/users/{found['id']}/stream"))["rows"]
    assert row["to"] == {"user": found["id"]}


NOTE = {"type": "note.text", "store": "log"}
NOBODY = [
    pytest.param({"type": "note.text", "to": {"user": EVE}}, id="not kept"),
    pytest.param({"type": "note.text", "to": {"user": EVE}, "store": "none"}, id="store none"),
    pytest.param({**NOTE, "to": {"user": {**EVE, "iss": "https://evil.example"}}}, id="issuer"),
    pytest.param({**NOTE, "to": {"user": {**EVE, "iss": f"{outside.ISSUER}/"}}}, id="nearly"),
    pytest.param({**NOTE, "to": {"user": {**EVE, "sub": ""}}}, id="no subject"),
    pytest.param({**NOTE, "to": {"user": {**EVE, "sub": "x" * 256}}}, id="too long a subject"),
    pytest.param({**NOTE, "to": {"user": EVE, "exclude_device": 1}}, id="all but a device"),
    pytest.param({**NOTE, "to": {"user": "eve"}}, id="handle"),
]


@pytest.mark.parametrize("body", NOBODY)
async def test_anything_else_makes_no_user(backend: Shop, body: dict[str, Any]) -> None:
    assert await backend.refused(body) == (404, "user_not_found")
    assert await subjects(backend) == []


async def test_a_refused_message_makes_no_user(backend: Shop) -> None:
    sender = await shop(backend.api, "send", prefixes=("plan",))
    assert await sender.refused({**NOTE, "to": {"user": EVE}}) == (403, "forbidden")
    assert await backend.refused({**NOTE, "to": {"user": EVE}, "key": "k"}) == (
        400,
        "invalid_message",
    )
    assert await subjects(backend) == []


async def test_without_jwts_there_are_no_such_users(start: Start) -> None:
    backend = await shop(await start(), "send")
    assert await backend.refused({**NOTE, "to": {"user": EVE}}) == (404, "user_not_found")


async def test_a_batch_makes_each_of_its_users_once(backend: Shop) -> None:
    names = [f"customer-{number}" for number in range(600)]
    outcomes = await backend.batch(
        *({**NOTE, "to": {"user": {**EVE, "sub": name}}} for name in names),
        {**NOTE, "to": {"user": {**EVE, "sub": names[0]}}},
        {**NOTE, "to": {"user": {"iss": "https://evil.example", "sub": "eve"}}},
        {**NOTE, "to": {"user": "ada"}},
    )
    assert [one["status"] for one in outcomes] == [200] * 601 + [404, 200]
    offsets = [one["offset"] for one in outcomes if one["status"] == 200]
    assert offsets == sorted(offsets)
    assert sorted(await subjects(backend)) == sorted(names)


async def test_many_requests_and_their_first_token_make_one_user(backend: Shop) -> None:
    answers = await asyncio.gather(
        *(backend.send({"user": EVE}, store="log") for _ in range(5)),
        *(
            backend.api.whoami({"Authorization": outside.token("eve", jti=str(n))})
            for n in range(5)
        ),
    )
    assert answers[5:] == [200] * 5
    assert await subjects(backend) == ["eve"]


async def test_a_deleted_user_is_a_new_one_then_and_old_tokens_stay_dead(backend: Shop) -> None:
    accounts = backend.api.app[ACCOUNTS]
    old = {"Authorization": outside.token("eve")}
    await backend.send({"user": EVE}, "plan.state", 1, store="latest", key="plan")
    assert await backend.api.whoami(old) == 200
    [first] = [user for user in await accounts.list_users() if user.sub]
    await accounts.delete_user(first.id)
    await backend.send({"user": EVE}, "plan.state", 2, store="latest", key="plan")
    [second] = [user for user in await accounts.list_users() if user.sub]
    assert second.id > first.id
    assert await backend.api.whoami(old) == 401


async def test_a_disk_that_takes_no_user_is_told_as_such(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / DATABASE_NAME, busy_milliseconds=1)
    addressees = Addressees(database, DeviceOwners(database), outside.ISSUER)
    other = sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        await addressees.user(Subject(**EVE), make=True)
    other.execute("ROLLBACK")
    other.close()
    assert await addressees.user(Subject(**EVE), make=True) == 1
    await addressees.close()
    await database.close()
