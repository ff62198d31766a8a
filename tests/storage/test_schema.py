"""The tables as the migrations make them."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError

from app.storage.database import Database
from app.storage.devices import DeviceInfo, add_device, set_devices_removed
from app.storage.schema import metadata
from app.storage.users import (
    add_local_user,
    add_outside_user,
    set_user_deleted,
    user_by_handle_key,
    user_by_id,
)

INFO = DeviceInfo("device-0001", "web")


def _differences(connection: Connection) -> list[object]:
    """Return what the database lacks of the schema, and has beside it."""
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return list(compare_metadata(context, metadata))


async def test_the_migrations_make_the_tables_of_the_schema(database: Database) -> None:
    async with database.lookup() as connection:
        assert await connection.run_sync(_differences) == []


async def test_a_database_of_each_earlier_schema_is_brought_to_this_one(tmp_path: Path) -> None:
    for revision in ("0001", "0002", "0003", "0004", "0005", "0006", "0007"):
        path = tmp_path / revision
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", "app/storage/migrations")
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.execute(text("INSERT INTO users (iss, sub, created_at) VALUES ('a','b',1)"))
        engine.dispose()
        for _ in range(2):
            database = await Database.open(path)
            async with database.lookup() as reading:
                assert await reading.run_sync(_differences) == []
                assert (await reading.execute(text("SELECT sub FROM users"))).scalars().all() == [
                    "b"
                ]
            await database.close()


async def test_every_lookup_of_the_hot_path_uses_an_index(database: Database) -> None:
    queries = [
        "SELECT * FROM sessions WHERE token_hash IN (x'00', x'01')",
        "SELECT * FROM sessions WHERE user_id = 1",
        "DELETE FROM sessions WHERE device_id = 1",
        "SELECT id FROM sessions WHERE expires_at <= 1 LIMIT 250",
        "SELECT id FROM sessions WHERE last_used <= 1 LIMIT 250",
        "SELECT * FROM ended_jwts WHERE jwt_hash IN (x'00', x'01')",
        "DELETE FROM ended_jwts WHERE expires_at <= 1",
        "SELECT * FROM users WHERE handle_key = 'a' AND deleted_at IS NULL",
        "SELECT * FROM users WHERE iss = 'a' AND sub IN ('b', 'c')",
        "SELECT * FROM devices WHERE user_id = 1 AND removed_at IS NULL",
        "SELECT * FROM devices WHERE user_id IN (1, 2) AND device_uuid IN ('a', 'b')",
    ]
    async with database.lookup() as connection:
        for query in queries:
            plan = await connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))
            assert not [row for row in plan if row[3].startswith("SCAN")], query


async def test_ids_are_never_given_out_again(database: Database) -> None:
    async with database.write() as connection:
        user = await add_outside_user(connection, "iss", "sub", 1)
        first = await add_device(connection, user.id, INFO, 1)
        await connection.exec_driver_sql("DELETE FROM devices")
        second = await add_device(connection, user.id, INFO, 1)
    assert second.id > first.id


async def test_a_deleted_users_handle_is_free_and_a_live_ones_is_not(database: Database) -> None:
    async def add(handle: str) -> int:
        async with database.write() as connection:
            user = await add_local_user(
                connection, handle=handle, handle_key="ada", password_hash="h", roles=(), now=1
            )
            return user.id

    first = await add("ada")
    with pytest.raises(IntegrityError):
        await add("Ada")
    async with database.write() as connection:
        await set_user_deleted(connection, first, deleted_at=2, not_before=2)
    second = await add("Ada")
    async with database.read() as connection:
        found = await user_by_handle_key(connection, "ada")
    assert found is not None
    assert (found.id, found.handle) == (second, "Ada")


async def test_a_removed_devices_uuid_is_free_and_a_live_ones_is_not(database: Database) -> None:
    async with database.write() as connection:
        user = await add_outside_user(connection, "iss", "sub", 1)
        first = await add_device(connection, user.id, INFO, 1)
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await add_device(connection, user.id, INFO, 1)
    async with database.write() as connection:
        await set_devices_removed(connection, {first.id: 2}, now=2)
        assert (await add_device(connection, user.id, INFO, 1)).id > first.id


async def test_a_device_needs_its_user(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await add_device(connection, 99, INFO, 1)


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**40])
async def test_a_number_that_is_no_id_is_just_unknown(database: Database, number: int) -> None:
    async with database.read() as connection:
        assert await user_by_id(connection, number) is None


async def test_no_error_of_the_database_shows_a_password_hash(database: Database) -> None:
    async def add() -> None:
        async with database.write() as connection:
            await add_local_user(
                connection, handle="a", handle_key="a", password_hash="secret!", roles=(), now=1
            )

    await add()
    with pytest.raises(IntegrityError) as caught:
        await add()
    assert "secret!" not in str(caught.value)
