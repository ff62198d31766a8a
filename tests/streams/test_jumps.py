"""What is kept while the machine's clock is wrong, and while it is right but not trusted yet."""

from dataclasses import replace

import pytest

from app.streams.base import Append, ReadLimits, Row
from app.streams.sql import SqlStreamLog
from tests.clocks import HandClock

NOTE = Append(1, "note.text", b"1")
ALL = ReadLimits(rows=100, bytes=1 << 20)
HOUR, DAY = 3600, 86_400


async def kept(streams: SqlStreamLog) -> list[Row]:
    while (await streams.prune()).more:
        pass
    return list((await streams.read(1, 0, ALL)).rows)


async def test_a_clock_that_is_ahead_removes_and_hides_nothing(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    await streams.append([NOTE, replace(NOTE, ttl=HOUR), replace(NOTE, ttl=HOUR, key="a")])
    clock.jumped = 40 * DAY
    assert [row.offset for row in await kept(streams)] == [1, 2, 3]


async def test_an_id_is_known_for_a_day_though_the_clock_was_ahead(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    value = replace(NOTE, key="a", owner="device:1", message_id="once", digest=b"1")
    await streams.append([value])
    await streams.append([replace(NOTE, key="a")])
    clock.jumped = 40 * DAY
    await kept(streams)
    [again] = await streams.append([value])
    assert again == replace(again, offset=1, duplicate=True)


@pytest.mark.parametrize("jump", [-400 * DAY, -HOUR])
async def test_what_a_clock_that_is_behind_stamps_is_not_older_for_that(
    streams: SqlStreamLog, clock: HandClock, jump: float
) -> None:
    clock.jumped = jump
    await streams.append([replace(NOTE, ttl=60)])
    clock.jumped = 0
    clock.advance(59)
    [row] = await kept(streams)
    assert row.created_at == int((clock.now - 59) * 1000)


async def test_what_is_stored_before_a_right_clock_is_trusted_does_not_end_early(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    clock.jumped = 40 * DAY
    await streams.append([NOTE, replace(NOTE, ttl=HOUR)])
    clock.advance(clock.jumped + 600)
    clock.jumped = 0
    assert [row.offset for row in await kept(streams)] == [1, 2]
    clock.advance(HOUR)
    assert [row.offset for row in await kept(streams)] == [1]


async def test_a_value_counts_as_one_of_the_keys_until_it_has_ended(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    await streams.append([replace(NOTE, ttl=HOUR, key=key) for key in "abc"])
    clock.jumped = 40 * DAY
    [refused] = await streams.append([replace(NOTE, key="d")])
    assert getattr(refused, "code", None) == "too_many_keys"


async def test_a_row_of_a_clock_that_was_ahead_keeps_no_other_from_going(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    await streams.append([NOTE])
    clock.jumped = 400 * DAY
    await streams.append([NOTE])
    clock.jumped = 0
    await streams.append([NOTE])
    clock.advance(31 * DAY)
    assert [row.offset for row in await kept(streams)] == [2]
    clock.advance(400 * DAY)
    assert await kept(streams) == []
