"""How many message ids a sender may add, and how much space each takes."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.storage.database import Database
from app.streams.base import Append, Appended, ReadLimits, Refused
from app.streams.generation import GUARD_NAME
from app.streams.ids import HOUR_MS, id_hash
from app.streams.sql import SqlStreamLog, StreamLimits

HOUR = 3600
DAY = 24 * HOUR
PER_USER, PER_KEY = 3, 2

LIMITS = StreamLimits(
    retention_days=30,
    retention_rows=100,
    max_keys_per_user=3,
    ids_per_user=PER_USER,
    ids_per_key=PER_KEY,
)

MAX_BYTES_PER_ID = 85
"""In the table and its index, whatever the length of the id and of the owner's name."""


@pytest.fixture
async def streams(database: Database, folder: Path, clock: Any) -> AsyncIterator[SqlStreamLog]:
    # The hour begins now.
    clock.now -= clock.now % HOUR
    opened = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS, clock)
    yield opened
    await opened.close()


def named(message_id: str, device: int = 7, user: int = 1) -> Append:
    return Append(
        user,
        "note.text",
        b"1",
        source_device=device,
        owner=f"device:{device}",
        sender=f"user:{user}",
        message_id=message_id,
        digest=b"1" * 16,
    )


def of_key(message_id: str, key: int = 3) -> Append:
    return replace(named(message_id), owner=f"key:{key}", sender=f"key:{key}", source_device=0)


def refused(hours: float) -> Refused:
    return Refused("too_many_ids", int(hours * HOUR_MS))


async def fill(streams: SqlStreamLog) -> None:
    """Have user 1 add as many ids as a user may."""
    outcomes = await streams.append([named(f"m{number}") for number in range(PER_USER)])
    assert [type(one) for one in outcomes] == [Appended] * PER_USER


# Who may add how many


async def test_a_new_id_above_the_limit_is_refused_and_a_known_one_is_answered(
    streams: SqlStreamLog,
) -> None:
    await fill(streams)
    assert await streams.append([named("m9"), named("m0")]) == [
        refused(24),
        Appended(1, duplicate=True),
    ]
    assert await streams.append([replace(named("m0"), digest=b"2")]) == [Refused("id_conflict")]


async def test_what_has_no_id_is_stored_although_its_sender_may_add_none(
    streams: SqlStreamLog,
) -> None:
    await fill(streams)
    assert await streams.append([named("m9"), replace(named("m9"), message_id=None)]) == [
        refused(24),
        Appended(PER_USER + 1),
    ]


async def test_the_devices_of_a_user_share_the_limit_and_another_user_has_one_of_their_own(
    streams: SqlStreamLog,
) -> None:
    one, two, three = named("m", device=7), named("m", device=8), named("m", device=9)
    assert await streams.append([one, two]) == [Appended(1), Appended(2)]
    # Device 9 came after the others were removed.
    assert await streams.append([three]) == [Appended(3)]
    assert await streams.append([named("m", device=10)]) == [refused(24)]
    assert await streams.append([named("m", device=20, user=2)]) == [Appended(4)]


async def test_each_key_has_a_limit_of_its_own_and_the_operator_has_none(
    streams: SqlStreamLog,
) -> None:
    await fill(streams)
    keys = [of_key(f"m{number}") for number in range(PER_KEY + 1)]
    assert await streams.append(keys) == [Appended(4), Appended(5), refused(24)]
    assert await streams.append([of_key("m0", key=4)]) == [Appended(6)]
    many = [named(f"m{number}") for number in range(10 * PER_USER)]
    operator = [replace(one, owner="operator", sender="operator") for one in many]
    assert Refused not in map(type, await streams.append(operator))


async def test_without_a_limit_any_number_is_added_and_counted_nevertheless(
    database: Database, folder: Path, clock: Any
) -> None:
    limits = replace(LIMITS, ids_per_user=0, ids_per_key=0)
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, limits, clock)
    ids = [make(f"m{number}") for number in range(50) for make in (named, of_key)]
    assert await streams.append(ids) == [Appended(number + 1) for number in range(100)]
    await streams.close()
    again = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS, clock)
    outcomes = await again.append([named("n"), of_key("n")])
    assert [type(one) for one in outcomes] == [Refused, Refused]
    await again.close()


async def test_an_id_that_stands_twice_in_a_batch_counts_once(streams: SqlStreamLog) -> None:
    twice = [named("m0"), named("m0"), named("m1"), named("m1"), named("m2"), named("m2")]
    outcomes = await streams.append([*twice, named("m3"), named("m3")])
    assert outcomes[:6:2] == [Appended(1), Appended(2), Appended(3)]
    assert outcomes[1:6:2] == [Appended(at, duplicate=True) for at in (1, 2, 3)]
    assert outcomes[6:] == [refused(24), refused(24)]


async def test_a_message_that_is_refused_otherwise_uses_no_id_up(streams: SqlStreamLog) -> None:
    await streams.append([replace(named(""), message_id=None, key=key) for key in "abc"])
    too_many = replace(named("m"), key="d")
    assert await streams.append([too_many] * 5) == [Refused("too_many_keys")] * 5
    await fill(streams)


# When


async def test_a_sender_may_go_on_with_the_hour_that_leaves_and_not_a_millisecond_before(
    streams: SqlStreamLog, clock: Any
) -> None:
    clock.now += 1800
    await streams.append([named("m0")])
    clock.now += 2 * HOUR
    await streams.append([named("m1"), named("m2")])
    assert await streams.append([named("m3")]) == [refused(21.5)]
    clock.now += 21.5 * HOUR - 0.001
    assert await streams.append([named("m3")]) == [Refused("too_many_ids", 1)]
    clock.now += 0.001
    # The first hour had one; the next leaves two hours later.
    assert await streams.append([named("m3"), named("m4")]) == [Appended(4), refused(2)]
    clock.now += 2 * HOUR
    outcomes = await streams.append([named(f"m{number}") for number in (4, 5, 6)])
    assert outcomes == [Appended(5), Appended(6), refused(22)]


async def test_ids_of_any_day_are_at_most_as_many_as_are_allowed(
    streams: SqlStreamLog, clock: Any
) -> None:
    """Asked every 20 minutes for five days."""
    at: list[int] = []
    for number in range(5 * 72):
        [outcome] = await streams.append([named(f"m{number}")])
        if isinstance(outcome, Appended):
            at.append(number // 3)
        clock.now += HOUR / 3
    assert len(at) == 5 * PER_USER
    for hour in range(5 * 24):
        assert sum(hour <= one < hour + 24 for one in at) <= PER_USER


async def test_a_restart_makes_no_difference(
    database: Database, streams: SqlStreamLog, folder: Path, clock: Any
) -> None:
    await fill(streams)
    await streams.close()
    again = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS, clock)
    assert await again.append([named("m9"), named("m0")]) == [
        refused(24),
        Appended(1, duplicate=True),
    ]
    await again.close()


async def test_a_batch_that_was_not_stored_uses_no_ids_up(streams: SqlStreamLog) -> None:
    broken = replace(named("x"), target_device=1 << 70)
    for _ in range(3):
        with pytest.raises(OverflowError):
            await streams.append([named("a"), named("b"), broken])
    await fill(streams)
    assert await streams.append([named("m9")]) == [refused(24)]


async def test_an_append_that_was_cancelled_and_stored_has_used_its_ids_up(
    streams: SqlStreamLog,
) -> None:
    await streams.append([named("m0")])
    task = asyncio.create_task(streams.append([named("m1"), named("m2")]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert streams.last == 3
    assert await streams.append([named("m3")]) == [refused(24)]


async def test_pruning_removes_the_counts_of_hours_that_are_over_and_no_others(
    database: Database, streams: SqlStreamLog, clock: Any
) -> None:
    await streams.append([named("a"), named("b"), of_key("a")])
    clock.now += 23 * HOUR
    await streams.prune()
    await streams.append([named("c")])
    assert await streams.append([named("d")]) == [refused(1)]
    clock.now += HOUR
    await streams.prune()
    assert await counts(database) == [("user:1", 1)]
    assert await streams.append([named("d")]) == [Appended(5)]


async def test_what_was_counted_by_a_clock_far_ahead_is_dropped(
    database: Database, streams: SqlStreamLog, clock: Any
) -> None:
    clock.now += 40 * DAY
    await fill(streams)
    clock.now -= 40 * DAY
    await streams.prune()
    assert await counts(database) == []
    # Nor does anybody have to wait forty days.
    assert await streams.append([named("n0")]) == [Appended(4)]


async def counts(database: Database) -> list[tuple[str, int]]:
    query = "SELECT sender, ids FROM message_id_counts ORDER BY hour, sender"
    found = await database.snapshot(lambda one: one.exec_driver_sql(query).all())
    return [(sender, ids) for sender, ids in found]


# What the operator sees


async def test_who_reaches_the_limit_is_logged_once_an_hour(
    streams: SqlStreamLog, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(streams)
    for _ in range(2):
        await streams.append([named("x")])
        await streams.append([named("y", device=8), of_key("x")])
    told = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in told] == ["too many message ids"]
    assert vars(told[0])["fields"] == {"sender": "user:1", "limit": PER_USER}
    clock.now += HOUR
    await streams.append([named("x")])
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 2


# Space


@pytest.mark.parametrize("length", [16, 36, 128])
async def test_an_id_takes_little_space_however_long_it_is(
    database: Database, folder: Path, clock: Any, length: int
) -> None:
    limits = replace(LIMITS, ids_per_user=0)
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, limits, clock)
    number = 20_000
    for start in range(0, number, 500):
        texts = [str(one).zfill(length) for one in range(start, start + 500)]
        await streams.append([named(text) for text in texts])
    await streams.close()
    assert space(folder / "switchboard.db") / number < MAX_BYTES_PER_ID


async def test_a_user_at_the_limit_for_days_has_the_ids_of_two_days_at_most(
    database: Database, folder: Path, clock: Any
) -> None:
    limits = replace(LIMITS, retention_rows=10, ids_per_user=120)
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, limits, clock)
    number, most = 0, 0
    for _ in range(5 * 24):
        appends = [named(f"m{number + one}") for one in range(130)]
        outcomes = await streams.append(appends)
        number += sum(isinstance(one, Appended) for one in outcomes)
        while (await streams.prune()).more:
            pass
        most = max(most, await remembered(database))
        clock.now += HOUR
    assert number == 5 * 120
    assert 120 <= most <= 2 * 120 + limits.retention_rows
    await streams.close()


async def remembered(database: Database) -> int:
    query = "SELECT count(*) FROM message_ids"
    return int(await database.snapshot(lambda one: one.exec_driver_sql(query).scalar_one()))


def space(path: Path) -> int:
    """Return the bytes of the pages that hold message ids."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'message_id%'"
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def test_the_hash_of_an_id_is_what_databases_hold() -> None:
    assert id_hash("device:7", "b7f2-1").hex() == "bdc6f52b4ea9fa878230b3bda7563158"
    assert id_hash("device:7", "b7f2-1") != id_hash("device:71", "b7f2-1")


async def test_owners_and_ids_are_told_apart_wherever_one_ends(streams: SqlStreamLog) -> None:
    ids: Sequence[tuple[str, str]] = [("key:1", "1x"), ("key:11", "x"), ("key:1", "\0001x")]
    appends = [replace(of_key(text), owner=owner, sender=owner) for owner, text in ids]
    assert await streams.append(appends) == [Appended(1), Appended(2), Appended(3)]
    found = await streams.read(1, 0, ReadLimits())
    assert len(found.rows) == 3
