"""Opening, reading and writing the database."""

import asyncio
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from app.base.errors import SettingsError
from app.storage.database import Database
from app.storage.upgrading import migrate

INSERT = text("INSERT INTO meta (key, value) VALUES (:key, 'x')")
COUNT = text("SELECT count(*) FROM meta WHERE key <> 'epoch'")


async def count(database: Database) -> int:
    async with database.read() as connection:
        return int((await connection.execute(COUNT)).scalar_one())


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_only_the_owner_can_read_the_files(
    database: Database, path: Path, suffix: str
) -> None:
    file = path.with_name(path.name + suffix)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)],
)
async def test_each_connection_is_durable_and_checks_references(
    database: Database, pragma: str, value: object
) -> None:
    for use in (database.read, database.lookup, database.write):
        async with use() as connection:
            found = await connection.exec_driver_sql(f"PRAGMA {pragma}")
            assert found.scalar_one() == value


async def test_what_was_written_is_there_after_opening_again(path: Path) -> None:
    database = await Database.open(path)
    async with database.write() as connection:
        await connection.execute(INSERT, {"key": "a"})
    epoch = await database.epoch()
    await database.close()

    again = await Database.open(path)
    assert (await count(again), await again.epoch()) == (1, epoch)
    await again.close()


async def test_each_database_has_an_epoch_of_its_own(database: Database, tmp_path: Path) -> None:
    other = await Database.open(tmp_path / "other.db")
    assert await other.epoch()
    assert await other.epoch() != await database.epoch()
    await other.close()


async def test_a_failed_write_leaves_nothing_and_the_next_one_works(database: Database) -> None:
    async def fail() -> None:
        async with database.write() as connection:
            await connection.execute(INSERT, {"key": "a"})
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with database.write() as connection:
        await connection.execute(INSERT, {"key": "b"})
    assert await count(database) == 1


async def test_a_write_cancelled_in_a_statement_leaves_nothing(database: Database) -> None:
    started = asyncio.Event()

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(INSERT, {"key": "a"})
            started.set()
            # Enough rows to be still at it when the cancellation comes.
            await connection.exec_driver_sql(
                "INSERT INTO meta WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                " WHERE i < 300000) SELECT 'n' || i, '' FROM n"
            )

    task = asyncio.create_task(write())
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as connection:
        await connection.execute(INSERT, {"key": "b"})
    assert await count(database) == 1


async def test_a_write_cancelled_in_its_commit_is_on_disk_when_that_is_told(
    database: Database,
) -> None:
    leaving = asyncio.Event()

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(INSERT, {"key": "a"})
            leaving.set()

    task = asyncio.create_task(write())
    await leaving.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count(database) == 1


async def test_writers_take_turns(database: Database) -> None:
    seen: list[int] = []

    async def write(key: str) -> None:
        async with database.write() as connection:
            before = (await connection.execute(COUNT)).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(INSERT, {"key": key})
            seen.append(before)

    await asyncio.gather(*(write(f"k{number}") for number in range(10)))
    assert sorted(seen) == list(range(10))


async def test_a_read_sees_one_snapshot(database: Database) -> None:
    async with database.read() as connection:
        before = (await connection.execute(COUNT)).scalar_one()
        async with database.write() as writer:
            await writer.execute(INSERT, {"key": "a"})
        assert (await connection.execute(COUNT)).scalar_one() == before
    assert await count(database) == before + 1


async def test_a_read_that_fails_gives_its_connection_back_clean(database: Database) -> None:
    for _ in range(10):
        with pytest.raises(KeyError):
            async with database.read():
                raise KeyError
    assert await count(database) == 0


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    database = await Database.open(path)
    async with database.write() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await database.close()
    with pytest.raises(SettingsError, match="newer version of Switchboard"):
        await Database.open(path)
    kept = sqlite3.connect(path)
    assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    kept.close()


async def test_opening_prints_nothing_and_needs_no_certain_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    database = await Database.open(Path("here") / "a.db")
    await database.close()
    assert [file.name for file in (tmp_path / "here").iterdir()] == ["a.db"]
    assert capfd.readouterr() == ("", "")


def at_schema(path: Path, revision: str) -> None:
    path.parent.mkdir(exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, revision)
    engine.dispose()


async def test_an_upgrade_tells_when_it_begins_and_how_long_it_took(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    at_schema(path, "0004")
    for _ in range(2):
        await (await Database.open(path)).close()
    assert [record.getMessage() for record in caplog.records] == [
        "upgrading the database",
        "database upgraded",
    ]


async def test_a_new_database_is_no_upgrade(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await (await Database.open(path)).close()
    assert not caplog.records


async def test_an_upgrade_leaves_no_large_log_behind(path: Path) -> None:
    at_schema(path, "0004")
    database = await Database.open(path)
    assert size(path.with_name(f"{path.name}-wal")) == 0
    await database.close()


async def test_an_upgrade_that_takes_long_tells_that_it_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.storage.upgrading.STILL_SECONDS", 0.0)
    at_schema(path, "0001")
    await (await Database.open(path)).close()
    assert "still upgrading the database" in [record.getMessage() for record in caplog.records]


def size(path: Path) -> int:
    return path.stat().st_size


async def test_an_inspection_holds_up_no_reader_and_ends_when_interrupted(
    database: Database,
) -> None:
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    begun = threading.Event()

    def work(connection: Connection) -> None:
        begun.set()
        connection.exec_driver_sql(f"{numbers} SELECT max(i) FROM n").all()

    inspecting = asyncio.create_task(database.inspect(work))
    await asyncio.to_thread(begun.wait)
    assert await database.snapshot(lambda one: one.exec_driver_sql("SELECT 1").scalar_one()) == 1
    while not inspecting.done():
        # The statement may not have begun yet.
        database.interrupt_inspection()
        await asyncio.sleep(0)
    with pytest.raises(OperationalError, match="interrupted"):
        await inspecting
