"""The rows of streams in the database: written, read, and where devices stand.

SQLite looks up a list of row values by index only as a joined table: `(a, b) IN (VALUES …)` scans.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from app.protocol.position import Position
from app.streams.base import EVERYONE, Cursor, ReadLimits, Row, Slice, Standing
from app.streams.checksum import is_sound
from app.streams.suspicion import DamagedRow

T = TypeVar("T")

ROW_COLUMNS: Final = tuple(field.name for field in fields(Row))
"""The columns of `messages`, in the order of `row_values` and of what a Row is made of."""

_WIDTH: Final = len(ROW_COLUMNS)

CHUNK: Final = 1000
"""Rows of one statement, far below SQLite's 32,766 variables at up to 5 each."""

MAX_INSERT: Final = 512
"""Rows of one insert, a power of two."""

MAX_EXPIRED: Final = 5000
"""Expired rows that one read passes over: some 15 ms of a reader's thread."""


# Pieces of statements


def quoted(columns: Sequence[str]) -> str:
    """Return the names as a statement lists them, quoted: `offset` and `key` are words of SQL."""
    return ", ".join(f'"{column}"' for column in columns)


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the values in pieces that fit into one statement."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


@lru_cache(maxsize=256)
def markers(rows: int, width: int) -> str:
    """Return `(?,?),(?,?)` for two rows of width two."""
    row = "(" + ",".join("?" * width) + ")"
    return ",".join([row] * rows)


# Expired rows too: whether a row is one of them, only its checksum tells.
_ABOVE: Final = 'AND "offset" > :after'
_FROM: Final = f"SELECT {quoted(ROW_COLUMNS)} FROM messages"  # noqa: S608 - constants, like all here
_OWN: Final = f"{_FROM} WHERE user_id = :user {_ABOVE}"
_SHARED: Final = f"{_FROM} WHERE user_id = 0 {_ABOVE}"
_IN_ORDER: Final = 'ORDER BY "offset"'
# Both halves come in the order of one index, so SQLite merges them row by row.
_READ: Final = f"{_OWN} UNION ALL {_SHARED} {_IN_ORDER}"
_READ_EVERYONE: Final = f"{_SHARED} {_IN_ORDER}"
# The offsets first, in order, from the index of `latest`, so that SQLite sorts no payload: it goes
# through a sorted part with a limit as it comes. What only the index has comes as nulls. No column
# is asked for here, since a row whose column is damaged would be left out before it is checked. The
# last column tells whether the device was told that the value is deleted.
_LATEST: Final = f"""
SELECT listed."offset", {", ".join(f'm."{column}"' for column in ROW_COLUMNS[1:])}, EXISTS (
    SELECT 1 FROM messages AS d INDEXED BY messages_latest
    WHERE d.user_id IN (:user, 0) AND d.type = m.type AND d."key" = m."key"
        AND d.target_device IN (0, :device) AND d.deleted = 1 AND d."offset" > m."offset"
) FROM (
    SELECT "offset" FROM messages INDEXED BY messages_latest
    WHERE user_id IN (:user, 0) AND "key" IS NOT NULL AND "offset" > :after AND "offset" <= :upto
    ORDER BY "offset" LIMIT -1
) AS listed LEFT JOIN messages AS m ON m."offset" = listed."offset"
"""  # noqa: S608
_PLACE: Final = """
(SELECT max("offset") FROM messages WHERE user_id = w.user_id),
(SELECT "offset" FROM floors WHERE user_id = w.user_id),
EXISTS (SELECT 1 FROM messages WHERE user_id = w.user_id AND "key" IS NOT NULL AND deleted = 0)
"""
# Devices of before the epoch stand in the one that was ended then, also those without a cursor.
_STANDINGS: Final = f"""
WITH wanted (number, user_id, device_id) AS (VALUES {{values}})
SELECT w.number, {_PLACE}, coalesce(c.epoch, CASE WHEN w.device_id <= (
    SELECT CAST(value AS INTEGER) FROM meta WHERE "key" = 'ended_devices'
) THEN (SELECT value FROM meta WHERE "key" = 'ended_epoch') END), ifnull(c."offset", 0)
FROM wanted AS w
LEFT JOIN cursors AS c ON c.device_id = w.device_id AND c.user_id = w.user_id
"""  # noqa: S608
_FLOOR: Final = 'SELECT max("offset") FROM floors WHERE user_id IN (?, 0)'
_EVERYONE: Final = f"WITH w (user_id) AS (VALUES (0)) SELECT {_PLACE} FROM w"  # noqa: S608
_SAVE_CURSOR: Final = """
INSERT INTO cursors (device_id, user_id, epoch, "offset", updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (device_id) DO UPDATE SET user_id = excluded.user_id, epoch = excluded.epoch,
    "offset" = excluded."offset", updated_at = excluded.updated_at
WHERE epoch <> excluded.epoch OR "offset" < excluded."offset"
"""
_RAISE: Final = """
INSERT INTO floors (user_id, "offset") VALUES (?, ?)
ON CONFLICT (user_id) DO UPDATE SET "offset" = max("offset", excluded."offset")
"""


# Writing


def insert_rows(
    connection: Connection,
    table: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    conflict: str = "",
) -> None:
    """Insert rows, whose values are in the order of `columns`, with few statements.

    `conflict` is the clause for rows that are there already, if any may be.

    `executemany` would release the interpreter for each row and wait to get it back. The numbers
    of rows are powers of two, so that the driver keeps all statements prepared. An error leaves
    some of the rows in the transaction, which the caller has to roll back.
    """
    done, left = 0, len(rows)
    while left:
        size = min(MAX_INSERT, 1 << (left.bit_length() - 1))
        values = tuple(chain.from_iterable(rows[done : done + size]))
        connection.exec_driver_sql(_insert(table, columns, size) + conflict, values)
        done, left = done + size, left - size


@lru_cache(maxsize=32)
def _insert(table: str, columns: tuple[str, ...], rows: int) -> str:
    values = markers(rows, len(columns))
    # Without OR FAIL, SQLite writes the former content of changed pages to a file, to be able to
    # undo a statement that fails.
    return f"INSERT OR FAIL INTO {table} ({quoted(columns)}) VALUES {values}"  # noqa: S608


def save_cursors(connection: Connection, cursors: Mapping[int, Cursor], now: int) -> None:
    """Write cursors, by device id; none goes back within its epoch."""
    rows = [
        (device_id, one.user_id, one.position.epoch, one.position.offset, now)
        for device_id, one in cursors.items()
    ]
    connection.exec_driver_sql(_SAVE_CURSOR, rows)


def raise_floors(connection: Connection, floors: Mapping[int, int]) -> None:
    """Have these users' floors at or above the offsets, so that nobody resumes below them."""
    if floors:
        connection.exec_driver_sql(_RAISE, list(floors.items()))


# Reading


def read(
    connection: Connection,
    user_id: int,
    *,
    after: int,
    limits: ReadLimits,
    now: int,
    last: int,
    old: int = 0,
) -> Slice:
    """Return the next rows above `after` for the user, as of the connection's snapshot.

    Rows that have expired at `now`, in milliseconds since 1970, are left out. `last` is the newest
    offset that had been given out when the snapshot began. Rows up to `old` may be without a
    checksum. Raises DamagedRow.
    """
    query = _READ_EVERYONE if user_id == EVERYONE else _READ
    taken = _take(connection, query, {"user": user_id, "after": after}, limits, now, old)
    through = taken.reached if taken.more else max(taken.reached, last)
    return Slice(rows=taken.rows, through=through, floor=_floor(connection, user_id))


def latest(
    connection: Connection,
    user_id: int,
    device_id: int,
    *,
    after: int,
    upto: int,
    limits: ReadLimits,
    now: int,
    old: int = 0,
) -> Slice:
    """Return the next `latest` values for the device's user above `after`, up to `upto`.

    Values that the device was told are deleted are left out. Rows up to `old` may be without a
    checksum. Raises DamagedRow.
    """
    values = {"user": user_id, "device": device_id, "after": after, "upto": upto}
    taken = _take(connection, _LATEST, values, limits, now, old)
    return Slice(rows=taken.rows, through=taken.reached if taken.more else upto)


def standings(connection: Connection, devices: Sequence[tuple[int, int]]) -> list[Standing]:
    """Return where each (user id, device id) stands: one select for a thousand."""
    everyone = connection.exec_driver_sql(_EVERYONE).one()
    found: dict[int, Standing] = {}
    for chunk in chunks([(number, *device) for number, device in enumerate(devices)]):
        query = _STANDINGS.format(values=markers(len(chunk), 3))
        flat = tuple(value for wanted in chunk for value in wanted)
        for number, *place in connection.exec_driver_sql(query, flat):
            found[number] = _standing(place, everyone)
    return [found[number] for number in range(len(devices))]


def _floor(connection: Connection, user_id: int) -> int:
    return int(connection.exec_driver_sql(_FLOOR, (user_id,)).scalar_one() or 0)


def _standing(own: Sequence[Any], everyone: Sequence[Any]) -> Standing:
    head, floor, keys, epoch, offset = own
    floor = max(floor or 0, everyone[1] or 0)
    return Standing(
        # At least the floor, since the rows that retention has removed were there.
        head=max(head or 0, everyone[0] or 0, floor),
        floor=floor,
        cursor=None if epoch is None else Position(epoch, offset),
        keys=bool(keys or everyone[2]),
    )


@dataclass(slots=True)
class _Taken:
    """Rows within the limits, up to where there are no others, and whether more may follow."""

    rows: list[Row]
    reached: int
    more: bool


def _take(
    connection: Connection,
    query: str,
    values: dict[str, int],
    limits: ReadLimits,
    now: int,
    old: int,
) -> _Taken:
    """Take what the query finds, without what has expired; raises DamagedRow.

    A column beside those of a row tells whether a value is hidden; then deletions are left out too.
    """
    result = connection.exec_driver_sql(query, values)
    owners, newest = (EVERYONE, values["user"]), values["after"]
    taken = _Taken([], newest, more=False)
    size = expired = 0
    while (found := result.fetchone()) is not None:
        # The query selects ROW_COLUMNS, which are the fields of a Row in their order. An index
        # that is damaged may lead to the row of another user, or to the same one again.
        columns, hidden = found[:_WIDTH], found[_WIDTH:]
        if not is_sound(columns, old) or found[1] not in owners or found[0] <= newest:
            result.close()
            raise DamagedRow(found[0])
        newest = found[0]
        row = Row(*columns)
        gone = row.expires_at is not None and row.expires_at <= now
        if gone or (hidden and (hidden[0] or row.deleted)):
            expired += 1
            # Nobody has removed them yet; a reader must not walk over all of them in one go.
            taken.more = expired == MAX_EXPIRED
        else:
            size += len(row.payload)
            taken.more = bool(taken.rows) and size > limits.bytes
            if not taken.more:
                taken.rows.append(row)
                taken.more = len(taken.rows) == limits.rows
        if taken.more:
            result.close()
            break
    if taken.rows:
        taken.reached = taken.rows[-1].offset
    elif taken.more:
        taken.reached = newest
    return taken
