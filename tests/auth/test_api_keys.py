"""API keys: made, resolved from memory, revoked at once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app.auth.api_keys import KEY_LENGTH, KEY_PREFIX, ApiKeys, allows, may_send
from app.auth.tokens import TOKEN_LENGTH, hash_token
from app.base.errors import Problem
from app.storage.database import Database
from tests.auth.house import NOON, FakeClock, statements


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "switchboard.db")
    yield database
    await database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(database: Database, clock: FakeClock) -> ApiKeys:
    return ApiKeys(database, clock)


async def refused(keys: ApiKeys, presented: str) -> None:
    with pytest.raises(Problem) as caught:
        await keys.resolve(presented)
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    assert presented not in caught.value.detail


async def test_a_key_looks_like_no_session_token_and_no_jwt(keys: ApiKeys) -> None:
    made = await keys.add("shop", ["send"], [])
    assert made.key.startswith(KEY_PREFIX)
    assert KEY_PREFIX == "sbk_", "keys that were made before begin so"
    assert len(made.key) == KEY_LENGTH != TOKEN_LENGTH
    assert "." not in made.key


async def test_the_database_has_only_the_hash_and_no_repr_the_key(
    keys: ApiKeys, database: Database
) -> None:
    made = await keys.add("shop", ["send"], [])
    assert made.key not in repr(made)
    async with database.lookup() as connection:
        [row] = await connection.execute(text("SELECT * FROM api_keys"))
    assert row.key_hash == hash_token(made.key)
    assert made.key not in repr(row)


async def test_a_key_is_resolved_to_what_it_was_made_for(keys: ApiKeys) -> None:
    made = await keys.add("shop", ["send", "read"], ["note", "cart"])
    key = await keys.resolve(made.key)
    assert (key.id, key.name, key.scopes) == (made.record.id, "shop", ("send", "read"))
    assert key.prefixes == ("note", "cart")


async def test_admin_implies_every_scope_and_no_prefix_means_all_types(keys: ApiKeys) -> None:
    admin = (await keys.add("root", ["admin"], [])).record
    sender = (await keys.add("shop", ["send"], ["note"])).record
    assert allows(admin, "send")
    assert allows(admin, "read")
    assert not allows(sender, "read")
    assert may_send(admin, "anything")
    assert may_send(sender, "note")
    assert not may_send(sender, "notes")


async def test_a_key_seen_before_costs_no_select(keys: ApiKeys, database: Database) -> None:
    made = await keys.add("shop", ["send"], [])
    await keys.resolve(made.key)
    with statements(database) as seen:
        await keys.resolve(made.key)
    assert seen.seen == []


async def test_an_unknown_key_costs_one_select_however_often_it_comes(
    keys: ApiKeys, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = KEY_PREFIX + "x" * TOKEN_LENGTH
    with statements(database) as seen, caplog.at_level(logging.INFO):
        await asyncio.gather(*(refused(keys, unknown) for _ in range(20)))
        await refused(keys, unknown)
    assert seen.count("SELECT") == 1
    assert unknown not in caplog.text


@pytest.mark.parametrize(
    "presented",
    ["x", "sbk_", "x" * KEY_LENGTH, "x" * TOKEN_LENGTH, "sbk_" + "x" * 4000, "sbk_\udc80" * 9],
)
async def test_what_has_not_the_form_of_a_key_costs_no_select(
    keys: ApiKeys, database: Database, presented: str
) -> None:
    with statements(database) as seen:
        await refused(keys, presented)
    assert seen.seen == []


async def test_dead_keys_are_remembered_up_to_a_bound(database: Database) -> None:
    keys = ApiKeys(database, dead_keys=1)
    dead = [KEY_PREFIX + letter * TOKEN_LENGTH for letter in "abc"]
    for presented in dead:
        await refused(keys, presented)
    with statements(database) as seen:
        for presented in reversed(dead):
            await refused(keys, presented)
    assert seen.count("SELECT") == 1


async def test_a_revoked_key_is_refused_at_once_without_a_select(
    keys: ApiKeys, database: Database
) -> None:
    made = await keys.add("shop", ["send"], [])
    key = await keys.resolve(made.key)
    revoked = await keys.revoke(key.id)
    assert revoked is not None
    assert not keys.holds(key)
    with statements(database) as seen:
        await refused(keys, made.key)
    assert seen.seen == []


async def test_a_key_revoked_while_it_is_looked_up_is_refused(
    keys: ApiKeys, database: Database
) -> None:
    made = await keys.add("shop", ["send"], [])
    # The one writer is busy, so the lookup sees the key before the revocation does its work.
    async with database.write():
        revoking = asyncio.create_task(keys.revoke(made.record.id))
        assert (await keys.resolve(made.key)).id == made.record.id
    assert await revoking is not None
    await refused(keys, made.key)


async def test_a_revocation_outlives_the_memory_of_revocations(database: Database) -> None:
    keys = ApiKeys(database, dead_keys=1)
    first, second = [await keys.add("shop", ["send"], []) for _ in range(2)]
    await keys.resolve(first.key)
    for made in (first, second):
        await keys.revoke(made.record.id)
    await refused(keys, first.key)


async def test_a_revocation_holds_after_a_restart(keys: ApiKeys, database: Database) -> None:
    made = await keys.add("shop", ["send"], [])
    await keys.revoke(made.record.id)
    await refused(ApiKeys(database), made.key)


async def test_what_is_unknown_or_revoked_cannot_be_revoked(keys: ApiKeys) -> None:
    made = await keys.add("shop", ["send"], [])
    assert await keys.revoke(made.record.id) is not None
    assert await keys.revoke(made.record.id) is None
    assert await keys.revoke(99) is None
    assert await keys.revoke(1 << 70) is None


async def test_a_cancelled_revocation_holds_in_memory_too(keys: ApiKeys) -> None:
    made = await keys.add("shop", ["send"], [])
    await keys.resolve(made.key)
    revoking = asyncio.create_task(keys.revoke(made.record.id))
    await asyncio.sleep(0)
    revoking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await revoking
    await refused(keys, made.key)


async def test_uses_are_written_in_batches_and_known_before(
    keys: ApiKeys, database: Database, clock: FakeClock
) -> None:
    made = await keys.add("shop", ["send"], [])
    await keys.resolve(made.key)
    clock.advance(5)
    with statements(database) as seen:
        await keys.resolve(made.key)
        [listed] = await keys.page(include_revoked=True, after=0, limit=9)
    assert seen.count("UPDATE") == 0
    assert listed.last_used == int((NOON + 5) * 1000)
    await keys.flush()
    with statements(database) as seen:
        await keys.flush()
    assert seen.seen == []
    [kept] = await ApiKeys(database).page(include_revoked=True, after=0, limit=9)
    assert kept.last_used == listed.last_used


async def test_closing_writes_the_last_uses(keys: ApiKeys, database: Database) -> None:
    made = await keys.add("shop", ["send"], [])
    await keys.resolve(made.key)
    await keys.close()
    [kept] = await ApiKeys(database).page(include_revoked=True, after=0, limit=9)
    assert kept.last_used is not None
