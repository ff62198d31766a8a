"""Deletions of `latest` values: what they replace, what they count as, when they go."""

from dataclasses import replace
from typing import Any

import pytest

from app.streams.base import Append, Appended, ReadLimits, Refused, Row
from app.streams.sql import SqlStreamLog
from tests.streams.conftest import LIMITS

ALL = ReadLimits(rows=10_000, bytes=1 << 30)
VALUE = Append(1, "audio.volume", b"30", key="kitchen")
DELETION = replace(VALUE, payload=b"null", deleted=True)
EVERYONE = 0
DAY = 86_400


async def rows(streams: SqlStreamLog, user_id: int = 1) -> list[tuple[int, int]]:
    """Return offset and `deleted` of each row."""
    return [(row.offset, row.deleted) for row in (await streams.read(user_id, 0, ALL)).rows]


async def snapshot(streams: SqlStreamLog, device_id: int = 7) -> list[Row]:
    found = await streams.latest(1, device_id, after=0, upto=streams.last, limits=ALL)
    return list(found.rows)


async def prune(streams: SqlStreamLog) -> dict[int, int]:
    """Remove all that is due; return the floors."""
    floors: dict[int, int] = {}
    while (step := await streams.prune()).more:
        floors |= step.floors
    return floors | dict(step.floors)


async def test_a_deletion_takes_the_place_of_the_value(streams: SqlStreamLog) -> None:
    await streams.append([VALUE])
    assert await streams.append([DELETION]) == [Appended(2)]
    assert await rows(streams) == [(2, 1)]
    assert await snapshot(streams) == []
    [standing] = await streams.standings([(1, 7)])
    assert (standing.head, standing.keys) == (2, False)


async def test_a_deletion_of_nothing_and_a_repeated_one_are_stored(streams: SqlStreamLog) -> None:
    assert await streams.append([DELETION]) == [Appended(1)]
    assert await streams.append([DELETION]) == [Appended(2)]
    assert await rows(streams) == [(2, 1)]


async def test_a_new_value_takes_the_place_of_the_deletion(streams: SqlStreamLog) -> None:
    await streams.append([VALUE, DELETION])
    await streams.append([VALUE])
    assert await rows(streams) == [(3, 0)]
    assert [row.offset for row in await snapshot(streams)] == [3]


async def test_of_one_batch_the_newest_holds(streams: SqlStreamLog) -> None:
    await streams.append([VALUE, DELETION, VALUE, DELETION])
    assert await rows(streams) == [(4, 1)]
    await streams.append([DELETION, VALUE])
    assert await rows(streams) == [(6, 0)]


@pytest.mark.parametrize("left_out", [{}, {"without_device": 8}], ids=["user", "others"])
async def test_a_deletion_for_the_user_removes_the_value_whoever_it_was_for(
    streams: SqlStreamLog, left_out: dict[str, int]
) -> None:
    others = [replace(VALUE, key="hall"), replace(VALUE, user_id=2)]
    await streams.append([VALUE, replace(VALUE, target_device=7), *others])
    await streams.append([replace(DELETION, **left_out)])
    assert await rows(streams) == [(3, 0), (5, 1)]
    assert await rows(streams, 2) == [(4, 0)]
    excluding = replace(VALUE, without_device=9)
    await streams.append([excluding, replace(DELETION, **left_out)])
    assert await rows(streams) == [(3, 0), (7, 1)]


async def test_a_deletion_for_one_device_hides_the_users_value_from_it(
    streams: SqlStreamLog,
) -> None:
    await streams.append([VALUE, replace(VALUE, target_device=7)])
    await streams.append([replace(DELETION, target_device=7)])
    assert await rows(streams) == [(1, 0), (3, 1)]
    assert await snapshot(streams, 7) == []
    assert [row.offset for row in await snapshot(streams, 8)] == [1]


async def test_a_users_deletion_hides_the_value_of_everyone(streams: SqlStreamLog) -> None:
    await streams.append([replace(VALUE, user_id=EVERYONE), DELETION])
    assert await snapshot(streams) == []
    await streams.append([replace(VALUE, user_id=EVERYONE)])
    assert [row.offset for row in await snapshot(streams)] == [3]


async def test_a_deletion_for_everyone_hides_a_users_value(streams: SqlStreamLog) -> None:
    await streams.append([VALUE, replace(DELETION, user_id=EVERYONE)])
    assert await snapshot(streams) == []


async def test_a_deletion_makes_room_for_a_key_and_takes_none(streams: SqlStreamLog) -> None:
    values = [replace(VALUE, key=key) for key in "abc"]
    await streams.append(values)
    fourth = replace(VALUE, key="d")
    assert await streams.append([fourth]) == [Refused("too_many_keys")]
    deletions = [replace(DELETION, key=key) for key in "awxyz"]
    assert await streams.append([*deletions, fourth]) == [Appended(at) for at in range(4, 10)]
    assert await streams.append(values[:1]) == [Refused("too_many_keys")]
    assert await streams.append([replace(DELETION, key="b"), values[0]]) == [
        Appended(10),
        Appended(11),
    ]


async def test_a_deletion_goes_with_age_and_raises_the_floor(
    streams: SqlStreamLog, clock: Any
) -> None:
    await streams.append([VALUE, DELETION])
    clock.now += 30 * DAY
    assert await prune(streams) == {}
    clock.now += 1
    # Whoever is below it may still have the value.
    assert await prune(streams) == {1: 2}
    assert await rows(streams) == []


async def test_deletions_count_as_rows(streams: SqlStreamLog) -> None:
    many = [replace(DELETION, key=str(number)) for number in range(LIMITS.retention_rows + 2)]
    await streams.append([VALUE, *many])
    assert await prune(streams) == {1: 3}
    assert await rows(streams) == [(1, 0), *((4 + at, 1) for at in range(LIMITS.retention_rows))]


async def test_a_deletion_stays_as_long_as_it_hides_a_value(
    streams: SqlStreamLog, clock: Any
) -> None:
    await streams.append([VALUE, replace(DELETION, target_device=7)])
    clock.now += 31 * DAY
    assert await prune(streams) == {}
    assert await snapshot(streams, 7) == []


async def test_what_is_delivered_has_the_time_of_the_row(streams: SqlStreamLog, clock: Any) -> None:
    clock.now = 1_790_000_000.123
    outcomes = await streams.append([VALUE, replace(VALUE, key=None), replace(DELETION, key="x")])
    assert [one.created_at for one in outcomes if isinstance(one, Appended)] == [
        row.created_at for row in (await streams.read(1, 0, ALL)).rows
    ]
    assert {one.created_at for one in outcomes if isinstance(one, Appended)} == {1_790_000_000_123}
