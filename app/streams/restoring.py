"""Puts a database back in place of the one in a data folder, or where there is none.

All is prepared in a copy beside the database: it is checked, brought to the newest schema, and
begins a generation of the streams. Then the copy takes the database's name. At whatever instant a
crash interrupts this, the folder has the old database or the new one, whole, and a guard that
vouches for it. The caller holds the lock of the data folder.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, create_engine, delete, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.base.errors import SettingsError
from app.base.files import give_to_owner, remove, sync_file, sync_folder
from app.storage.backup import (
    FAULTS_TOLD,
    BackupFault,
    Contents,
    Progress,
    Verify,
    companions,
    copy_database,
    find_faults,
    open_source,
    read_contents,
    require_space,
)
from app.storage.schema import milliseconds, sessions, users
from app.storage.upgrading import migrate
from app.streams.generation import Guard, Mark, begin_restored

_BUSY_SECONDS: Final = 2.0
"""How long to wait for another program that reads the database to be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was put back; `aside` is the database that was there, which is kept."""

    contents: Contents
    aside: Path | None
    sessions_ended: int


def check_backup(source: Path, verify: Verify = find_faults) -> Contents:
    """Return what the file holds; raise BackupFault if it is damaged, and OSError."""
    contents = read_contents(source)
    _refuse_damaged(source, source, verify)
    return contents


def restore(
    source: Path,
    database: Path,
    guard_path: Path,
    *,
    replace: bool = False,
    sign_out: bool = False,
    progress: Progress = lambda done, total: None,
    verify: Verify = find_faults,
    clock: Callable[[], float] = time.time,
) -> Restored:
    """Put the database in the file `source` in place of `database`, and return what was done.

    `replace` allows that there is one, which is kept under another name. `sign_out` ends all
    sessions and JWTs of before. Raises BackupFault, after which all is as it was, and OSError.
    """
    # SQLite follows links, and puts its other files beside the file that it finds.
    database = database.resolve()
    if source.resolve() == database:
        raise BackupFault(f"{source} is the database itself.")
    if database.exists() and not replace:
        raise BackupFault(f"{database} is there; --replace puts it aside.")
    contents = read_contents(source)
    require_space(database.parent, contents.bytes)
    candidate = database.with_name(f"{database.name}.restoring")
    with _candidate(candidate):
        _copy(source, candidate, progress)
        _refuse_damaged(candidate, source, verify)
        mark, ended = _prepare(candidate, source, sign_out_at=clock() if sign_out else None)
        give_to_owner(database.parent, candidate)
        sync_file(candidate)
        aside = _switch(candidate, database, guard_path, mark, clock)
    return Restored(contents=contents, aside=aside, sessions_ended=ended)


@contextmanager
def _candidate(path: Path) -> Iterator[None]:
    """Make the file, for its owner only; remove what is left of it, also that of a crash before."""
    remove(path, *companions(path))
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield
    finally:
        remove(path, *companions(path))


def _copy(source: Path, candidate: Path, progress: Progress) -> None:
    try:
        with closing(open_source(source)) as connection:
            copy_database(connection, candidate, progress)
    except sqlite3.Error as error:
        raise BackupFault(f"{source}: {error}.") from None


def _refuse_damaged(path: Path, named: Path, verify: Verify) -> None:
    if faults := verify(path):
        raise BackupFault(f"{named} is damaged: {' '.join(faults[:FAULTS_TOLD])}")


def _prepare(candidate: Path, source: Path, *, sign_out_at: float | None) -> tuple[Mark, int]:
    """Make the copy what the server will find; return its mark and how many sessions ended."""
    try:
        with _writing(candidate) as connection:
            migrate(connection)
            connection.exec_driver_sql("DROP TABLE IF EXISTS backup")
            ended = _sign_out(connection, sign_out_at) if sign_out_at is not None else 0
            return begin_restored(connection), ended
    except SettingsError:
        raise BackupFault(
            f"{source} was written by a newer version of Switchboard: restore it with that version."
        ) from None
    except DBAPIError as error:
        raise BackupFault(f"{source} cannot be used: {error.orig}.") from None


@contextmanager
def _writing(path: Path) -> Iterator[Connection]:
    """Give a connection in a transaction, which is committed at the end of the block."""
    url = URL.create("sqlite+pysqlite", database=str(path))
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
    )
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.exec_driver_sql("COMMIT")
        # As the server has it: to change that takes the database for itself, which a backup that
        # runs while the server starts would not allow.
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")


def _sign_out(connection: Connection, now: float) -> int:
    """End every session, and refuse the JWTs of all users that were issued until now."""
    ended = connection.execute(delete(sessions)).rowcount
    before = milliseconds(now)
    connection.execute(update(users).where(users.c.not_before < before).values(not_before=before))
    return ended


def _switch(
    candidate: Path, database: Path, guard_path: Path, mark: Mark, clock: Callable[[], float]
) -> Path | None:
    """Put the copy in place; return where the database that was there is kept."""
    guard = Guard(guard_path)
    try:
        whole = not database.exists() or _fold(database)
        guard.announce_beside(mark)
        aside = _put_aside(database, clock(), whole=whole) if database.exists() else None
        remove(*companions(database))
        candidate.replace(database)
        sync_folder(database.parent)
        guard.confirm(mark)
        give_to_owner(guard_path.parent, guard_path)
    finally:
        guard.close()
    return aside


def _fold(database: Path) -> bool:
    """Fold the write-ahead log into the database and remove it; False if SQLite cannot read it.

    A log that stayed would be applied to the database that takes its place. Raises BackupFault
    when another program uses the database: it would remove the new one's log when it ends.
    """
    if not database.stat().st_size:
        return False
    try:
        with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
            return True
    except sqlite3.DatabaseError as error:
        # The last byte is the kind of the error.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return False
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise BackupFault(
                f"Another program, such as a backup, has {database} open: wait for its end."
            ) from None
        raise BackupFault(f"{database}: {error}.") from None


def _put_aside(database: Path, now: float, *, whole: bool) -> Path:
    """Give the database a second name, and what belongs to it unless it is `whole`; return it."""
    aside = _unused_name(database, now)
    parts = [] if whole else [one for one in companions(database) if one.exists()]
    for part in (database, *parts):
        _link(part, aside.with_name(aside.name + part.name.removeprefix(database.name)))
    sync_folder(database.parent)
    return aside


def _unused_name(database: Path, now: float) -> Path:
    stamp = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H%M%SZ}"
    path = database.with_name(f"{database.name}.replaced-{stamp}")
    for number in count(2):
        if not path.exists():
            break
        path = database.with_name(f"{database.name}.replaced-{stamp}-{number}")
    return path


def _link(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError:
        # Not every file system has links.
        shutil.copy2(path, name)
        sync_file(name)
