"""Damage is found, bounded and told once; what is sound goes on."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from damaging import cut, entry_of, flip, flip_text, fold, lose_entry, pages_of
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from app.base.errors import StorageUnavailable
from app.base.metrics import Metrics
from app.protocol.position import Position
from app.storage.database import Database
from app.streams.audit import Audit
from app.streams.base import EVERYONE, Append, Cursor, ReadLimits
from app.streams.generation import GUARD_NAME
from app.streams.sql import SqlStreamLog
from tests.streams.conftest import LIMITS

ALL = ReadLimits(rows=10_000, bytes=1 << 30)
SECRET = b"the secret of ada"


@dataclass
class Opened:
    """A log with its audit, and the floors to which it has raised that of everyone."""

    database: Database
    streams: SqlStreamLog
    audit: Audit
    metrics: Metrics
    floors: list[int] = field(default_factory=list)

    async def offsets(self, user_id: int = 1) -> list[int]:
        return [row.offset for row in (await self.streams.read(user_id, 0, ALL)).rows]

    async def floor(self) -> int:
        return (await self.streams.read(EVERYONE, 0, ALL)).floor

    async def moved(self) -> list[int]:
        statement = 'SELECT "offset" FROM damaged_messages'
        return await self.database.snapshot(
            lambda one: list(one.exec_driver_sql(statement).scalars())
        )


@asynccontextmanager
async def opened(folder: Path, *, cleanly: bool = True) -> AsyncIterator[Opened]:
    """Open what is in the folder as the server does, and fold it into one file afterwards."""
    database = await Database.open(folder / "switchboard.db", busy_milliseconds=20)
    try:
        streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
        metrics = Metrics()
        found = Opened(database, streams, Audit(streams, database, metrics), metrics)
        found.audit.on_removed = found.floors.append
        await found.audit.begin()
        yield found
        if cleanly and streams.suspicions.damage is None:
            await streams.stop()
        await streams.close()
    finally:
        await database.close()


def texts(user_id: int, count: int) -> list[Append]:
    return [Append(user_id, "note.text", b'"number %d"' % n) for n in range(count)]


@pytest.fixture
async def path(folder: Path) -> Path:
    """A database with ten messages: of user 2 from 1 to 3, and of user 1 the others, 7 a secret."""
    async with opened(folder) as found:
        batch = [*texts(2, 3), *texts(1, 7)]
        batch[6] = Append(1, "note.text", b'"%b"' % SECRET)
        batch[8] = Append(1, "note.state", b'"a value"', key="the key of nine")
        await found.streams.append(batch)
        await found.streams.save_cursors({7: Cursor(1, Position(found.streams.epoch, 6))})
    return folder / "switchboard.db"


def behind_the_sums(path: Path, statement: str) -> None:
    """Change the database as damage does, unseen by the triggers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


# Messages


async def test_a_damaged_message_is_never_read_and_then_moved_aside(
    folder: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip_text(path, SECRET)
    async with opened(folder) as found:
        with pytest.raises(StorageUnavailable):
            await found.offsets()
        assert await found.offsets(2) == [1, 2, 3]
        await found.audit.examine(all_messages=False)
        assert await found.offsets() == [4, 5, 6, 8, 9, 10]
        assert (found.floors, await found.floor(), await found.moved()) == ([7], 7, [7])
        assert found.metrics.damaged == 1
    assert told(caplog) == ["damaged messages moved aside"]
    [line] = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert vars(line)["fields"] == {
        "offsets": "7",
        "floor": 7,
        "count": 1,
        "file": str(path),
        "see": "docs/damaged-database.md",
    }
    assert SECRET.decode() not in caplog.text


async def test_the_audit_acts_on_what_a_read_met_without_being_asked(
    folder: Path, path: Path
) -> None:
    flip_text(path, SECRET)
    async with opened(folder) as found:
        removed = asyncio.Event()
        found.audit.on_removed = lambda floor: removed.set()
        running = asyncio.create_task(found.audit.run())
        with pytest.raises(StorageUnavailable):
            await found.offsets()
        await removed.wait()
        found.audit.stop()
        running.cancel()
        await asyncio.wait([running])
        assert await found.moved() == [7]


async def test_a_damaged_value_is_in_no_snapshot(folder: Path, path: Path) -> None:
    flip_text(path, b"a value")
    async with opened(folder) as found:
        with pytest.raises(StorageUnavailable):
            await found.streams.latest(1, 1, after=0, upto=10, limits=ALL)
        await found.audit.examine(all_messages=False)
        assert (await found.streams.latest(1, 1, after=0, upto=10, limits=ALL)).rows == []
        # Its key is free again.
        await found.streams.append([Append(1, "note.state", b"1", key="the key of nine")])
        assert await found.offsets() == [4, 5, 6, 7, 8, 10, 11]


async def test_a_value_whose_indexed_column_is_damaged_does_not_block_its_key(
    folder: Path, path: Path
) -> None:
    flip_text(path, b"the key of nine", table="messages")
    async with opened(folder) as found:
        with pytest.raises(StorageUnavailable):
            await found.offsets()
        await found.audit.examine(all_messages=False)
        assert found.floors == [10], "whose messages an index hid, nobody knows"
        assert await found.moved() == [9]
        await found.streams.append([Append(1, "note.state", b"1", key="the key of nine")])
        assert await found.offsets() == [4, 5, 6, 7, 8, 10, 11]


async def test_a_message_does_not_expire_by_damage(folder: Path, path: Path) -> None:
    behind_the_sums(path, 'UPDATE messages SET expires_at = 1 WHERE "offset" IN (7, 9)')
    async with opened(folder) as found:
        for read in (found.offsets(), found.streams.latest(1, 1, after=0, upto=10, limits=ALL)):
            with pytest.raises(StorageUnavailable):
                await read
        await found.audit.examine(all_messages=False)
        assert await found.moved() == [7, 9]


async def test_a_text_that_is_no_text_any_more_is_found(folder: Path, path: Path) -> None:
    flip_text(path, b"note.state", table="messages", bit=7)
    async with opened(folder) as found:
        with pytest.raises(StorageUnavailable):
            await found.offsets()
        await found.audit.examine(all_messages=False)
        assert await found.moved() == [9]


async def test_after_an_unclean_stop_every_message_is_checked(folder: Path, path: Path) -> None:
    async with opened(folder, cleanly=False):
        pass
    flip_text(path, SECRET)
    async with opened(folder) as found:
        removed = asyncio.Event()
        found.audit.on_removed = lambda floor: removed.set()
        running = asyncio.create_task(found.audit.run())
        await removed.wait()
        found.audit.stop()
        running.cancel()
        await asyncio.wait([running])
        assert await found.moved() == [7]


async def test_messages_of_before_are_believed_and_no_later_one_without_a_checksum(
    folder: Path, path: Path
) -> None:
    behind_the_sums(path, 'UPDATE messages SET crc = NULL WHERE "offset" IN (4, 7)')
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE sums SET rows = 5, sum = -6 WHERE name = 'unchecked'")
    async with opened(folder) as found:
        await found.audit.examine(all_messages=True)
        assert await found.moved() == [7]
        assert await found.offsets() == [4, 5, 6, 8, 9, 10]


def make_older(path: Path) -> None:
    """Make a database of before there were checksums, with two messages."""
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "app/storage/migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for user_id in (1, 2):
            connection.exec_driver_sql(
                "INSERT INTO messages (user_id, type, payload, created_at) VALUES (?, 'a.b', ?, ?)",
                (user_id, b"1", int(time.time() * 1000)),
            )
    engine.dispose()


async def test_messages_of_an_older_database_are_kept_and_new_ones_checked(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_older(folder / "switchboard.db")
    async with opened(folder) as found:
        assert found.streams.last_unchecked == 2
        await found.streams.append(texts(1, 1))
        await found.audit.examine(all_messages=True)
        assert await found.offsets() == [1, 3]
        assert found.floors == []
    assert told(caplog) == []


# Rows that are missing


async def test_a_row_that_an_index_lost_is_found_before_anything_is_read(
    folder: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lose_entry(path, "messages_user_id_offset", place=5)
    async with opened(folder) as found:
        assert found.floors == [10]
        assert await found.offsets() == [4, 5, 6, 7, 8, 9, 10]
        assert await found.floor() == 10
    assert told(caplog) == ["rows missing from the database", "indexes made anew"]


@pytest.mark.parametrize(
    "statement",
    [
        'DELETE FROM messages WHERE "offset" = 10',
        'INSERT INTO floors (user_id, "offset") VALUES (1, 5)',
        'UPDATE cursors SET "offset" = 9',
        "DELETE FROM cursors",
        "UPDATE generations SET first = first + 1",
        "UPDATE sums SET rows = rows + 1 WHERE name = 'latest'",
    ],
)
async def test_what_decides_who_gets_which_message_cannot_change_unseen(
    folder: Path, path: Path, statement: str
) -> None:
    behind_the_sums(path, statement)
    async with opened(folder) as found:
        assert found.floors == [10]


async def test_a_device_whose_cursor_was_lost_is_reset(folder: Path, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO users (id, iss, sub, created_at) VALUES (1, 'a', 'b', 1)")
        connection.execute(
            "INSERT INTO devices (id, user_id, device_uuid, device_type, created_at, last_seen) "
            "VALUES (7, 1, 'device-0007', 'web', 1, 1)"
        )
    behind_the_sums(path, "DELETE FROM cursors")
    async with opened(folder) as found:
        [standing] = await found.streams.standings([(1, 7)])
        assert standing.cursor == Position(found.streams.epoch, 0)
        assert standing.floor == 10


async def test_an_index_that_leads_to_the_row_of_another_user_shows_it_to_nobody(
    folder: Path, path: Path
) -> None:
    # The entry of offset 6, whose last byte is the offset, becomes one of offset 2.
    flip(path, entry_of(path, "messages_user_id_offset", place=2) + 4, bit=2)
    database = await Database.open(path)
    streams = await SqlStreamLog.open(database, folder / GUARD_NAME, LIMITS)
    with pytest.raises(StorageUnavailable):
        await streams.read(1, 0, ALL)
    await Audit(streams, database, Metrics()).examine(all_messages=False)
    for user_id, offsets in ((1, [4, 5, 6, 7, 8, 9, 10]), (2, [1, 2, 3])):
        assert [row.offset for row in (await streams.read(user_id, 0, ALL)).rows] == offsets
    await streams.close()
    await database.close()


async def test_what_retention_removes_is_not_missed(
    folder: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(folder) as found:
        await found.streams.append(texts(1, 120))
        while (await found.streams.prune()).more:
            pass
        await found.audit.walk()
        await found.audit.examine(all_messages=True)
        assert found.floors == []
    assert told(caplog) == []


async def test_rows_that_go_missing_again_and_again_end_the_service(
    folder: Path, path: Path
) -> None:
    async with opened(folder) as found:
        for _ in range(2):
            await found.database.transact(
                lambda one: (
                    one.exec_driver_sql("UPDATE sums SET rows = rows + 1 WHERE name = 'floors'")
                    and None
                )
            )
            await found.audit.walk()
        with pytest.raises(StorageUnavailable):
            await found.offsets()


# Pages


def break_a_page(path: Path) -> None:
    """Have the first entry of an index begin beyond its page."""
    flip(path, pages_of(path, "messages_expires_at")[0] + 5, bit=7)


async def test_nothing_is_read_or_stored_once_pages_do_not_fit_together(
    folder: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_a_page(path)
    async with opened(folder) as found:
        await found.audit.run()
        for attempt in (
            found.offsets(),
            found.streams.latest(1, 1, after=0, upto=10, limits=ALL),
            found.streams.append(texts(1, 1)),
            found.streams.standings([(1, 1)]),
            found.streams.prune(),
        ):
            with pytest.raises(StorageUnavailable):
                await attempt
    assert told(caplog) == ["database damaged: nothing is read or stored any more"]
    assert "docs/damaged-database.md" in str(vars(caplog.records[-1])["fields"])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: cut(path, pages=20), id="the end is gone"),
        pytest.param(lambda path: flip(path, 3), id="it is no database"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:700]), id="less than a page"),
    ],
)
async def test_a_file_that_is_damaged_all_over_does_not_open(
    folder: Path, path: Path, damage: Callable[[Path], None]
) -> None:
    fold(path)
    damage(path)
    with pytest.raises(DBAPIError, match=r"malformed|not a database"):
        await opened(folder).__aenter__()
