"""The SQLite database: at the newest schema, with many readers and one writer at a time."""

import asyncio
import logging
import os
import secrets
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.base.counts import Histogram
from app.base.errors import StorageUnavailable
from app.base.metrics import Metrics
from app.base.tasks import complete
from app.storage import sums
from app.storage.checkpoints import NEVER_IN_COMMITS, Checkpoints, Mode
from app.storage.engines import PRAGMAS, TEMPORARY_IN_MEMORY, async_engine, plain_engine, uri_of
from app.storage.faults import Faults
from app.storage.files import DatabaseFiles
from app.storage.room import Room
from app.storage.schema import meta
from app.storage.upgrading import due_upgrade, migrate, told
from app.storage.worker import Worker

T = TypeVar("T")

DATABASE_NAME = "switchboard.db"
"""The database's file in the data folder."""

# Each reader is a thread and a page cache; SQLite reads of one process gain nothing from more.
READERS = 4
SNAPSHOT_READERS = 2
# Other processes (a backup, a shell) may hold the lock for a moment.
BUSY_MILLISECONDS = 5000
# Between two looks at the files, while nobody reads or writes.
WATCH_SECONDS = 1.0

COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""In seconds: an SSD takes a few milliseconds, a disk that turns ten, a busy one a second."""

log = logging.getLogger(__name__)


class Database:
    """An open database at the newest schema.

    Every use raises StorageUnavailable once the files that were opened are not in their place any
    more, and works again when the same files are back (`app.storage.files`).
    """

    def __init__(self, files: DatabaseFiles, busy_milliseconds: int = BUSY_MILLISECONDS) -> None:
        self._files = files
        self._writer_pragmas = [f"PRAGMA busy_timeout = {busy_milliseconds}", *PRAGMAS]
        pragmas = [*self._writer_pragmas, TEMPORARY_IN_MEMORY]
        self.reader = async_engine(files, READERS, pragmas)
        self.writer = async_engine(files, 1, self._writer_pragmas)
        self._snapshots = Worker(
            plain_engine(files, SNAPSHOT_READERS, pragmas),
            SNAPSHOT_READERS,
            "BEGIN",
            files.check,
        )
        self._commit_seconds = Histogram(COMMIT_BUCKETS)
        self._transaction_pragmas = [*pragmas]
        self._transactions = Worker(
            plain_engine(files, 1, self._transaction_pragmas),
            1,
            "BEGIN IMMEDIATE",
            files.check,
            self._commit_seconds.observe,
        )
        self._room = Room(files.path)
        self._inspections = Worker(plain_engine(files, 1, pragmas), 1, "BEGIN", files.check)
        self.faults = Faults()
        self._inspecting: Any = None
        self._writing = asyncio.Lock()
        self._checkpoints = Checkpoints(files, self._writing)

    @classmethod
    async def open(cls, path: Path, busy_milliseconds: int = BUSY_MILLISECONDS) -> "Database":
        """Return the database at `path`; make it if it is not there, readable by its owner only.

        A write waits `busy_milliseconds` for another process. Raises SettingsError when the
        database is newer than the code.
        """
        _create_private(path)
        database = cls(DatabaseFiles(path), busy_milliseconds)
        try:
            await database._begin()
        except BaseException:
            await database.close()
            raise
        return database

    @property
    def path(self) -> Path:
        """The file of the database."""
        return self._files.path

    @property
    def fault(self) -> str | None:
        """What is wrong with the files, as far as is known; None while they are in place."""
        return self._files.fault

    @property
    def wal_bytes(self) -> int:
        """The size of the write-ahead log's file; 0 on Windows, where it is not known."""
        return self._files.wal_bytes

    @property
    def checkpoint_seconds(self) -> float:
        """How long the last copying of the write-ahead log into the database took."""
        return self._checkpoints.seconds

    def show_on(self, metrics: Metrics) -> None:
        """Show whether the files are in place, how large they are, and how fast the disk is."""
        metrics.watch(
            "database_in_place",
            "1 if the database's files are in their place, 0 if they are gone.",
            lambda: self.fault is None,
        )
        self.faults.show_on(metrics)
        self._room.show_on(metrics)
        metrics.watch_histogram(
            "commit_seconds",
            "Transactions of the one writer, from their begin until they are on the disk.",
            self._commit_seconds,
        )

    async def watch(self) -> None:
        """Look at the files from time to time, until cancelled.

        After a fault it also tries to write, so that the server knows when the storage works again
        although it was told to store nothing meanwhile.
        """
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            # Not for a scrape: a disk that hangs must hold up nobody who asks how things are.
            await asyncio.to_thread(self._look)
            if self.faults.current is not None and self.fault is None:
                await self._try_to_write()

    async def run_checkpoints(self) -> None:
        """Copy the write-ahead log into the database when it is long, until cancelled.

        After `open_connections` no commit does so any more.
        """
        await self._checkpoints.run()

    def _look(self) -> None:
        self._files.look()
        self._room.look()

    async def _try_to_write(self) -> None:
        with suppress(SQLAlchemyError, StorageUnavailable):
            async with self.write() as connection:
                # Writes a page, though it changes nothing.
                await connection.execute(update(meta).values(value=meta.c.value))

    async def open_connections(self) -> None:
        """Open every connection that there may ever be, so that no use needs a new descriptor.

        Nothing was passed to `transact` before. From now on `run_checkpoints` has to run.
        """
        # The one that upgraded the schema let SQLite put what is temporary into files.
        await self.writer.dispose()
        self._writer_pragmas.append(TEMPORARY_IN_MEMORY)
        if sys.platform != "win32":
            # There nobody can tell how long the log is.
            self._writer_pragmas.append(NEVER_IN_COMMITS)
            self._transaction_pragmas.append(NEVER_IN_COMMITS)
        for engine, count in ((self.reader, READERS), (self.writer, 1)):
            async with AsyncExitStack() as held:
                for _ in range(count):
                    await held.enter_async_context(engine.connect())
        for worker in (self._snapshots, self._transactions, self._inspections):
            await worker.open_connections()

    async def epoch(self) -> str:
        """Return the epoch of the streams: an opaque string, made with the database."""
        async with self.lookup() as connection:
            found = await connection.execute(select(meta.c.value).where(meta.c.key == "epoch"))
            return str(found.scalar_one())

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection whose statements all see the database as of the first one."""
        with self._files.in_place():
            async with self.reader.connect() as connection:
                await connection.exec_driver_sql("BEGIN")
                try:
                    yield connection
                finally:
                    await complete(_finish(connection, "ROLLBACK"))

    @asynccontextmanager
    async def lookup(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for one select: half the thread switches of `read`."""
        with self._files.in_place():
            async with self.reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give the connection of the one writer, in a transaction.

        Leaving the block commits it to the disk; an error rolls all of it back. Raises
        StorageUnavailable when the disk is full, or the database locked or read-only; a write that
        had to wait for another one shares its fault, instead of waiting for the same once more.
        """
        in_line = self._writing.locked()
        async with self._writing:
            if in_line and self.faults.current is not None:
                raise self.faults.unavailable()
            with self._files.in_place(), self.faults.of_a_change():
                async with self.writer.connect() as connection:
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                    try:
                        yield connection
                        self._files.check()
                    except BaseException:
                        await complete(_finish(connection, "ROLLBACK"))
                        raise
                    await complete(_finish(connection, "COMMIT"))
        self._checkpoints.look()

    async def snapshot(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns; it sees the database as of its first statement.

        It runs in a thread, with one switch there and back: a tenth of the cost of `read`.
        """
        return await self._snapshots.run(work)

    async def transact(
        self, work: Callable[[Connection], T], then: Callable[[T], None] | None = None
    ) -> T:
        """Run `work` in a transaction, commit it to the disk and return what `work` returned.

        `then` gets that too, after the commit. Both run in the writer's thread, with one switch
        there and back. An error of `work` rolls all of it back, one of `then` nothing.
        """
        async with self._writing:
            if self._files.fault is not None:
                self._files.check()
            result = await self._transactions.run(work, then)
        self.faults.written()
        self._checkpoints.look()
        return result

    async def inspect(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns, as `snapshot` does, for work that may take minutes.

        It has a thread of its own, so that it holds up no reader.
        """

        def watched(connection: Connection) -> T:
            self._inspecting = connection.connection.driver_connection
            try:
                return work(connection)
            finally:
                self._inspecting = None

        return await self._inspections.run(watched)

    def interrupt_inspection(self) -> None:
        """Have the statement that `inspect` runs, if any, fail at once."""
        inspecting = self._inspecting
        if inspecting is not None:
            inspecting.interrupt()

    async def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log into the database.

        None does if the files are not in their place any more.
        """
        self.interrupt_inspection()
        await self._inspections.close()
        self._files.keep_log()
        await self._snapshots.close()
        await self._transactions.close()
        await self.reader.dispose()
        await self.writer.dispose()
        self._checkpoints.close()
        self._files.close()

    async def _begin(self) -> None:
        """Bring the database to the newest schema, and tell how long that takes if it is older."""
        async with self.write() as connection:
            due = await connection.run_sync(due_upgrade)
        if due is None:
            await self._migrate()
            self._hold_log("PASSIVE")
            self._room.look()
            return
        async with told(due, _size(self._files.path)):
            await self._migrate()
            # What an upgrade has written to the log can be as large as the database.
            await asyncio.to_thread(self._hold_log, "TRUNCATE")

    async def _migrate(self) -> None:
        async with self.write() as connection:
            await connection.run_sync(migrate)
            await connection.run_sync(sums.install)
            await _make_epoch(connection)

    def _hold_log(self, mode: Mode) -> None:
        """Hold the write-ahead log open: while a connection does, no other removes it.

        What an unclean stop has left in it is copied, so that changes from now on show.
        """
        uri = uri_of(self._files.path)
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        self._checkpoints.hold(connection, mode)
        self._files.watch_log()


def _size(path: Path) -> int:
    return path.stat().st_size


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal and -shm files the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


async def _finish(connection: AsyncConnection, statement: str) -> None:
    """End the transaction, by throwing the connection away if its statement fails."""
    if connection.invalidated:
        return
    try:
        await connection.exec_driver_sql(statement)
    except BaseException:
        await connection.invalidate()
        raise


async def _make_epoch(connection: AsyncConnection) -> None:
    made = insert(meta).values(key="epoch", value=secrets.token_urlsafe(12))
    await connection.execute(made.on_conflict_do_nothing())
