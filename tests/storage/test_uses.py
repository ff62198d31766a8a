"""Times of use, gathered and written."""

import pytest

from app.storage.database import Database
from app.storage.devices import DeviceInfo, add_device, devices_of
from app.storage.users import add_outside_user
from app.storage.uses import STEP, Uses


@pytest.fixture
async def devices(database: Database) -> list[int]:
    """The ids of three devices, seen at 10."""
    async with database.write() as connection:
        user = await add_outside_user(connection, "iss", "sub", 1)
        infos = [DeviceInfo(f"device-000{number}", "web") for number in range(3)]
        return [(await add_device(connection, user.id, info, 10)).id for info in infos]


async def seen(database: Database) -> list[int]:
    async with database.lookup() as connection:
        return [device.last_seen for device in await devices_of(connection)]


async def test_uses_are_pending_until_they_are_forgotten(
    database: Database, devices: list[int]
) -> None:
    uses = Uses.of_devices()
    assert not uses
    uses.mark(devices[0], 20)
    uses.mark(devices[0], 30)
    async with database.write() as connection:
        written = await uses.write(connection)
    assert (uses.last(devices[0]), uses.last(devices[1])) == (30, 0)
    uses.forget(written)
    assert not uses
    assert await seen(database) == [30, 10, 10]


async def test_a_row_used_while_its_use_is_written_stays_pending(
    database: Database, devices: list[int]
) -> None:
    uses = Uses.of_devices()
    for device_id in devices:
        uses.mark(device_id, 20)
    async with database.write() as connection:
        written = await uses.write(connection)
        uses.mark(devices[1], 30)
    uses.forget(written)
    assert [uses.last(device_id) for device_id in devices] == [0, 30, 0]


async def test_a_later_use_in_the_database_stays(database: Database, devices: list[int]) -> None:
    uses = Uses.of_devices()
    uses.mark(devices[0], 9)
    async with database.write() as connection:
        await uses.write(connection)
    assert await seen(database) == [10, 10, 10]


async def test_only_the_rows_asked_for_are_written(database: Database, devices: list[int]) -> None:
    uses = Uses.of_devices()
    for device_id in devices[:2]:
        uses.mark(device_id, 20)
    async with database.write() as connection:
        assert await uses.write(connection, among=devices[1:]) == {devices[1]: 20}
    assert await seen(database) == [10, 20, 10]


async def test_more_uses_than_a_step_are_all_written(
    database: Database, devices: list[int]
) -> None:
    uses = Uses.of_devices()
    # Ids of no rows fill the steps before.
    for row_id in range(STEP * 2, STEP * 4):
        uses.mark(row_id, 20)
    uses.mark(devices[2], 20)
    async with database.write() as connection:
        assert len(await uses.write(connection)) == 2 * STEP + 1
    assert await seen(database) == [10, 10, 20]
