"""The trusted time that outlives a start."""

from functools import partial

from app.storage.database import Database
from app.storage.devices import DeviceInfo, add_device
from app.storage.trusted_time import keep_trusted_time, last_trusted_time
from app.storage.users import add_outside_user

NOW = 1_790_000_000_000


async def last(database: Database) -> int | None:
    return await database.transact(partial(last_trusted_time, now=NOW))


async def use_a_device(database: Database, at: int) -> None:
    async with database.write() as connection:
        user = await add_outside_user(connection, "iss", "sub", at)
        await add_device(connection, user.id, DeviceInfo("device-0001", "web"), at)


async def test_a_new_database_has_none(database: Database) -> None:
    assert await last(database) is None


async def test_it_is_what_was_kept_last_even_if_the_clock_is_behind(database: Database) -> None:
    await use_a_device(database, NOW)
    for at in (NOW - 1000, NOW + 5000):
        await database.transact(partial(keep_trusted_time, at=at))
    assert await last(database) == NOW + 5000


async def test_a_database_of_before_goes_by_what_it_stored_last(database: Database) -> None:
    await use_a_device(database, NOW - 1000)
    assert await last(database) == NOW - 1000


async def test_a_time_that_a_wrong_clock_stored_is_none_to_go_by(database: Database) -> None:
    await use_a_device(database, NOW + 1000)
    assert await last(database) == NOW
