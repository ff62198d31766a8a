"""The write-ahead log: no commit copies it into the database, and it stays short all the same."""

import asyncio
import logging
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import PATIENCE
from sqlalchemy import Connection

from app.base.metrics import Metrics
from app.storage.checkpoints import KEPT_BYTES, LONG_PAGES
from app.storage.database import Database

PAGE = 4096
MEGABYTE = 1 << 20


@pytest.fixture
async def serving(path: Path) -> AsyncIterator[Database]:
    async with open_serving(path) as database:
        yield database


@asynccontextmanager
async def open_serving(path: Path) -> AsyncIterator[Database]:
    """Give a database as a server uses it."""
    database = await Database.open(path)
    await database.open_connections()
    running = asyncio.create_task(database.run_checkpoints())
    try:
        yield database
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
        await database.close()


def wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def size(file: Path) -> int:
    return file.stat().st_size


def put_another_in_its_place(path: Path) -> None:
    path.rename(path.with_name("away"))
    path.write_bytes(b"")


async def store(database: Database, megabytes: int = 1, key: str = "") -> None:
    """Commit so much, a megabyte at a time."""

    def insert(connection: Connection, number: int) -> None:
        sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, zeroblob(?))"
        connection.exec_driver_sql(sql, (f"{key}{number}", MEGABYTE))

    for number in range(megabytes):
        await database.transact(lambda one, n=number: insert(one, n))


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Read from another process's connection all the time, as a backup does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM meta").fetchone()
        yield other


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def told(caplog: pytest.LogCaptureFixture, message: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage() == message]


async def test_no_commit_makes_a_checkpoint(serving: Database) -> None:
    def pages(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar_one())

    assert await serving.transact(pages) == 0
    async with serving.write() as connection:
        assert await connection.run_sync(pages) == 0


async def test_without_a_server_commits_keep_the_log_short(database: Database, path: Path) -> None:
    await store(database, 30)
    assert size(wal(path)) < 16 * MEGABYTE


async def test_a_log_that_is_long_enough_is_copied_though_nothing_more_is_written(
    serving: Database, path: Path
) -> None:
    await store(serving, 8)
    await until(lambda: size(path) > 4 * MEGABYTE)


@pytest.mark.parametrize("by", ["transact", "write"])
async def test_the_log_stays_short_while_writers_never_pause(
    serving: Database, path: Path, by: str
) -> None:
    longest = 0
    for number in range(60):
        if by == "transact":
            await store(serving, key=f"{number} ")
        else:
            async with serving.write() as connection:
                await connection.exec_driver_sql(
                    "INSERT INTO meta VALUES (?, zeroblob(?))", (f"{number}", MEGABYTE)
                )
        longest = max(longest, size(wal(path)))
    assert longest < 48 * MEGABYTE
    await until(lambda: size(path) > 50 * MEGABYTE)


async def test_a_log_that_a_reader_held_back_shrinks_again(serving: Database, path: Path) -> None:
    before = size(path)
    with reading(path) as other:
        await store(serving, 48)
        assert size(wal(path)) > 48 * MEGABYTE
        # All that the reader needs is still there.
        assert other.execute("SELECT count(*) FROM meta").fetchone() == (1,)
        assert size(path) == before

    async def shrunk() -> None:
        while size(wal(path)) > KEPT_BYTES:
            await serving.transact(lambda one: one.exec_driver_sql("DELETE FROM meta") and None)

    await asyncio.wait_for(shrunk(), PATIENCE)


async def test_short_reads_one_after_the_other_do_not_keep_the_log_from_beginning_anew(
    serving: Database, path: Path
) -> None:
    def count(connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT sum(length(value)) FROM meta").scalar_one())

    async def read() -> None:
        while True:
            await serving.snapshot(count)

    readers = [asyncio.create_task(read()) for _ in range(4)]
    longest = 0
    for number in range(60):
        await store(serving, key=f"{number % 3} ")
        longest = max(longest, size(wal(path)))
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    assert longest < 48 * MEGABYTE


async def test_the_operator_is_told_when_the_log_grows_and_when_it_is_short_again(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("app.storage.checkpoints.GROWN_BYTES", 40 * MEGABYTE)
    async with open_serving(path) as serving:
        with reading(path):
            await store(serving, 42)
            await until(lambda: bool(told(caplog, "write-ahead log grows")))

        async def short() -> None:
            while not told(caplog, "write-ahead log short again"):
                await store(serving, 5)

        await asyncio.wait_for(short(), PATIENCE)
    assert len(told(caplog, "write-ahead log grows")) == 1


async def test_a_checkpoint_that_fails_is_told_and_tried_again_and_commits_go_on(
    serving: Database,
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.storage.checkpoints.RETRY_SECONDS", 0.01)
    await store(serving, 8)
    await until(lambda: size(path) > 4 * MEGABYTE)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The database may not grow; the log, which begins anew, may.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size(path), hard))
    try:
        await store(serving, 6, key="more ")
        await until(lambda: bool(told(caplog, "no checkpoint of the database")))
        async with serving.write() as connection:
            await connection.exec_driver_sql("INSERT INTO meta VALUES ('small', '')")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await store(serving, 12, key="last ")
    await until(lambda: size(path) > 10 * MEGABYTE)
    assert serving.fault is None


async def test_a_database_that_another_program_locks_is_no_fault(
    serving: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        with reading(path):
            await store(serving, 8)
        other.execute("BEGIN IMMEDIATE")
        await until(lambda: size(path) > 4 * MEGABYTE)
        other.execute("ROLLBACK")
    assert not caplog.records


async def test_a_stop_while_much_waits_leaves_a_whole_database_alone(path: Path) -> None:
    async with open_serving(path) as serving:
        with reading(path):
            await store(serving, 40)
    assert not wal(path).exists()
    with closing(sqlite3.connect(path)) as left:
        assert left.execute("SELECT count(*) FROM meta").fetchone() == (41,)
        assert left.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_no_log_is_copied_into_a_file_that_came_in_the_place_of_the_database(
    path: Path,
) -> None:
    async with open_serving(path) as serving:
        with reading(path):
            await store(serving, 8)
            put_another_in_its_place(path)
        await until(lambda: serving.fault is not None or bool(size(path)))
        assert size(path) == 0


async def test_how_long_the_log_is_and_the_last_checkpoint_took_can_be_asked(
    serving: Database, path: Path
) -> None:
    await store(serving, 2 * LONG_PAGES * PAGE // MEGABYTE)
    await until(lambda: serving.checkpoint_seconds > 0)
    assert serving.wal_bytes == size(wal(path))
    serving.show_on(Metrics())


ACTS = st.lists(
    st.sampled_from(["store", "read", "read on", "leave", "other's checkpoint", "copy", "settle"]),
    max_size=20,
)


@settings(max_examples=examples(6))
@given(acts=ACTS)
def test_whoever_reads_copies_and_checkpoints_beside_it_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, acts: Sequence[str]
) -> None:
    asyncio.run(mix(tmp_path_factory.mktemp("mixed") / "a.db", acts))


async def mix(path: Path, acts: Sequence[str]) -> None:
    """Do these things one after the other; what each reader sees must be what it saw at first."""
    stored, readers = 0, list[tuple[sqlite3.Connection, int]]()
    count = "SELECT count(*) FROM meta WHERE key LIKE 'n%'"

    def add(connection: Connection) -> None:
        sql = "INSERT INTO meta (key, value) VALUES (?, zeroblob(?))"
        connection.exec_driver_sql(sql, (f"n{stored}", 2 * MEGABYTE))

    async with open_serving(path) as database:
        for act in acts:
            match act:
                case "store":
                    await database.transact(add)
                    stored += 1
                case "read":
                    other = sqlite3.connect(path, isolation_level=None)
                    other.execute("BEGIN")
                    assert other.execute(count).fetchone() == (stored,)
                    readers.append((other, stored))
                case "read on":
                    for other, seen in readers:
                        assert other.execute(count).fetchone() == (seen,)
                case "leave" if readers:
                    readers.pop(0)[0].close()
                case "other's checkpoint":
                    with closing(sqlite3.connect(path)) as other:
                        other.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                case "copy":
                    copy = path.with_name("copy.db")
                    copy.unlink(missing_ok=True)
                    with closing(sqlite3.connect(path)) as other:
                        other.execute("VACUUM INTO ?", (str(copy),))
                    with closing(sqlite3.connect(copy)) as made:
                        assert made.execute(count).fetchone() == (stored,)
                case _:
                    await asyncio.sleep(0)
            assert database.fault is None
        for other, seen in readers:
            assert other.execute(count).fetchone() == (seen,)
            other.close()
    with closing(sqlite3.connect(path)) as left:
        assert left.execute(count).fetchone() == (stored,)
        assert left.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
