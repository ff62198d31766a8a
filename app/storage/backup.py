"""A backup: one file, a SQLite database with all that has to outlive the data folder.

It is a copy of the database as of one instant. The table `backup` is added to it, with when and by
which version it was made, and the key of the cookies. What else is in the data folder belongs to
the running server, or, like the guard, must not come back.
"""

import os
import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from app.base.errors import SwitchboardError
from app.base.files import remove, sync_file, sync_folder

if sys.platform != "win32":
    import fcntl

STEP_PAGES: Final = 256
"""Pages that are copied, 1 MiB, before they are synced and the copying rests for as long.

Synced at the end, 500 MB held up the commits of a server on the same disk for 240 ms; in steps of
this size they took 3 ms instead of 2 (docs/decisions/0034).
"""

FAULTS_TOLD: Final = 10

COMPANIONS: Final = ("-journal", "-wal", "-shm")
"""What the names of the files end with that SQLite keeps beside a database."""

_NAMES: Final = re.compile(r"switchboard-\d{4}-\d\d-\d\dT\d{6}Z\.db")

Progress = Callable[[int, int], None]
"""Takes how many pages were copied since the last call, and how many there are in all."""

Verify = Callable[[Path], Sequence[str]]
"""Returns a sentence for each fault of the database that it finds."""


class BackupFault(SwitchboardError):
    """A backup cannot be made, or cannot be used; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a backup holds; `made_at`, in milliseconds, and `version` only if `backup` made it."""

    bytes: int
    epoch: str
    last: int
    messages: int
    users: int
    sessions: int
    api_keys: tuple[str, ...]
    """The names of those that are not revoked."""
    made_at: int | None = None
    version: str | None = None
    cookie_key: str | None = None


# Writing


def write_backup(
    database: Path,
    target: Path,
    notes: Mapping[str, str],
    *,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
    verify: Verify = lambda path: find_faults(path),
) -> Contents:
    """Write a backup of the database to `target`, verify it, and return what it holds.

    A server may run meanwhile. `notes` are put into the table `backup`; `verify` is `find_faults`
    if not given. Until the verified copy has
    its name, in one step and synced, `target` stays as it was. Raises BackupFault and OSError.
    """
    if target.exists() and not overwrite:
        raise BackupFault(f"{target} is there already; give another name, or --overwrite.")
    with _partial(target) as partial:
        with _sqlite_faults(database), closing(_open(database, "rw")) as source:
            require_space(partial.parent, _size(source))
            copy_database(source, partial, progress, resting=True)
        with _sqlite_faults(partial), closing(_open(partial, "rw")) as copy:
            _add_notes(copy, notes)
        contents = read_contents(partial)
        if faults := verify(partial):
            told = " ".join(faults[:FAULTS_TOLD])
            raise BackupFault(f"{database} is damaged, so there is no backup: {told}")
        sync_file(partial)
        _place(partial, target, overwrite=overwrite)
    return contents


def copy_database(
    source: sqlite3.Connection, target: Path, progress: Progress, *, resting: bool = False
) -> None:
    """Copy the database as of this instant into the empty file `target`, and sync it.

    With `resting` it takes half of the disk's time at most, for the sake of a server that runs.
    """
    descriptor = os.open(target, os.O_RDWR)
    done = 0
    began = time.monotonic()

    def pace(_status: int, remaining: int, total: int) -> None:
        nonlocal done, began
        os.fsync(descriptor)
        progress(total - remaining - done, total)
        done = total - remaining
        if resting:
            time.sleep(time.monotonic() - began)
        began = time.monotonic()

    try:
        with closing(_open(target, "rw")) as copy:
            # A copy that is not finished is thrown away.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            # Without a transaction the copying would begin anew with each commit of the server; it
            # begins with its first select.
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM sqlite_master").fetchone()
            source.backup(copy, pages=STEP_PAGES, progress=pace)
            source.execute("ROLLBACK")
    finally:
        # Only now: it would end the locks that SQLite has on the file.
        os.close(descriptor)


def require_space(folder: Path, wanted: int) -> None:
    """Raise BackupFault if the disk of the folder has fewer bytes left."""
    left = shutil.disk_usage(folder).free
    if left < wanted:
        raise BackupFault(f"{folder} has {left:,} bytes left; the copy takes {wanted:,}.")


def backup_name(now: float) -> str:
    """Return the name of a backup that is made now, in a folder of them."""
    return f"switchboard-{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H%M%SZ}.db"


def older_backups(folder: Path, keep: int) -> list[Path]:
    """Return the backups with names as `backup_name` gives them, but not the newest `keep`."""
    found = sorted(path for path in folder.iterdir() if _NAMES.fullmatch(path.name))
    return found[: max(0, len(found) - keep)]


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Give an empty file beside the target, for its owner only; what is left of it is removed."""
    partial = target.with_name(f"{target.name}.partial")
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(partial, flags, 0o600)
    try:
        if sys.platform != "win32":
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupFault(f"Another backup is being written to {target}.") from None
            # One that a killed backup left may have another mode.
            os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        try:
            yield partial
        finally:
            remove(partial, *companions(partial))
    finally:
        os.close(descriptor)


def _add_notes(copy: sqlite3.Connection, notes: Mapping[str, str]) -> None:
    # Its header says what the server's does; a file that stands alone needs no write-ahead log.
    copy.execute("PRAGMA journal_mode = DELETE")
    copy.execute("BEGIN")
    # A backup that was put in place by hand has the table.
    copy.execute("DROP TABLE IF EXISTS backup")
    copy.execute("CREATE TABLE backup (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    copy.executemany("INSERT INTO backup VALUES (?, ?)", notes.items())
    copy.execute("COMMIT")


def _place(partial: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        partial.replace(target)
    else:
        try:
            # A link fails where a file is; a rename would take its place.
            os.link(partial, target)
        except FileExistsError:
            raise BackupFault(f"{target} is there already: somebody else made it.") from None
        except OSError:
            # Not every file system has links.
            partial.rename(target)
    sync_folder(target.parent)


# Reading


def read_contents(path: Path) -> Contents:
    """Return what the backup, or any database of ours, holds; raise BackupFault if it is none."""
    with _sqlite_faults(path), closing(open_source(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master") if name}
        if not tables >= {"alembic_version", "meta", "users", "sessions", "messages", "api_keys"}:
            raise BackupFault(f"{path} is no database of Switchboard.")
        notes: dict[str, str] = {}
        if "backup" in tables:
            notes = dict(connection.execute("SELECT key, value FROM backup").fetchall())
        made_at = notes.get("made_at", "")
        return Contents(
            bytes=_size(connection),
            epoch=_one(connection, "SELECT value FROM meta WHERE key = 'epoch'") or "",
            last=_one(connection, "SELECT seq FROM sqlite_sequence WHERE name = 'messages'") or 0,
            messages=_one(connection, "SELECT count(*) FROM messages"),
            users=_one(connection, "SELECT count(*) FROM users WHERE deleted_at IS NULL"),
            sessions=_one(connection, "SELECT count(*) FROM sessions"),
            api_keys=tuple(
                name
                for (name,) in connection.execute(
                    "SELECT name FROM api_keys WHERE revoked_at IS NULL ORDER BY id"
                )
            ),
            made_at=int(made_at) if made_at.isdigit() else None,
            version=notes.get("version"),
            cookie_key=notes.get("cookie_key"),
        )


def find_faults(path: Path) -> list[str]:
    """Return what SQLite finds wrong with the database, at most a few sentences."""
    try:
        with closing(open_source(path)) as connection:
            found = connection.execute(f"PRAGMA integrity_check({FAULTS_TOLD})").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [text for (text,) in found if text != "ok"]


def open_source(path: Path) -> sqlite3.Connection:
    """Return a connection that only reads, and leaves no file beside the database.

    With a write-ahead log or a journal beside it, the database may be in use: then SQLite locks it.
    Raises OSError if the file cannot be read.
    """
    # SQLite itself tells no reason.
    path.open("rb").close()
    alone = not any(one.exists() and one.stat().st_size for one in companions(path))
    return _open(path, "ro", "&immutable=1" if alone else "")


def companions(database: Path) -> Sequence[Path]:
    """Return the paths of the files that SQLite keeps beside a database."""
    return [database.with_name(f"{database.name}{suffix}") for suffix in COMPANIONS]


def _open(path: Path, mode: str, more: str = "") -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}{more}", uri=True, isolation_level=None
    )
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def _size(connection: sqlite3.Connection) -> int:
    return int(_one(connection, "PRAGMA page_count") * _one(connection, "PRAGMA page_size"))


def _one(connection: sqlite3.Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row is not None else None


@contextmanager
def _sqlite_faults(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into a BackupFault that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise BackupFault("There is no space left on the disk for the copy.") from None
        raise BackupFault(f"{path}: {error}.") from None
