"""Opens the database of a data folder, and makes none where there was one.

An empty database in the place of a lost one would have no accounts: every client would be told 401,
and sign out. The guard file beside it remembers that there was a database.
"""

import time
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from app.base.errors import DatabaseLost
from app.base.files import sync_folder
from app.storage.database import DATABASE_NAME, Database
from app.storage.schema import users
from app.streams.generation import GUARD_NAME, Guard, read_state

_SUFFIXES: Final = ("", "-wal", "-shm")


async def open_database(data_dir: Path) -> Database:
    """Return the database of the folder; make it if the folder never had one.

    Raises DatabaseLost when it had one, and SettingsError as `Database.open` does.
    """
    refuse_lost(data_dir)
    path = data_dir / DATABASE_NAME
    database = await Database.open(path)
    try:
        if await database.snapshot(_is_empty):
            await _refuse_empty(path, database)
    except BaseException:
        await database.close()
        raise
    return database


def refuse_lost(data_dir: Path) -> None:
    """Raise DatabaseLost when the folder had a database, and the file is not there or empty."""
    if has_database(data_dir):
        return
    path = data_dir / DATABASE_NAME
    state = "is empty" if path.exists() else "is not there"
    for name in (GUARD_NAME, f"{DATABASE_NAME}-wal"):
        witness = data_dir / name
        if witness.exists() and witness.stat().st_size > 0:
            raise _lost(f"{path} {state}, although {name} tells of one")


def has_database(data_dir: Path) -> bool:
    """Tell whether there is a database in the folder, or a file that may be one."""
    path = data_dir / DATABASE_NAME
    return path.exists() and path.stat().st_size > 0


def set_aside(data_dir: Path) -> Path | None:
    """Move what a lost database has left in the folder into a new folder in it; return that.

    None if nothing was left. The caller holds the lock of the data folder.
    """
    # The guard last: while it is there, no command makes a database.
    names = (*(f"{DATABASE_NAME}{suffix}" for suffix in _SUFFIXES), GUARD_NAME)
    left = [data_dir / name for name in names if (data_dir / name).exists()]
    if not left:
        return None
    aside = data_dir / time.strftime("lost-%Y%m%dT%H%M%SZ", time.gmtime())
    aside.mkdir(mode=0o700, exist_ok=True)
    for file in left:
        file.rename(aside / file.name)
    sync_folder(aside)
    sync_folder(data_dir)
    return aside


async def _refuse_empty(path: Path, database: Database) -> None:
    """Refuse a database without anybody in it, if the guard tells of another."""
    guard = path.with_name(GUARD_NAME)
    marks = Guard(guard).marks()
    state = await database.snapshot(read_state)
    newest = state.numbering.newest.id
    if marks is not None and not any(one.vouches_for(newest, state.last) for one in marks):
        raise _lost(f"{path} has no users, and {guard.name} tells of another database")


def _lost(what: str) -> DatabaseLost:
    return DatabaseLost(
        f"{what}. Put the database back, or a backup (`restore FILE`). `serve --new-database` "
        "begins with an empty one, in which nobody has an account: every client is signed out then."
    )


def _is_empty(connection: Connection) -> bool:
    anybody = connection.execute(select(users.c.id).limit(1)).first()
    return anybody is None and read_state(connection).last == 0
