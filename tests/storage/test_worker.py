"""Whole transactions in a thread."""

import asyncio
import gc
import threading
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import IntegrityError

from app.storage.database import SNAPSHOT_READERS, Database
from app.storage.worker import Worker


def insert(connection: Connection, key: str = "a") -> str:
    connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES (?, 'x')", (key,))
    return threading.current_thread().name


def keys(connection: Connection) -> list[str]:
    found = connection.exec_driver_sql("SELECT key FROM meta WHERE key <> 'epoch' ORDER BY key")
    return list(found.scalars())


async def test_what_work_wrote_is_there_when_it_is_told_and_then_comes_after(
    database: Database,
) -> None:
    async def look() -> list[str]:
        return await database.snapshot(keys)

    loop = asyncio.get_running_loop()
    seen: list[list[str]] = []

    def then(_name: str) -> None:
        seen.append(asyncio.run_coroutine_threadsafe(look(), loop).result())

    name = await database.transact(insert, then)
    assert seen == [["a"]]
    assert name != threading.current_thread().name


async def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(
    database: Database,
) -> None:
    def twice(connection: Connection) -> None:
        insert(connection, "b")
        insert(connection, "b")

    with pytest.raises(IntegrityError):
        await database.transact(twice)
    await database.transact(insert)
    assert await database.snapshot(keys) == ["a"]


async def test_after_a_failure_of_then_everything_is_there(database: Database) -> None:
    def then(_name: str) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await database.transact(insert, then)
    assert await database.snapshot(keys) == ["a"]


async def test_a_transaction_that_sqlite_has_ended_itself_harms_no_other(
    database: Database,
) -> None:
    def end(connection: Connection) -> None:
        insert(connection, "b")
        connection.exec_driver_sql("ROLLBACK")

    with pytest.raises(Exception, match="no transaction is active"):
        await database.transact(end)
    await database.transact(insert)
    assert await database.snapshot(keys) == ["a"]


async def test_a_cancelled_caller_is_told_after_the_commit(database: Database) -> None:
    task = asyncio.create_task(database.transact(insert))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await database.snapshot(keys) == ["a"]


async def test_both_kinds_of_writers_take_turns(database: Database) -> None:
    async def write(key: str) -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql("INSERT INTO meta VALUES (?, 'x')", (key,))

    work = [database.transact(lambda one, n=n: insert(one, f"t{n}")) for n in range(5)]
    await asyncio.gather(*work, *(write(f"w{n}") for n in range(5)))
    assert len(await database.snapshot(keys)) == 10


async def test_a_snapshot_does_not_see_what_is_written_meanwhile(database: Database) -> None:
    loop = asyncio.get_running_loop()

    def look(connection: Connection) -> list[str]:
        keys(connection)
        asyncio.run_coroutine_threadsafe(database.transact(insert), loop).result()
        return keys(connection)

    assert await database.snapshot(look) == []
    assert await database.snapshot(keys) == ["a"]


async def test_a_fault_leaves_no_reader_at_an_old_state(database: Database) -> None:
    """A cursor that is open keeps its snapshot, and the error knows the frame that has it."""

    def fail(connection: Connection) -> None:
        rows = connection.exec_driver_sql("SELECT key FROM meta")
        next(iter(rows))
        raise TypeError

    for key in "abcd":
        await database.transact(partial(insert, key=key))
    gc.disable()
    try:
        for _ in range(SNAPSHOT_READERS):
            with pytest.raises(TypeError):
                await database.snapshot(fail)
        await database.transact(partial(insert, key="e"))
        for _ in range(SNAPSHOT_READERS):
            assert await database.snapshot(keys) == [*"abcde"]
    finally:
        gc.enable()


async def test_a_thread_that_does_not_start_is_tried_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            await database.snapshot(keys)
    assert await database.snapshot(keys) == []


async def test_what_comes_after_the_close_is_refused(path: Path) -> None:
    database = await Database.open(path)
    await database.snapshot(keys)
    await database.close()
    with pytest.raises(RuntimeError, match="closed"):
        await database.snapshot(keys)


async def test_a_cancelled_close_has_closed(database: Database, path: Path) -> None:
    # Like those of a database: another thread than the one that used a connection closes it.
    engine = create_engine(
        f"sqlite:///{path}",
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False},
    )
    worker = Worker(engine, 1, "BEGIN IMMEDIATE", lambda: None)
    release = threading.Event()

    def wait(connection: Connection) -> None:
        insert(connection)
        release.wait()

    writing = asyncio.create_task(worker.run(wait))
    await asyncio.sleep(0)
    closing = asyncio.create_task(worker.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.sleep(0)
    assert not closing.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await writing
    with pytest.raises(RuntimeError, match="closed"):
        await worker.run(keys)
    assert await database.snapshot(keys) == ["a"]
