"""The SQLite database: at the newest schema, with many readers and one writer at a time."""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.base.errors import SettingsError
from app.base.logs import fields
from app.base.tasks import complete
from app.storage.schema import meta
from app.storage.worker import Worker

T = TypeVar("T")

DATABASE_NAME = "switchboard.db"
"""The database's file in the data folder."""

# Each reader is a thread and a page cache; SQLite reads of one process gain nothing from more.
READERS = 4
SNAPSHOT_READERS = 2
# Other processes (a backup, a shell) may hold the lock for a moment.
BUSY_MILLISECONDS = 5000

log = logging.getLogger(__name__)

_MIGRATIONS = Path(__file__).parent / "migrations"

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    # An acknowledged write survives a power failure.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)


class Database:
    """An open database at the newest schema."""

    def __init__(self, path: Path, busy_milliseconds: int = BUSY_MILLISECONDS) -> None:
        self.reader = _engine(path, READERS, busy_milliseconds)
        self.writer = _engine(path, 1, busy_milliseconds)
        self._snapshots = Worker(
            _plain_engine(path, SNAPSHOT_READERS, busy_milliseconds), SNAPSHOT_READERS, "BEGIN"
        )
        self._transactions = Worker(_plain_engine(path, 1, busy_milliseconds), 1, "BEGIN IMMEDIATE")
        self._writing = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, busy_milliseconds: int = BUSY_MILLISECONDS) -> "Database":
        """Return the database at `path`; make it if it is not there, readable by its owner only.

        A write waits `busy_milliseconds` for another process. Raises SettingsError when the
        database is newer than the code.
        """
        _create_private(path)
        database = cls(path, busy_milliseconds)
        try:
            async with database.write() as connection:
                await connection.run_sync(migrate)
                await _make_epoch(connection)
        except BaseException:
            await database.close()
            raise
        return database

    async def epoch(self) -> str:
        """Return the epoch of the streams: an opaque string, made with the database."""
        async with self.lookup() as connection:
            found = await connection.execute(select(meta.c.value).where(meta.c.key == "epoch"))
            return str(found.scalar_one())

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

        Leaving the block commits it to the disk; an error rolls all of it back.
        """
        async with self._writing, self.writer.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                await complete(_finish(connection, "ROLLBACK"))
                raise
            await complete(_finish(connection, "COMMIT"))

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
            return await self._transactions.run(work, then)

    async def close(self) -> None:
        """Close every connection; the last one folds the write-ahead log into the database."""
        await self._snapshots.close()
        await self._transactions.close()
        await self.reader.dispose()
        await self.writer.dispose()


def migrate(connection: Connection) -> None:
    """Bring the database to the newest schema, in the caller's transaction: all or nothing.

    Raises SettingsError when a newer version of the code has changed the database.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    # ConfigParser reads a single % as the start of a variable.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current not in {None, *(script.revision for script in scripts.walk_revisions())}:
        raise SettingsError(
            ["The database was written by a newer version of Switchboard: run that version."]
        )
    if current is None:
        command.upgrade(config, "head")
        return
    # Millions of rows may take minutes, in which nobody can connect.
    log.info("database is brought to a newer schema", extra=fields(schema=current))
    began = time.monotonic()
    command.upgrade(config, "head")
    took = round(time.monotonic() - began, 1)
    log.info("database has the newest schema", extra=fields(seconds=took))


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its -wal and -shm files the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


# Statements of this module begin and end transactions: the driver adds none of its own.
_OPTIONS: dict[str, Any] = {
    "isolation_level": "AUTOCOMMIT",
    "skip_autocommit_rollback": True,
    "max_overflow": 0,
    "hide_parameters": True,
}


def _engine(path: Path, connections: int, busy_milliseconds: int) -> AsyncEngine:
    # At debug it logs parameters, which hold hashes of passwords and tokens.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    url = URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(url, pool_size=connections, **_OPTIONS)
    event.listen(engine.sync_engine, "connect", partial(_prepare, busy_milliseconds))
    return engine


def _plain_engine(path: Path, connections: int, busy_milliseconds: int) -> Engine:
    url = URL.create("sqlite+pysqlite", database=str(path))
    # A pooled connection is used by one thread at a time, though not always by the same.
    unbound = {"check_same_thread": False}
    engine = create_engine(url, pool_size=connections, connect_args=unbound, **_OPTIONS)
    event.listen(engine, "connect", partial(_prepare, busy_milliseconds))
    return engine


def _prepare(busy_milliseconds: int, connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {busy_milliseconds}")
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


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
