"""Databases and people for tests that are about neither.

Migrating a new database takes 40 ms, hashing a password 30 ms; here both together take one.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from sqlalchemy import create_engine

from app.auth.names import clean_handle, handle_key
from app.storage.database import DATABASE_NAME, Database
from app.storage.schema import milliseconds
from app.storage.upgrading import migrate
from app.storage.users import User, add_local_user

PASSWORD: Final = "correct horse battery"
"""The password of everybody whom `add_person` adds."""


def place_database(folder: Path, name: str = DATABASE_NAME) -> None:
    """Put an empty database of the newest schema into the folder, unless there is one."""
    path = folder / name
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(_migrated())


@cache
def _migrated() -> bytes:
    """Return the bytes of a database that has no rows: it gets its epoch when it is opened."""
    file, name = tempfile.mkstemp(suffix=".db")
    os.close(file)
    engine = create_engine(f"sqlite:///{name}")
    try:
        with closing(engine.connect()) as connection, connection.begin():
            migrate(connection)
        return Path(name).read_bytes()
    finally:
        engine.dispose()
        Path(name).unlink()


async def add_person(
    database: Database,
    handle: str,
    roles: Sequence[str] = (),
    clock: Callable[[], float] = time.time,
    passes: int = 1,
) -> User:
    """Add a user who can sign in with PASSWORD, which takes `passes` over the memory to verify."""
    shown = clean_handle(handle)
    async with database.write() as connection:
        return await add_local_user(
            connection,
            handle=shown,
            handle_key=handle_key(shown),
            password_hash=_hash(passes),
            roles=roles,
            now=milliseconds(clock()),
        )


@cache
def _hash(passes: int) -> str:
    # A hash names its own costs, so one with few passes is also verified at once.
    return PasswordHasher(time_cost=passes, memory_cost=8, parallelism=1).hash(PASSWORD)
