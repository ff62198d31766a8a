"""Retention: which rows go and which stay, in small steps that do not read every row."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app.protocol.position import Position
from app.storage.database import Database
from app.storage.devices import DeviceInfo, add_device
from app.storage.users import add_outside_user
from app.streams.base import Append, Appended, Cursor, Pruned, ReadLimits
from app.streams.generation import GUARD_NAME
from app.streams.pruning import PAGE_USERS, STEP_ROWS
from app.streams.sql import SqlStreamLog, StreamLimits
from tests.clocks import HandClock
from tests.streams.conftest import LIMITS

ALL = ReadLimits(rows=10_000, bytes=1 << 30)
NOTE = Append(1, "note.text", b"1")
DAY = 86_400


async def prune(streams: SqlStreamLog) -> list[Pruned]:
    steps = []
    while not steps or steps[-1].more:
        steps.append(await streams.prune())
    return steps


async def offsets(streams: SqlStreamLog, user_id: int = 1) -> list[int]:
    return [row.offset for row in (await streams.read(user_id, 0, ALL)).rows]


def floors(steps: Sequence[Pruned]) -> dict[int, int]:
    return {user: floor for step in steps for user, floor in step.floors.items()}


async def test_rows_within_the_limits_stay(streams: SqlStreamLog) -> None:
    await streams.append([NOTE] * LIMITS.retention_rows)
    assert sum(step.rows for step in await prune(streams)) == 0


async def test_the_oldest_rows_above_the_limit_go_and_raise_the_floor(
    streams: SqlStreamLog,
) -> None:
    await streams.append([NOTE] * (LIMITS.retention_rows + 3))
    assert floors(await prune(streams)) == {1: 3}
    assert (await offsets(streams))[0] == 4
    assert (await streams.standings([(1, 1)]))[0].floor == 3
    await streams.append([NOTE])
    assert floors(await prune(streams)) == {1: 4}


@pytest.mark.parametrize(("early", "gone"), [(0, []), (0.001, [1])], ids=["30 days", "and 1 ms"])
async def test_a_row_that_is_too_old_goes_and_raises_the_floor(
    streams: SqlStreamLog, clock: HandClock, early: float, gone: list[int]
) -> None:
    await streams.append([NOTE])
    clock.advance(10)
    await streams.append([NOTE])
    clock.advance(30 * DAY - 10 + early)
    assert floors(await prune(streams)) == dict.fromkeys(gone, 1)
    assert await offsets(streams) == [1, 2][len(gone) :]


async def test_an_expired_row_goes_and_moves_no_floor(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    await streams.append([NOTE, replace(NOTE, ttl=10), replace(NOTE, ttl=10, key="a")])
    clock.advance(10)
    steps = await prune(streams)
    assert (sum(step.rows for step in steps), floors(steps)) == (2, {})
    assert (await streams.standings([(1, 1)]))[0].floor == 0


async def test_values_stay_however_old_and_many_rows_follow(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    await streams.append([replace(NOTE, key="a")])
    await streams.append([NOTE] * (LIMITS.retention_rows + 1))
    clock.advance(31 * DAY)
    await streams.append([NOTE])
    await prune(streams)
    assert await offsets(streams) == [1, LIMITS.retention_rows + 3]


async def test_rows_of_everyone_have_a_limit_and_a_floor_of_their_own(
    streams: SqlStreamLog,
) -> None:
    await streams.append([NOTE] * 60)
    await streams.append([replace(NOTE, user_id=0)] * (LIMITS.retention_rows + 1))
    await streams.append([replace(NOTE, user_id=2)])
    assert floors(await prune(streams)) == {0: 61}
    assert len(await offsets(streams)) == 60 + LIMITS.retention_rows
    found = await streams.standings([(1, 1), (2, 2)])
    assert [one.floor for one in found] == [61, 61]


async def test_a_step_removes_few_rows_and_says_that_there_is_more(streams: SqlStreamLog) -> None:
    await streams.append([NOTE] * (LIMITS.retention_rows + 2 * STEP_ROWS + 1))
    steps = await prune(streams)
    assert [step.rows for step in steps if step.rows] == [STEP_ROWS, STEP_ROWS, 1]
    assert floors(steps) == {1: 2 * STEP_ROWS + 1}


async def test_old_rows_go_in_steps_too(streams: SqlStreamLog, clock: HandClock) -> None:
    await streams.append([replace(NOTE, user_id=user) for user in range(1, STEP_ROWS + 100)])
    clock.advance(31 * DAY)
    steps = await prune(streams)
    assert [step.rows for step in steps if step.rows] == [STEP_ROWS, 99]
    assert floors(steps) == {user: user for user in range(1, STEP_ROWS + 100)}


async def test_a_start_counts_the_rows_of_every_user_once(
    database: Database, streams: SqlStreamLog, folder: Path
) -> None:
    many = range(1, 2 * PAGE_USERS + 10)
    await streams.append([replace(NOTE, user_id=user) for user in many for _ in range(3)])
    await streams.close()
    fewer = StreamLimits(retention_days=30, retention_rows=2, max_keys_per_user=3)
    again = await SqlStreamLog.open(database, folder / GUARD_NAME, fewer)
    assert set(floors(await prune(again))) == set(many)
    assert len(await prune(again)) == 1
    await again.close()


async def test_expired_rows_do_not_count_as_too_many(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    await prune(streams)
    await streams.append([NOTE] * LIMITS.retention_rows)
    await streams.append([replace(NOTE, ttl=5)] * 10)
    clock.advance(5)
    assert floors(await prune(streams)) == {}
    assert len(await offsets(streams)) == LIMITS.retention_rows


async def test_an_id_is_remembered_for_a_day_and_for_as_long_as_its_row(
    database: Database, streams: SqlStreamLog, clock: HandClock
) -> None:
    named = replace(NOTE, owner="device:7", message_id="m", digest=b"1", ttl=10)
    lasting = replace(named, message_id="n", ttl=None)
    await streams.append([named, lasting])
    clock.advance(DAY)
    await prune(streams)
    assert await streams.append([named]) == [Appended(1, duplicate=True)]
    clock.advance(1)
    await prune(streams)
    assert await streams.append([named, lasting]) == [Appended(3), Appended(2, duplicate=True)]


async def test_an_id_whose_row_goes_later_is_forgotten_the_day_after(
    database: Database, streams: SqlStreamLog, clock: HandClock
) -> None:
    await streams.append([replace(NOTE, owner="key:1", message_id="m", ttl=10 * DAY)])
    for _ in range(13):
        clock.advance(DAY + 1)
        await prune(streams)
    kept = await database.snapshot(
        lambda one: one.exec_driver_sql("SELECT count(*) FROM message_ids").scalar_one()
    )
    assert kept == 0


LARGE = replace(NOTE, payload=b'"' + b"x" * 100_000 + b'"')


@pytest.mark.parametrize("why", ["old", "expired", "too many"])
async def test_a_step_removes_few_rows_if_they_are_large(
    streams: SqlStreamLog, clock: HandClock, why: str
) -> None:
    ttl = 10 if why == "expired" else None
    more = LIMITS.retention_rows if why == "too many" else 0
    await streams.append([replace(LARGE, ttl=ttl)] * 40)
    await streams.append([replace(NOTE, user_id=1 if more else 2)] * more)
    clock.advance(31 * DAY if why == "old" else 11)
    steps = [step.rows for step in await prune(streams)]
    assert sum(steps) == 40
    # A megabyte each.
    assert max(steps) <= 12
    assert len(await offsets(streams)) == more


async def test_cursors_of_many_devices_are_stored_in_steps_between_which_others_write(
    streams: SqlStreamLog,
) -> None:
    done: list[str] = []

    async def save() -> None:
        position = Position(streams.epoch, 1)
        await streams.save_cursors({device: Cursor(1, position) for device in range(1, 2501)})
        done.append("cursors")

    async def append() -> None:
        await streams.append([NOTE])
        done.append("message")

    await asyncio.gather(save(), append())
    assert done == ["message", "cursors"]
    standings = await streams.standings([(1, 1), (1, 2500)])
    assert [one.cursor for one in standings] == [Position(streams.epoch, 1)] * 2


async def test_a_reset_tells_all_devices_without_writing_for_each(
    database: Database, streams: SqlStreamLog
) -> None:
    await streams.append([NOTE])
    async with database.write() as connection:
        user = await add_outside_user(connection, "iss", "sub", 1)
        old, saved = [
            await add_device(connection, user.id, DeviceInfo(f"device-{number}", "web"), 1)
            for number in range(2)
        ]
    before = streams.epoch
    await streams.save_cursors({saved.id: Cursor(user.id, Position(before, 1))})
    await streams.reset()
    async with database.write() as connection:
        new = await add_device(connection, user.id, DeviceInfo("device-new", "web"), 1)
        stored = await connection.exec_driver_sql("SELECT count(*) FROM cursors")
        assert stored.scalar_one() == 1
    standings = await streams.standings([(user.id, one.id) for one in (old, saved, new)])
    assert [one.cursor for one in standings] == [Position(before, 0), Position(before, 1), None]
    await streams.save_cursors({old.id: Cursor(user.id, Position(streams.epoch, 1))})
    [moved] = await streams.standings([(user.id, old.id)])
    assert moved.cursor == Position(streams.epoch, 1)
