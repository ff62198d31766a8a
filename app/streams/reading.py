"""Rows out of the tables: slices of a stream, `latest` values, and where devices stand."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from app.protocol.position import Position
from app.storage.schema import messages
from app.streams.base import EVERYONE, ReadLimits, Row, Slice, Standing
from app.streams.state import read_last
from app.streams.values import chunks, markers

_COLUMNS: Final = ", ".join(f'"{column.name}"' for column in messages.columns)
_ALIVE: Final = "(expires_at IS NULL OR expires_at > :now)"
_ABOVE: Final = f'AND "offset" > :after AND {_ALIVE}'
_FROM: Final = f"SELECT {_COLUMNS} FROM messages"  # noqa: S608 - constants, like all of these
_OWN: Final = f"{_FROM} WHERE user_id = :user {_ABOVE}"
_SHARED: Final = f"{_FROM} WHERE user_id = 0 {_ABOVE}"
_IN_ORDER: Final = 'ORDER BY "offset" LIMIT :rows'
# Both halves come in the order of one index, so SQLite merges them row by row.
_READ: Final = f"{_OWN} UNION ALL {_SHARED} {_IN_ORDER}"
_READ_EVERYONE: Final = f"{_SHARED} {_IN_ORDER}"
# The offsets first, from the index of `latest`: no payload is sorted, no row of the log visited.
_LATEST: Final = f"""{_FROM} WHERE "offset" IN (
    SELECT "offset" FROM messages INDEXED BY messages_latest
    WHERE user_id IN (:user, 0) AND "key" IS NOT NULL AND "offset" > :after AND "offset" <= :upto
) AND {_ALIVE} {_IN_ORDER}"""  # noqa: S608
_PLACE: Final = """
(SELECT max("offset") FROM messages WHERE user_id = w.user_id),
(SELECT "offset" FROM floors WHERE user_id = w.user_id),
EXISTS (SELECT 1 FROM messages WHERE user_id = w.user_id AND "key" IS NOT NULL)
"""
_STANDINGS: Final = f"""
WITH wanted (number, user_id, device_id) AS (VALUES {{values}})
SELECT w.number, {_PLACE}, c.epoch, c."offset" FROM wanted AS w
LEFT JOIN cursors AS c ON c.device_id = w.device_id AND c.user_id = w.user_id
"""  # noqa: S608
_FLOOR: Final = 'SELECT max("offset") FROM floors WHERE user_id IN (?, 0)'
_EVERYONE: Final = f"WITH w (user_id) AS (VALUES (0)) SELECT {_PLACE} FROM w"  # noqa: S608


def read(connection: Connection, user_id: int, after: int, limits: ReadLimits, now: int) -> Slice:
    """Return the next rows above `after` for the user, as of the connection's snapshot."""
    query = _READ_EVERYONE if user_id == EVERYONE else _READ
    found = {"user": user_id, "after": after, "now": now, "rows": limits.rows}
    rows, more = _take(connection, query, found, limits)
    through = rows[-1].offset if more else max(after, read_last(connection))
    return Slice(rows, through, _floor(connection, user_id))


def latest(
    connection: Connection, user_id: int, after: int, upto: int, limits: ReadLimits, now: int
) -> Slice:
    """Return the next `latest` values above `after` for the user."""
    found = {"user": user_id, "after": after, "upto": upto, "now": now, "rows": limits.rows}
    rows, more = _take(connection, _LATEST, found, limits)
    return Slice(rows, rows[-1].offset if more else upto)


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
        # What was pruned was there: nobody starts below the floor.
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
        row = Row(*found)
        size += len(row.payload)
        if rows and size > limits.bytes:
            result.close()
            return rows, True
        rows.append(row)
    return rows, len(rows) >= limits.rows
