"""Everything that is kept of one user, as one JSON document: what a person may ask for.

It is read as of one instant, and written row by row. It has no secrets: neither the hash of the
password nor those of tokens, so that nobody can sign in with it.
"""

import sqlite3
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from app.base.errors import DatabaseFailed, Problem, sentence
from app.base.version import VERSION
from app.storage.damage import DOCUMENTATION, is_structural
from app.storage.schema import milliseconds
from app.storage.sums import READ_UNCHECKED, newest_unchecked
from app.streams.checksum import is_sound
from app.streams.ids import HOUR_MS
from app.streams.rows import ROW_COLUMNS

FORMAT: Final = "switchboard.user"
FORMAT_VERSION: Final = 1
"""Rises when a key changes its meaning or goes; new keys may come without that."""

Write = Callable[[bytes], object]

_COLUMNS: Final = ", ".join(f'"{name}"' for name in ROW_COLUMNS)
_IS_VALUE: Final = '("key" IS NOT NULL AND deleted = 0)'
_BY_HANDLE: Final = "SELECT id FROM users WHERE handle_key = ? AND deleted_at IS NULL"
_USER: Final = """
SELECT id, handle, iss AS issuer, sub AS subject, roles, created_at, disabled_at, deleted_at,
    not_before, password_hash IS NOT NULL AS has_password
FROM users WHERE id = ?
"""
_DEVICES: Final = """
SELECT id, device_uuid, device_type, device_name, os_info, created_at, last_seen, removed_at,
    not_before
FROM devices WHERE user_id = ? ORDER BY id
"""
_SESSIONS: Final = """
SELECT s.id, s.device_id, s.label, s.created_at, s.last_used, s.expires_at,
    s.id <= u.sessions_over_upto AND s.id IS NOT u.kept_session_id AS over
FROM sessions AS s JOIN users AS u ON u.id = s.user_id WHERE s.user_id = ? ORDER BY s.id
"""
_CURSORS: Final = """
SELECT device_id, epoch, "offset", updated_at FROM cursors WHERE user_id = ? ORDER BY device_id
"""
_FLOOR: Final = 'SELECT "offset" FROM floors WHERE user_id = ?'
_EPOCH: Final = "SELECT value FROM meta WHERE key = 'epoch'"
_IDS: Final = "SELECT hour, ids FROM message_id_counts WHERE sender = ? ORDER BY hour"
_ROWS: Final = f"""
SELECT {_COLUMNS} FROM messages INDEXED BY messages_user_id_offset
WHERE user_id = ? AND {{which}} ORDER BY "offset"
"""  # noqa: S608 - constants, like all here
_DAMAGED: Final = """
SELECT "offset", type, payload, found_at FROM damaged_messages WHERE user_id = ? ORDER BY "offset"
"""
_FLAGS: Final = frozenset({"has_password", "over", "deleted"})
_OPTIONAL: Final = (
    *("target_device", "without_device", "without_instance"),
    *("source_device", "source_instance"),
)
"""Columns of a message that hold 0 or an empty text where there is nothing."""


@dataclass(frozen=True, slots=True)
class Exported:
    """How much an export has."""

    messages: int
    bytes: int


def export_user(database: Path, name: int | str, write: Write) -> Exported:
    """Write the document of the user with this id, or this text by which handles are compared.

    Returns how much it is.

    A server may run meanwhile. What it has not written yet is missing: uses of the last 30 seconds,
    cursors of the last second. Raises Problem 404 `user_not_found` before anything is written,
    DatabaseFailed, and what `write` raises.
    """
    writer = _Writer(write)
    try:
        with closing(_open(database)) as connection:
            connection.execute("BEGIN")
            for part in _parts(connection, _user_id(connection, name)):
                writer.part(*part)
    except sqlite3.Error as error:
        if is_structural(error):
            told = f"The database is damaged ({error}): see {DOCUMENTATION}."
        else:
            told = f"The database failed: {sentence(str(error))}"
        raise DatabaseFailed(told) from None
    writer.end()
    return Exported(writer.messages, writer.bytes)


class _Writer:
    """Writes the keys of one object, and counts."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self.messages = 0
        self.bytes = 0

    def part(self, key: str, value: object) -> None:
        """Write one key; the items of an iterator one by one, each on a line of its own."""
        self._out(b",\n" if self.bytes else b"{")
        self._out(orjson.dumps(key) + b": ")
        if not isinstance(value, Iterator):
            self._out(orjson.dumps(value))
            return
        count = 0
        for count, item in enumerate(value, start=1):
            self._out((b"[\n  " if count == 1 else b",\n  ") + orjson.dumps(item))
        self._out(b"\n]" if count else b"[]")
        self.messages += count if key in ("latest", "messages") else 0

    def end(self) -> None:
        """End the object."""
        self._out(b"}\n")

    def _out(self, data: bytes) -> None:
        self._write(data)
        self.bytes += len(data)


def _parts(connection: sqlite3.Connection, user_id: int) -> Iterable[tuple[str, object]]:
    """Give the keys of the document with what they hold."""

    def rows(query: str, *values: object) -> Iterator[dict[str, Any]]:
        return (_plain(row) for row in connection.execute(query, values or (user_id,)))

    yield "format", FORMAT
    yield "version", FORMAT_VERSION
    yield "exported_at", milliseconds(time.time())
    yield "server_version", VERSION
    yield "user", next(rows(_USER))
    yield "devices", rows(_DEVICES)
    yield "sessions", rows(_SESSIONS)
    yield "epoch", _one(connection, _EPOCH)
    yield "floor", _one(connection, _FLOOR, user_id) or 0
    yield "cursors", rows(_CURSORS)
    hours = rows(_IDS, f"user:{user_id}")
    yield "message_ids", ({"hour": one["hour"] * HOUR_MS, "ids": one["ids"]} for one in hours)
    old = newest_unchecked(connection.execute(READ_UNCHECKED).fetchone())
    for key, which in (("latest", _IS_VALUE), ("messages", f"NOT {_IS_VALUE}")):
        found = connection.execute(_ROWS.format(which=which), (user_id,))
        yield key, (_message(row, old) for row in found)
    damaged = connection.execute(_DAMAGED, (user_id,))
    yield "damaged_messages", (_bytes_shown(dict(row)) for row in damaged)


def _open(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{database.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None
    )
    # Not opened as `ro`: a server that starts meanwhile has to know of this reader.
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA busy_timeout = 5000")
    connection.row_factory = sqlite3.Row
    # A damaged text is shown as far as it can be; the checksum tells that it is.
    connection.text_factory = lambda data: data.decode(errors="replace")
    return connection


def _user_id(connection: sqlite3.Connection, name: int | str) -> int:
    try:
        connection.execute(_USER, (0,))
        connection.execute(READ_UNCHECKED)
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):
            raise
        raise DatabaseFailed(
            "The database is of another version of Switchboard: start the server once."
        ) from None
    if isinstance(name, int):
        found = _one(connection, "SELECT id FROM users WHERE id = ?", name)
    else:
        found = _one(connection, _BY_HANDLE, name)
    if found is None:
        raise Problem(404, "user_not_found", "There is no such user.")
    return int(found)


def _one(connection: sqlite3.Connection, query: str, *values: object) -> Any:
    row = connection.execute(query, values).fetchone()
    return row[0] if row is not None else None


def _plain(row: sqlite3.Row) -> dict[str, Any]:
    """Return a row as objects for JSON."""
    found: dict[str, Any] = dict(row)
    for name in _FLAGS & found.keys():
        found[name] = bool(found[name])
    if "roles" in found:
        found["roles"] = orjson.loads(found["roles"])
    return found


def _message(row: sqlite3.Row, last_unchecked: int) -> Mapping[str, Any]:
    """Return a message; of a damaged one what is there, which nobody can believe."""
    shown = {name: row[name] for name in ROW_COLUMNS if name not in ("user_id", "crc")}
    if not is_sound(tuple(row), last_unchecked):
        return {**_bytes_shown(shown), "damaged": True}
    shown["deleted"] = bool(row["deleted"])
    for name in _OPTIONAL:
        shown[name] = row[name] or None
    shown["payload"] = orjson.Fragment(row["payload"])
    return {name: value for name, value in shown.items() if value is not None}


def _bytes_shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with its payload in base64, since it may be no JSON."""
    return {
        name: b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in row.items()
    }
