"""The rows of streams in the database: written, read, and where devices stand.

SQLite looks up a list of row values by index only as a joined table: `(a, b) IN (VALUES …)` scans.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

from app.protocol.position import Position
from app.streams.base import EVERYONE, Cursor, ReadLimits, Row, Slice, Standing
from app.streams.generation import read_last

T = TypeVar("T")

ROW_COLUMNS: Final = tuple(field.name for field in fields(Row))
"""The columns of `messages`, in the order of `row_values` and of what a Row is made of."""

CHUNK: Final = 1000
"""Rows of one statement, far below SQLite's 32,766 variables at up to 5 each."""

MAX_INSERT: Final = 512
"""Rows of one insert, a power of two."""


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


_ALIVE: Final = "(expires_at IS NULL OR expires_at > :now)"
_ABOVE: Final = f'AND "offset" > :after AND {_ALIVE}'
_FROM: Final = f"SELECT {quoted(ROW_COLUMNS)} FROM messages"  # noqa: S608 - constants, like all here
_OWN: Final = f"{_FROM} WHERE user_id = :user {_ABOVE}"
_SHARED: Final = f"{_FROM} WHERE user_id = 0 {_ABOVE}"
_IN_ORDER: Final = 'ORDER BY "offset" LIMIT :rows'
# Both halves come in the order of one index, so SQLite merges them row by row.
_READ: Final = f"{_OWN} UNION ALL {_SHARED} {_IN_ORDER}"
_READ_EVERYONE: Final = f"{_SHARED} {_IN_ORDER}"
# The offsets first, from the index of `latest`, so that SQLite sorts no payload.
_LATEST: Final = f"""{_FROM} WHERE "offset" IN (
    SELECT "offset" FROM messages INDEXED BY messages_latest
    WHERE user_id IN (:user, 0) AND "key" IS NOT NULL AND "offset" > :after AND "offset" <= :upto
) AND deleted = 0 AND {_ALIVE} AND NOT EXISTS (
    SELECT 1 FROM messages AS d INDEXED BY messages_latest
    WHERE d.user_id IN (:user, 0) AND d.type = messages.type AND d."key" = messages."key"
        AND d.target_device IN (0, :device) AND d.deleted = 1 AND d."offset" > messages."offset"
) {_IN_ORDER}"""  # noqa: S608
_PLACE: Final = """
(SELECT max("offset") FROM messages WHERE user_id = w.user_id),
(SELECT "offset" FROM floors WHERE user_id = w.user_id),
EXISTS (SELECT 1 FROM messages WHERE user_id = w.user_id AND "key" IS NOT NULL AND deleted = 0)
"""
_STANDINGS: Final = f"""
WITH wanted (number, user_id, device_id) AS (VALUES {{values}})
SELECT w.number, {_PLACE}, c.epoch, c."offset" FROM wanted AS w
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
    connection: Connection, user_id: int, *, after: int, limits: ReadLimits, now: int
) -> Slice:
    """Return the next rows above `after` for the user, as of the connection's snapshot.

    Rows that have expired at `now`, in milliseconds since 1970, are left out.
    """
    query = _READ_EVERYONE if user_id == EVERYONE else _READ
    values = {"user": user_id, "after": after, "now": now, "rows": limits.rows}
    rows, more = _take(connection, query, values, limits)
    through = rows[-1].offset if more else max(after, read_last(connection))
    return Slice(rows=rows, through=through, floor=_floor(connection, user_id))


def latest(
    connection: Connection,
    user_id: int,
    device_id: int,
    *,
    after: int,
    upto: int,
    limits: ReadLimits,
    now: int,
) -> Slice:
    """Return the next `latest` values for the device's user above `after`, up to `upto`.

    Values that the device was told are deleted are left out.
    """
    values = {"user": user_id, "device": device_id, "after": after, "upto": upto, "now": now}
    rows, more = _take(connection, _LATEST, values | {"rows": limits.rows}, limits)
    return Slice(rows=rows, through=rows[-1].offset if more else upto)


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


def _take(
    connection: Connection, query: str, values: dict[str, int], limits: ReadLimits
) -> tuple[list[Row], bool]:
    """Return rows within the limits, and whether there may be more."""
    result = connection.exec_driver_sql(query, values)
    rows: list[Row] = []
    size = 0
    while (found := result.fetchone()) is not None:
        # The query selects ROW_COLUMNS, which are the fields of a Row in their order.
        row = Row(*found)
        size += len(row.payload)
        if rows and size > limits.bytes:
            result.close()
            return rows, True
        rows.append(row)
    return rows, len(rows) >= limits.rows
