"""Finds what is damaged in the database, and takes damaged messages out of it.

Everything here is for one connection, in a thread that may block.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.storage import sums
from app.storage.damage import is_of_value, is_structural
from app.storage.steps import STEP_ROWS, affordable
from app.streams.base import EVERYONE
from app.streams.checksum import is_sound
from app.streams.generation import read_last
from app.streams.rows import ROW_COLUMNS, quoted

SLICE_ROWS: Final = 500
"""Messages whose checksums are compared in one go: some 2 ms of a thread."""

MAX_FAULTS: Final = 10
"""Faults of the structure of which SQLite tells; one is enough to stop."""

# Not by an index, which may lack a row, or have another row's columns.
_SLICE: Final = f"""
SELECT {quoted(ROW_COLUMNS)} FROM messages NOT INDEXED
WHERE "offset" > ? ORDER BY "offset" LIMIT ?
"""  # noqa: S608 - constants, like all here
_OFFSETS: Final = """
SELECT "offset" FROM messages NOT INDEXED WHERE "offset" > ? ORDER BY "offset" LIMIT ?
"""
_ROW: Final = f'SELECT {quoted(ROW_COLUMNS)} FROM messages NOT INDEXED WHERE "offset" = ?'  # noqa: S608
_CHOSEN: Final = '"offset" IN (SELECT value FROM json_each(?))'
_MOVE: Final = f"""
INSERT OR REPLACE INTO damaged_messages ({quoted(ROW_COLUMNS)}, found_at)
SELECT {quoted(ROW_COLUMNS)}, ? FROM messages NOT INDEXED WHERE {_CHOSEN}
"""  # noqa: S608
_DELETE: Final = f"DELETE FROM messages WHERE {_CHOSEN}"  # noqa: S608
_RAISE: Final = """
INSERT INTO floors (user_id, "offset") VALUES (?, ?)
ON CONFLICT (user_id) DO UPDATE SET "offset" = max("offset", excluded."offset")
"""
# Below every floor, so that each device that comes back without a position is told `reset`.
_RESET_CURSORS: Final = """
INSERT INTO cursors (device_id, user_id, epoch, "offset", updated_at)
SELECT d.id, d.user_id, m.value, 0, ? FROM devices AS d CROSS JOIN meta AS m
WHERE d.removed_at IS NULL AND m."key" = 'epoch'
ON CONFLICT (device_id) DO UPDATE SET user_id = excluded.user_id, epoch = excluded.epoch,
    "offset" = excluded."offset"
"""
_OLD_ONES: Final = """
SELECT "offset", ifnull(length(payload), 0) FROM damaged_messages WHERE found_at <= ? LIMIT ?
"""
_FORGET: Final = f"DELETE FROM damaged_messages WHERE {_CHOSEN}"  # noqa: S608

_OF_STRUCTURE: Final = "*** in database"
"""How SQLite begins what it tells of pages; other lines are about values in rows."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a slice of the messages showed: which are damaged, and how many have no checksum.

    `through` is the offset of the last one, None at the end.
    """

    damaged: Sequence[int]
    unchecked: int
    rows: int
    through: int | None


class UnsoundIndex(Exception):
    """An index does not have the rows of its table, so nothing can be removed from that."""


def structure(connection: Connection) -> list[str]:
    """Return what SQLite finds wrong with the pages of the file; no content of a row is in it."""
    found = connection.exec_driver_sql(f"PRAGMA quick_check({MAX_FAULTS})").scalars()
    lines = [line for text in found for line in str(text).splitlines()]
    if not any(line.startswith(_OF_STRUCTURE) for line in lines):
        return []
    return [line for line in lines if not line.startswith(_OF_STRUCTURE)]


def check_slice(connection: Connection, after: int, last_unchecked: int) -> Checked:
    """Compare the checksums of the next messages above `after`."""
    values = _slice(connection, after)
    damaged = [offset for offset, row in values if row is None or not is_sound(row, last_unchecked)]
    unchecked = sum(1 for _, row in values if row is not None and row[-1] is None)
    through = values[-1][0] if values else None
    return Checked(damaged, unchecked, len(values), through)


def move_aside(connection: Connection, offsets: Collection[int], now: int) -> int:
    """Move these messages out of the way and raise the floor of everyone; return that floor.

    To whom a damaged message belonged cannot be believed. Call it only if `structure` found nothing
    just now: who removes a row from damaged pages may give away the pages of another. Raises
    UnsoundIndex if an index does not fit the table. `now` is in milliseconds since 1970.
    """
    try:
        _move(connection, offsets, now)
    except DBAPIError as error:
        if is_structural(error):
            raise UnsoundIndex from error
        raise
    return _raise_floor(connection, max(offsets))


def rebuild(
    connection: Connection, offsets: Collection[int], now: int, wrong: Sequence[str]
) -> int:
    """Do the same, make the indexes anew from the table, and believe that as it is.

    Nobody knows whose messages were missing, so the floor rises to the newest offset. `wrong` are
    the sums that did not match.
    """
    # Else SQLite refuses to remove a row that an index lacks.
    connection.exec_driver_sql("PRAGMA writable_schema = ON")
    try:
        _move(connection, offsets, now)
        connection.exec_driver_sql("REINDEX messages")
    except DBAPIError as error:
        if is_structural(error):
            raise UnsoundIndex from error
        raise
    finally:
        connection.exec_driver_sql("PRAGMA writable_schema = OFF")
    if "cursors" in wrong:
        connection.exec_driver_sql(_RESET_CURSORS, (now,))
    floor = _raise_floor(connection, read_last(connection))
    sums.recount(connection)
    return floor


def forget_moved(connection: Connection, before: int) -> int:
    """Remove a few of the messages that were moved aside at or before this time; return how many.

    `before` is in milliseconds since 1970.
    """
    found = connection.exec_driver_sql(_OLD_ONES, (before, STEP_ROWS)).all()
    chosen = affordable([(offset, size) for offset, size in found])
    if chosen:
        connection.exec_driver_sql(_FORGET, (orjson.dumps(chosen).decode(),))
    return len(chosen)


def _move(connection: Connection, offsets: Collection[int], now: int) -> None:
    chosen = orjson.dumps(sorted(offsets)).decode()
    connection.exec_driver_sql(_MOVE, (now, chosen))
    connection.exec_driver_sql(_DELETE, (chosen,))


def _raise_floor(connection: Connection, floor: int) -> int:
    connection.exec_driver_sql(_RAISE, (EVERYONE, floor))
    return floor


def _slice(connection: Connection, after: int) -> list[tuple[int, Any]]:
    """Return the offsets and values of some rows; no values of a row that cannot be read."""
    try:
        found = connection.exec_driver_sql(_SLICE, (after, SLICE_ROWS)).all()
    except DBAPIError as error:
        if not is_of_value(error):
            raise
    else:
        return [(row[0], row) for row in found]
    offsets = connection.exec_driver_sql(_OFFSETS, (after, SLICE_ROWS)).scalars().all()
    return [(offset, _row(connection, offset)) for offset in offsets]


def _row(connection: Connection, offset: int) -> Any:
    try:
        return connection.exec_driver_sql(_ROW, (offset,)).first()
    except DBAPIError as error:
        if is_of_value(error):
            return None
        raise
