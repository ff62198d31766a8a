"""The SQLite database: many readers, one writer at a time."""

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.storage.completion import complete
from app.storage.migration import migrate
from app.storage.schema import meta

# Each reader is a thread and a page cache; SQLite reads of one process gain nothing from more.
READERS = 4
# Other processes (a backup, a shell) may hold the lock for a moment.
BUSY_MILLISECONDS = 5000

_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}",
    "PRAGMA journal_mode = WAL",
    # An acknowledged write survives a power failure.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)


class Database:
    """An open database at the newest schema."""

    def __init__(self, path: Path) -> None:
        self.reader = _engine(path, READERS)
        self.writer = _engine(path, 1)
        self._writing = asyncio.Lock()
        self._epoch = ""

    @classmethod
    async def open(cls, path: Path) -> "Database":
        """Return the database at `path`, made if it is not there, readable by its owner only.

        Raises SettingsError when the database is newer than the code.
        """
        _create_private(path)
        database = cls(path)
        try:
            async with database.write() as connection:
                await connection.run_sync(migrate)
                database._epoch = await _epoch(connection)
        except BaseException:
            await database.close()
            raise
        return database

    async def epoch(self) -> str:
        """Return the incarnation of the numbering: an opaque string, made with the database."""
        return self._epoch

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection whose statements all see the database as of the first one."""
        async with self.reader.connect() as connection:
            await connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                await complete(_finish(connection, "ROLLBACK"))

    @asynccontextmanager
    async def lookup(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for one select: half the thread switches of `read`."""
        async with self.reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give the connection of the one writer, in a transaction.

        On leaving it is committed and on disk; after an error, nothing of it is there.
        """
        async with self._writing, self.writer.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                await complete(_finish(connection, "ROLLBACK"))
                raise
            await complete(_finish(connection, "COMMIT"))

    async def close(self) -> None:
        """All connections are closed and the write-ahead log is folded into the database."""
        await self.reader.dispose()
        await self.writer.dispose()


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal and -shm files the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _engine(path: Path, connections: int) -> AsyncEngine:
    # At debug it logs parameters, which hold hashes of passwords and tokens.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        # Transactions are begun and ended here, in words, so that each statement costs one switch
        # to the driver's thread and none is hidden.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


async def _finish(connection: AsyncConnection, statement: str) -> None:
    """End the transaction; a connection that can't is thrown away, and its transaction with it."""
    if connection.invalidated:
        return
    try:
        await connection.exec_driver_sql(statement)
    except BaseException:
        await connection.invalidate()
        raise


async def _epoch(connection: AsyncConnection) -> str:
    made = insert(meta).values(key="epoch", value=secrets.token_urlsafe(12))
    await connection.execute(made.on_conflict_do_nothing())
    found = await connection.execute(select(meta.c.value).where(meta.c.key == "epoch"))
    return str(found.scalar_one())
