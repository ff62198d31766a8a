"""Once the database is gone nothing is acknowledged, and nothing is read from what came instead."""

import asyncio
import logging
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from app.base.errors import StorageUnavailable
from app.storage.database import Database
from app.storage.files import DatabaseFiles
from tests.serving import PATIENCE

Act = Callable[[Path], None]

INSERT = text("INSERT INTO meta (key, value) VALUES (:key, 'x')")


def companion(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def remove(path: Path) -> None:
    path.unlink()


def rename(path: Path) -> None:
    path.rename(companion(path, ".bak"))


def link(path: Path) -> None:
    os.link(path, companion(path, ".bak"))


def put_back(path: Path) -> None:
    companion(path, ".bak").replace(path)


def look(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


def rename_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace_by_the_folder_of_another(path: Path) -> None:
    copy = path.parent.with_name("copy")
    shutil.copytree(path.parent, copy)
    rename_the_folder(path)
    copy.rename(path.parent)


def move_another_over_it(path: Path) -> None:
    move_over(path, make_other(path))


def move_a_copy_over_it(path: Path) -> None:
    copy = companion(path, ".copy")
    shutil.copy(path, copy)
    move_over(path, copy)


def move_over(path: Path, other: Path) -> None:
    other.replace(path)


def copy_another_over_it(path: Path) -> None:
    path.write_bytes(make_other(path).read_bytes())


def make_other(path: Path) -> Path:
    other = companion(path, ".other")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE sessions (id)")
        connection.execute("INSERT INTO sessions SELECT zeroblob(1000000)")
        connection.commit()
    return other


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def overwrite_the_beginning(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(4096))


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(4096))


def remove_the_log(path: Path) -> None:
    companion(path, "-wal").unlink()


def remove_the_index(path: Path) -> None:
    companion(path, "-shm").unlink()


def replace_the_log(path: Path) -> None:
    log = companion(path, "-wal")
    copy = companion(path, ".log")
    shutil.copy(log, copy)
    copy.replace(log)


def turn_a_link(path: Path) -> None:
    real = path.with_name("real.db")
    path.rename(real)
    path.symlink_to(make_other(path))


ACTS = (
    *(remove, rename, rename_the_folder, replace_by_the_folder_of_another),
    *(move_another_over_it, move_a_copy_over_it, copy_another_over_it, empty, cut),
    *(overwrite_the_beginning, lengthen, remove_the_log, replace_the_log, turn_a_link),
)
acts = pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "a.db"


def insert(connection: Connection, key: str) -> None:
    connection.execute(INSERT, {"key": key})


async def write(database: Database, key: str) -> None:
    async with database.write() as connection:
        await connection.execute(INSERT, {"key": key})


async def lookup(database: Database) -> list[str]:
    async with database.lookup() as connection:
        return list((await connection.exec_driver_sql("SELECT key FROM meta")).scalars())


async def read(database: Database) -> None:
    async with database.read() as connection:
        await connection.exec_driver_sql("SELECT key FROM meta")


async def fail(database: Database) -> None:
    async with database.lookup():
        raise KeyError


USES: tuple[Callable[[Database], Awaitable[object]], ...] = (
    lambda database: database.transact(lambda one: insert(one, "t")),
    lambda database: database.snapshot(lambda one: None),
    lambda database: write(database, "w"),
    *(lookup, read, fail),
)


@acts
async def test_no_use_of_the_database_succeeds_once_it_is_gone(
    database: Database, path: Path, act: Act
) -> None:
    await database.transact(lambda one: insert(one, "a"))
    await write(database, "b")
    act(path)
    for use in USES:
        with pytest.raises(StorageUnavailable):
            await use(database)
    assert database.fault


@acts
async def test_a_commit_during_which_it_vanishes_is_not_acknowledged(
    database: Database, path: Path, act: Act
) -> None:
    def work(connection: Connection) -> None:
        insert(connection, "a")
        act(path)

    with pytest.raises(StorageUnavailable):
        await database.transact(work)


async def test_what_was_not_acknowledged_is_told_to_nobody(database: Database, path: Path) -> None:
    told: list[None] = []

    def work(connection: Connection) -> None:
        insert(connection, "a")
        path.unlink()

    with pytest.raises(StorageUnavailable):
        await database.transact(work, told.append)
    assert not told


@pytest.mark.parametrize("use", USES[:5])
async def test_it_goes_on_when_the_same_file_is_back(
    database: Database, path: Path, use: Callable[[Database], Awaitable[object]]
) -> None:
    rename(path)
    shutil.copy(companion(path, ".bak"), path)
    with pytest.raises(StorageUnavailable):
        await use(database)
    put_back(path)
    await use(database)
    assert database.fault is None


async def test_a_write_that_is_refused_is_not_there_when_the_file_is_back(
    database: Database, path: Path
) -> None:
    rename(path)
    with pytest.raises(StorageUnavailable):
        await write(database, "a")
    with pytest.raises(StorageUnavailable):
        await database.transact(lambda one: insert(one, "a"))
    put_back(path)
    assert "a" not in await lookup(database)


def bar(path: Path) -> None:
    path.chmod(0)


@pytest.mark.parametrize("act", [remove, remove_the_index, bar], ids=lambda act: act.__name__)
async def test_the_watch_sees_it_without_any_use(
    database: Database,
    path: Path,
    act: Act,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if act is bar and os.geteuid() == 0:
        # Root may do everything: have the system say what it says to others.
        monkeypatch.setattr(os, "access", lambda *_: False)
    watching = asyncio.create_task(database.watch())
    act(path)
    async with asyncio.timeout(PATIENCE):
        # The line comes after the fault is known, from another thread.
        while not caplog.records:  # noqa: ASYNC110 (nothing announces it)
            await asyncio.sleep(0.01)
    watching.cancel()
    assert database.fault is not None
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]


async def test_what_the_watch_found_holds_while_it_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    path.touch()
    files = DatabaseFiles(path)
    checked = []

    def check_meanwhile(*_: object) -> bool:
        """Do what a commit does while the watch asks the system."""
        with pytest.raises(StorageUnavailable):
            files.check()
        checked.append(files.fault)
        return False

    monkeypatch.setattr(os, "access", lambda *_: False)
    files.look()
    assert files.fault is not None
    monkeypatch.setattr(os, "access", check_meanwhile)
    files.look()
    assert checked == [files.fault]
    files.close()


async def test_of_each_change_one_line_is_logged(
    database: Database, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app")
    for _ in range(2):
        rename(path)
        for _ in range(3):
            with pytest.raises(StorageUnavailable):
                await lookup(database)
        put_back(path)
        for _ in range(3):
            await lookup(database)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["CRITICAL", "WARNING"] * 2
    assert str(path) in str(caplog.records[0].__dict__["fields"])


@pytest.mark.parametrize("act", [remove, move_another_over_it], ids=lambda act: act.__name__)
async def test_no_connection_is_opened_to_what_came_in_its_place(
    database: Database, path: Path, act: Act
) -> None:
    link(path)
    with suppress(StorageUnavailable):
        # This holds the one connection that is open.
        async with database.lookup():
            act(path)
            before = look(path)
            with pytest.raises(StorageUnavailable):
                await lookup(database)
    assert look(path) == before
    put_back(path)
    async with database.lookup():
        assert "epoch" in await lookup(database)


@pytest.mark.parametrize("statement", ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "SELECT 1"])
async def test_another_program_may_use_the_database_as_sqlite_allows(
    database: Database, path: Path, statement: str
) -> None:
    def fill(connection: Connection) -> None:
        for number in range(200):
            connection.exec_driver_sql(
                "INSERT INTO meta VALUES (?, ?)", (f"{number}", "x" * 10_000)
            )

    for round_ in range(3):
        await database.transact(fill)
        await database.transact(lambda one: one.exec_driver_sql("DELETE FROM meta") and None)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute(statement)
        await database.transact(lambda one, key=f"k{round_}": insert(one, key))
        assert await lookup(database)
        os.utime(path)
        await write(database, f"w{round_}")
    assert database.fault is None


async def test_checkpoints_of_writers_and_readers_at_once_look_like_nothing_else(
    database: Database,
) -> None:
    def fill(connection: Connection, first: int) -> None:
        for number in range(first, first + 40):
            connection.exec_driver_sql(
                "INSERT INTO meta VALUES (?, ?)", (f"{number}", "x" * 10_000)
            )

    async def watch() -> None:
        while True:
            await lookup(database)
            await database.snapshot(lambda one: one.exec_driver_sql("SELECT 1") and None)

    watching = [asyncio.create_task(watch()) for _ in range(3)]
    for number in range(60):
        await database.transact(lambda one, n=number: fill(one, n * 40))
        if number % 7 == 0:
            await database.transact(
                lambda one: one.exec_driver_sql("DELETE FROM meta WHERE key <> 'epoch'") and None
            )
    assert not any(task.done() for task in watching)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)


async def test_a_log_is_not_folded_into_a_file_that_was_cut(path: Path) -> None:
    database = await Database.open(path)
    await write(database, "a")
    log = companion(path, "-wal").read_bytes()
    empty(path)
    with suppress(StorageUnavailable):
        await lookup(database)
    await database.close()
    assert look(path) == 0
    assert companion(path, "-wal").read_bytes() == log
