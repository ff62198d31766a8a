"""Connections to the database's file, each with what SQLite has to be told first."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.base.errors import StorageUnavailable
from app.storage.checkpoints import KEPT_BYTES
from app.storage.files import DatabaseFiles

PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    # An acknowledged write survives a power failure.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # A page whose cells do not fit together is an error, instead of rows that nobody stored.
    "PRAGMA cell_size_check = ON",
    # The write-ahead log stays no longer than this once it begins anew.
    f"PRAGMA journal_size_limit = {KEPT_BYTES}",
)

TEMPORARY_IN_MEMORY: Final = "PRAGMA temp_store = MEMORY"
"""SQLite opens files for what is temporary at any time, and there may be no descriptor then."""


# A connection that is opened when the file is gone must not make an empty one.
_OPEN_ONLY: Final = {"mode": "rw"}

# The statements of `Database` begin and end transactions: the driver adds none of its own.
_OPTIONS: Final[dict[str, Any]] = {
    "isolation_level": "AUTOCOMMIT",
    "skip_autocommit_rollback": True,
    "max_overflow": 0,
    "hide_parameters": True,
}


def async_engine(files: DatabaseFiles, connections: int, pragmas: Sequence[str]) -> AsyncEngine:
    """Return an engine of up to so many connections, of which each begins with the pragmas."""
    # At debug it logs parameters, which hold hashes of passwords and tokens.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    url = _url("sqlite+aiosqlite", files.path)
    engine = create_async_engine(url, pool_size=connections, **_OPTIONS)
    event.listen(engine.sync_engine, "connect", partial(_prepare, files, pragmas))
    return engine


def plain_engine(files: DatabaseFiles, connections: int, pragmas: Sequence[str]) -> Engine:
    """Return what `async_engine` does, for threads."""
    url = _url("sqlite+pysqlite", files.path)
    # A pooled connection is used by one thread at a time, though not always by the same.
    unbound = {"check_same_thread": False}
    engine = create_engine(url, pool_size=connections, connect_args=unbound, **_OPTIONS)
    event.listen(engine, "connect", partial(_prepare, files, pragmas))
    return engine


def uri_of(path: Path) -> str:
    """Return the name by which `sqlite3` opens the file, if it is there."""
    return f"file:{quote(str(path))}?{urlencode(_OPEN_ONLY)}"


def _url(driver: str, path: Path) -> URL:
    return URL.create(
        driver, database=f"file:{quote(str(path))}", query=_OPEN_ONLY | {"uri": "true"}
    )


def _prepare(
    files: DatabaseFiles, pragmas: Sequence[str], connection: Any, _record: object
) -> None:
    try:
        # Before any statement: a file that came in its place is somebody else's.
        files.check()
    except StorageUnavailable:
        connection.close()
        raise
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(pragma)
    cursor.close()
