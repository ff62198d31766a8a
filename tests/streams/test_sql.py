"""SqlStreamLog beyond the contract: faults of the disk, numbers, cursors, what a batch costs."""

import asyncio
import logging
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from damaging import PAGE_BYTES, fold, pages_of
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.base.errors import StorageUnavailable
from app.protocol.position import Position
from app.storage.damage import is_structural
from app.storage.database import Database
from app.storage.endings import delete_user
from app.storage.leftovers import next_leftover, remove_some
from app.storage.users import add_local_user
from app.streams.base import Append, Appended, Cursor, ReadLimits, Refused
from app.streams.generation import GUARD_NAME, Guard
from app.streams.sql import SqlStreamLog, StreamLimits
from tests.clocks import HandClock
from tests.streams.conftest import LIMITS

ALL = ReadLimits(rows=10_000, bytes=1 << 30)
NOTE = Append(1, "note.text", b'"secret words"')


def sql(database: Database, statement: str) -> Any:
    return database.transact(lambda connection: connection.exec_driver_sql(statement) and None)


async def offsets(streams: SqlStreamLog, user_id: int = 1) -> list[int]:
    return [row.offset for row in (await streams.read(user_id, 0, ALL)).rows]


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Note every statement that any database gets in the block."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        seen.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


# Faults


async def test_a_full_disk_stores_nothing_and_free_space_is_enough_to_go_on(
    database: Database, streams: SqlStreamLog
) -> None:
    await streams.append([NOTE])
    await sql(database, "PRAGMA max_page_count = 1")
    large = replace(NOTE, payload=b"x" * 100_000)
    with pytest.raises(StorageUnavailable):
        await streams.append([NOTE, large])
    assert (streams.last, await offsets(streams)) == (1, [1])

    await sql(database, "PRAGMA max_page_count = 1000000")
    assert await streams.append([NOTE, large]) == [Appended(2), Appended(3)]
    assert await offsets(streams) == [1, 2, 3]


async def test_a_file_that_may_not_grow_stores_nothing_until_it_may(
    folder: Path, streams: SqlStreamLog
) -> None:
    await streams.append([NOTE])
    size = (folder / "switchboard.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        with pytest.raises(StorageUnavailable):
            await streams.append([replace(NOTE, payload=b"x" * 1_000_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await offsets(streams) == [1]
    assert await streams.append([NOTE]) == [Appended(2)]


async def test_a_locked_database_is_unavailable_until_it_is_unlocked(
    folder: Path, streams: SqlStreamLog
) -> None:
    other = sqlite3.connect(folder / "switchboard.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for attempt in (streams.append([NOTE]), streams.prune(), streams.reset()):
        with pytest.raises(StorageUnavailable):
            await attempt
    other.execute("ROLLBACK")
    other.close()
    assert await streams.append([NOTE]) == [Appended(1)]


async def test_a_log_is_opened_once_its_database_is_unlocked(
    database: Database, folder: Path
) -> None:
    other = sqlite3.connect(folder / "switchboard.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
    other.execute("ROLLBACK")
    other.close()
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
    assert await streams.append([NOTE]) == [Appended(1)]
    await streams.close()


async def test_a_log_in_a_damaged_file_is_not_opened_and_the_error_is_sqlites_own(
    folder: Path,
) -> None:
    path = folder / "switchboard.db"
    database = await Database.open(path)
    await (await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)).close()
    await database.close()
    fold(path)
    with path.open("r+b") as file:
        file.seek(pages_of(path, "generations")[0])
        file.write(b"\xff" * PAGE_BYTES)
    database = await Database.open(path)
    with pytest.raises(DBAPIError) as caught:
        await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
    assert is_structural(caught.value)
    await database.close()


async def test_a_read_only_database_is_unavailable_and_can_be_read(
    database: Database, streams: SqlStreamLog
) -> None:
    await streams.append([NOTE])
    await sql(database, "PRAGMA query_only = ON")
    cursor = Cursor(1, Position(streams.epoch, 1))
    for attempt in (streams.append([NOTE]), streams.save_cursors({7: cursor})):
        with pytest.raises(StorageUnavailable):
            await attempt
    assert await offsets(streams) == [1]
    assert (await streams.standings([(1, 7)]))[0].head == 1


async def test_a_fault_that_lasts_is_logged_once_and_without_the_message(
    database: Database, streams: SqlStreamLog, caplog: pytest.LogCaptureFixture
) -> None:
    await sql(database, "PRAGMA query_only = ON")
    for _ in range(5):
        with pytest.raises(StorageUnavailable):
            await streams.append([NOTE])
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in told] == ["storage unavailable"]
    assert vars(told[0])["fields"] == {"reason": "SQLITE_READONLY"}
    assert "secret words" not in caplog.text


async def test_a_row_that_cannot_be_stored_harms_only_its_batch(streams: SqlStreamLog) -> None:
    with pytest.raises(OverflowError):
        await streams.append([NOTE, replace(NOTE, target_device=1 << 70)])
    assert await streams.append([NOTE]) == [Appended(1)]


async def test_the_longest_time_fits(streams: SqlStreamLog) -> None:
    assert await streams.append([replace(NOTE, ttl=1 << 62)]) == [Appended(1)]
    assert await offsets(streams) == [1]


async def test_an_append_cancelled_in_its_commit_is_known_by_the_last_offset(
    streams: SqlStreamLog,
) -> None:
    task = asyncio.create_task(streams.append([NOTE]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await offsets(streams) == [1][: streams.last]
    assert await streams.append([NOTE]) == [Appended(streams.last)]
    assert await offsets(streams) == list(range(1, streams.last + 1))


async def test_after_a_failure_the_state_is_read_from_the_database(
    database: Database, streams: SqlStreamLog
) -> None:
    await streams.append([NOTE])
    await sql(database, "UPDATE sqlite_sequence SET seq = 41 WHERE name = 'messages'")
    with pytest.raises(OverflowError):
        await streams.append([replace(NOTE, target_device=1 << 70)])
    assert streams.last == 41
    assert await streams.append([NOTE]) == [Appended(42)]


async def test_a_guard_that_cannot_be_written_stops_no_append(
    database: Database, folder: Path, clock: HandClock
) -> None:
    class Unwritable(Guard):
        def note(self, mark: object) -> None:
            raise OSError

    await (await SqlStreamLog.open(database, folder / GUARD_NAME, SMALL, clock)).close()
    streams = SqlStreamLog(database, Unwritable(folder / GUARD_NAME), SMALL, clock)
    assert await streams.append([NOTE]) == [Appended(1)]


SMALL = StreamLimits(retention_days=30, retention_rows=10, max_keys_per_user=2)


# Numbers


async def test_no_offset_is_given_twice_when_all_rows_are_gone_and_after_a_restart(
    database: Database, streams: SqlStreamLog, folder: Path, clock: HandClock
) -> None:
    await streams.append([NOTE] * 3)
    await sql(database, "DELETE FROM messages")
    assert await streams.append([NOTE]) == [Appended(4)]
    await sql(database, "DELETE FROM messages")
    await streams.close()
    again = await SqlStreamLog.open(database, folder / GUARD_NAME, SMALL, clock)
    assert again.last == 4
    assert await again.append([NOTE]) == [Appended(5)]
    await again.close()


async def test_two_of_one_batch_with_the_same_id_are_one(streams: SqlStreamLog) -> None:
    named = replace(NOTE, owner="device:7", message_id="m", digest=b"1")
    other = replace(named, digest=b"2")
    foreign = replace(named, owner="device:8")
    assert await streams.append([named, named, other, foreign]) == [
        Appended(1),
        Appended(1, duplicate=True),
        Refused("id_conflict"),
        Appended(2),
    ]
    assert await offsets(streams) == [1, 2]


async def test_of_two_values_of_one_batch_the_older_is_gone(streams: SqlStreamLog) -> None:
    value = replace(NOTE, key="k")
    assert await streams.append([value, NOTE, value]) == [Appended(1), Appended(2), Appended(3)]
    assert await offsets(streams) == [2, 3]


async def test_a_key_too_many_is_refused_alone(streams: SqlStreamLog) -> None:
    values = [replace(NOTE, key=key) for key in "abcdb"]
    outcomes = await streams.append([*values, NOTE])
    assert outcomes[3] == Refused("too_many_keys")
    assert [isinstance(one, Appended) for one in outcomes] == [True] * 3 + [False] + [True] * 2
    assert await streams.append([replace(NOTE, user_id=2, key="d")]) == [Appended(6)]


async def test_a_refused_repeat_takes_no_value_away(streams: SqlStreamLog) -> None:
    named = replace(NOTE, owner="device:7", message_id="m", digest=b"1", key="a")
    await streams.append([named, replace(NOTE, key="b")])
    again = replace(named, digest=b"2", key="b")
    assert await streams.append([again]) == [Refused("id_conflict")]
    assert await offsets(streams) == [1, 2]


async def test_an_expired_value_is_not_counted(streams: SqlStreamLog, clock: HandClock) -> None:
    await streams.append([replace(NOTE, key=key, ttl=10) for key in "abc"])
    fourth = replace(NOTE, key="d")
    assert await streams.append([fourth]) == [Refused("too_many_keys")]
    clock.advance(10)
    assert await streams.append([fourth]) == [Appended(4)]


# Cursors


async def test_a_cursor_of_another_epoch_is_left_out(streams: SqlStreamLog) -> None:
    await streams.append([NOTE] * 5)
    old = Cursor(1, Position(streams.epoch, 5))
    await streams.save_cursors({7: old})
    epoch = await streams.reset()
    assert (await streams.standings([(1, 7)]))[0].cursor == old.position
    new = Cursor(1, Position(epoch, 3))
    await streams.save_cursors({7: new})
    await streams.save_cursors({7: old})
    assert (await streams.standings([(1, 7)]))[0].cursor == new.position


async def test_thousands_of_devices_have_their_standing_in_their_order(
    streams: SqlStreamLog,
) -> None:
    await streams.append([replace(NOTE, user_id=user) for user in range(1, 2501)])
    found = await streams.standings([(user, user) for user in range(2500, 0, -1)])
    assert [one.head for one in found] == list(range(2500, 0, -1))


async def test_deleting_a_user_takes_its_messages_along(
    database: Database, streams: SqlStreamLog
) -> None:
    async with database.write() as connection:
        user = await add_local_user(
            connection, handle="a", handle_key="a", password_hash="", roles=(), now=1
        )
    await streams.append([replace(NOTE, user_id=user.id), replace(NOTE, user_id=user.id + 1)])
    await streams.save_cursors({7: Cursor(user.id, Position(streams.epoch, 1))})
    await sql(database, f"INSERT INTO floors VALUES ({user.id}, 1)")
    async with database.write() as connection:
        await delete_user(connection, user.id, now=2, not_before=2)
    while (leftover := await database.snapshot(next_leftover)) is not None:
        await database.transact(partial(remove_some, leftover=leftover))
    gone, kept = await streams.standings([(user.id, 7), (user.id + 1, 8)])
    assert (gone.head, gone.floor, gone.cursor, kept.head) == (0, 0, None, 2)


# Cost


def batch(size: int) -> list[Append]:
    """Return appends for many users, half of them with an id and a third with a key."""
    return [
        Append(
            100 * size + number % 40,
            "note.text",
            b"1",
            key=f"k{number % 2}" if number % 3 == 0 else None,
            owner=f"key:{size}",
            message_id=f"m{number}" if number % 2 else None,
        )
        for number in range(size)
    ]


@pytest.mark.parametrize("again", [False, True], ids=["new", "repeated"])
async def test_the_statements_of_a_batch_are_few_whatever_its_size(
    streams: SqlStreamLog, again: bool
) -> None:
    counts = []
    for size in (12, 600, 1000):
        if again:
            await streams.append(batch(size))
        with statements() as seen:
            await streams.append(batch(size))
        counts.append(len(seen))
    assert max(counts) <= 16


async def test_a_plain_batch_is_one_statement_in_a_transaction(streams: SqlStreamLog) -> None:
    with statements() as seen:
        await streams.append([NOTE] * 64)
    assert [statement.split(" ")[0] for statement, _ in seen] == ["BEGIN", "INSERT", "COMMIT"]


async def test_batches_of_any_size_are_stored_whole_and_in_order(streams: SqlStreamLog) -> None:
    sizes = (1, 2, 3, 31, 511, 512, 513, 1100)
    for size in sizes:
        texts = [b"%d" % number for number in range(size)]
        appends = [Append(size, "note.text", text) for text in texts]
        outcomes = await streams.append(appends)
        given = [one.offset for one in outcomes if isinstance(one, Appended)]
        assert given == list(range(given[0], given[0] + size))
        found = await streams.read(size, 0, ReadLimits(rows=2000, bytes=1_000_000))
        assert [row.payload for row in found.rows] == texts
        assert [row.offset for row in found.rows] == given


async def test_no_statement_looks_at_every_row(folder: Path, streams: SqlStreamLog) -> None:
    with statements() as seen:
        for _ in range(2):
            await streams.append(batch(50))
            await streams.read(1, 0, ReadLimits())
            await streams.latest(1, 1, after=0, upto=99, limits=ReadLimits())
            await streams.standings([(1, 1), (2, 2)])
            await streams.prune()
    connection = sqlite3.connect(folder / "switchboard.db")
    for statement, values in seen:
        if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")):
            continue
        one = values[0] if isinstance(values, list) and values else values
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", one or ()).fetchall()
        steps = [step for *_, step in plan]
        scans = [step for step in steps if step.startswith(("SCAN m", "SCAN i", "SCAN c"))]
        assert not scans, (statement, steps)
        # Nothing is sorted but the offsets of a user's values.
        if "SCAN listed" not in steps:
            assert not [step for step in steps if "TEMP B-TREE" in step], (statement, steps)
        # What hides a value, or is hidden: by its key, not among all newer rows of the user.
        inner = [step for step in steps if step.startswith(("SEARCH d ", "SEARCH v "))]
        assert all("messages_latest" in step for step in inner), (statement, steps)
    connection.close()


async def test_a_batch_with_an_offset_that_is_taken_fails_as_a_whole(
    database: Database, streams: SqlStreamLog
) -> None:
    [first] = await streams.append([replace(NOTE, key="k")])
    assert isinstance(first, Appended)
    # As if another program had written: the offset after next is taken.
    columns = '"offset", user_id, type, payload, created_at'
    values = f"{first.offset + 2}, 9, 'x.y', x'31', 0"
    await sql(database, f"INSERT INTO messages ({columns}) VALUES ({values})")
    await sql(database, f"UPDATE sqlite_sequence SET seq = {first.offset}")
    with pytest.raises(IntegrityError):
        await streams.append([NOTE, NOTE, NOTE])
    assert await offsets(streams) == [first.offset]
