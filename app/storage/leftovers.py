"""Rows that an ending leaves: they mean nothing any more, and are removed in steps.

What ends is over with one small write, however many rows it has: `sessions_over_upto` of a user,
`removed_at` of a device, `deleted_at` of a user. That write notes a leftover, which goes when its
last row is gone. So a crash between two steps loses nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import orjson
from sqlalchemy import Connection
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.schema import leftovers
from app.storage.steps import STEP_ROWS, affordable


class Kind(StrEnum):
    """What has ended; `id` of the leftover is the user's or the device's."""

    SESSIONS = "sessions"
    """Sessions of a user, up to an id."""
    DEVICE = "device"
    """Its sessions, and the values that were for it alone."""
    USER = "user"


@dataclass(frozen=True, slots=True)
class Leftover:
    """What has ended and still has rows."""

    kind: Kind
    id: int


_NEXT: Final = "SELECT kind, id FROM leftovers ORDER BY kind, id LIMIT 1"
_ALL: Final = "SELECT kind, id FROM leftovers"
_DONE: Final = "DELETE FROM leftovers WHERE kind = ? AND id = ?"

_CHOSEN: Final = "IN (SELECT value FROM json_each(?))"
_DELETE_SESSIONS: Final = f"DELETE FROM sessions WHERE id {_CHOSEN}"  # noqa: S608 - constants, like all here

# Each by an index: ids of sessions are the last part of an entry by users.
_OVER: Final = """
SELECT s.id FROM users AS u CROSS JOIN sessions AS s INDEXED BY sessions_user_id
ON s.user_id = u.id AND s.id <= u.sessions_over_upto
WHERE u.id = ? AND s.id IS NOT u.kept_session_id LIMIT ?
"""
_OF_DEVICE: Final = "SELECT id FROM sessions WHERE device_id = ? LIMIT ?"
_OF_USER: Final = "SELECT id FROM sessions INDEXED BY sessions_user_id WHERE user_id = ? LIMIT ?"

_MESSAGES: Final = tuple(
    (
        f'SELECT "offset", ifnull(length(payload), 0) FROM {table} INDEXED BY {index}'  # noqa: S608
        " WHERE user_id = ? LIMIT ?",
        f'DELETE FROM {table} WHERE "offset" {_CHOSEN}',  # noqa: S608
    )
    for table, index in (
        ("messages", "messages_user_id_offset"),
        ("damaged_messages", "damaged_messages_user_id"),
    )
)
_FOR_DEVICE: Final = """
FROM devices AS d CROSS JOIN messages AS m INDEXED BY messages_latest
ON m."key" IS NOT NULL AND m.user_id = d.user_id AND m.target_device = d.id
WHERE d.id = ?
"""
_VALUES_FOR_DEVICE: Final = f'SELECT m."offset", ifnull(length(m.payload), 0) {_FOR_DEVICE} LIMIT ?'
_DELETE_MESSAGES: Final = f'DELETE FROM messages WHERE "offset" {_CHOSEN}'  # noqa: S608
_REMOVED_WITH_VALUES: Final = """
SELECT DISTINCT d.id FROM messages AS m INDEXED BY messages_latest
CROSS JOIN devices AS d ON d.id = m.target_device AND d.user_id = m.user_id
WHERE m."key" IS NOT NULL AND m.target_device <> 0 AND d.removed_at IS NOT NULL
"""
_CURSORS: Final = """
DELETE FROM cursors WHERE device_id IN (SELECT device_id FROM cursors WHERE user_id = ? LIMIT ?)
"""
_FLOOR: Final = "DELETE FROM floors WHERE user_id = ?"

_COUNTS: Final = {
    Kind.SESSIONS: (
        """
SELECT count(*) FROM users AS u JOIN sessions AS s
ON s.user_id = u.id AND s.id <= u.sessions_over_upto
WHERE u.id = ? AND s.id IS NOT u.kept_session_id
""",
    ),
    Kind.DEVICE: (
        "SELECT count(*) FROM sessions WHERE device_id = ?",
        f"SELECT count(*) {_FOR_DEVICE}",
    ),
    Kind.USER: tuple(
        f"SELECT count(*) FROM {table} WHERE user_id = ?"  # noqa: S608
        for table in ("messages", "damaged_messages", "cursors", "floors", "sessions")
    ),
}


async def leave(connection: AsyncConnection, kind: Kind, ids: Collection[int]) -> None:
    """Note that rows are left of these users or devices; twice is no error."""
    if ids:
        noted = upsert(leftovers).on_conflict_do_nothing()
        await connection.execute(noted, [{"kind": kind, "id": one} for one in ids])


def next_leftover(connection: Connection) -> Leftover | None:
    """Return one of the leftovers, None if there is none."""
    row = connection.exec_driver_sql(_NEXT).one_or_none()
    return Leftover(Kind(row[0]), row[1]) if row is not None else None


def removed_with_values(connection: Connection) -> list[int]:
    """Return the removed devices for which values are kept, by walking over all values.

    A value that was on its way when its device was removed comes after the steps that remove them.
    """
    return list(connection.exec_driver_sql(_REMOVED_WITH_VALUES).scalars())


def count_leftovers(connection: Connection) -> int:
    """Return how many rows all leftovers have; it looks at each of them."""
    return sum(
        connection.exec_driver_sql(query, (id_,)).scalar_one()
        for kind, id_ in connection.exec_driver_sql(_ALL).all()
        for query in _COUNTS[Kind(kind)]
    )


def remove_some(connection: Connection, leftover: Leftover, most: int = STEP_ROWS) -> int:
    """Remove up to `most` rows of the leftover, and itself after the last; return how many rows."""
    removed, is_done = _REMOVE[leftover.kind](connection, leftover.id, most)
    if is_done:
        connection.exec_driver_sql(_DONE, (leftover.kind, leftover.id))
    return removed


def delete_sessions(connection: Connection, ids: Collection[int]) -> None:
    """Delete the rows of these sessions."""
    connection.exec_driver_sql(_DELETE_SESSIONS, (_list(ids),))


def _remove_over(connection: Connection, user_id: int, most: int) -> tuple[int, bool]:
    return _remove_sessions(connection, _OVER, user_id, most)


def _remove_of_device(connection: Connection, device_id: int, most: int) -> tuple[int, bool]:
    found = connection.exec_driver_sql(_VALUES_FOR_DEVICE, (device_id, most)).all()
    if found:
        chosen = affordable([(offset, size) for offset, size in found])
        connection.exec_driver_sql(_DELETE_MESSAGES, (_list(chosen),))
        return len(chosen), False
    return _remove_sessions(connection, _OF_DEVICE, device_id, most)


def _remove_of_user(connection: Connection, user_id: int, most: int) -> tuple[int, bool]:
    for query, delete in _MESSAGES:
        found = connection.exec_driver_sql(query, (user_id, most)).all()
        if found:
            chosen = affordable([(offset, size) for offset, size in found])
            connection.exec_driver_sql(delete, (_list(chosen),))
            return len(chosen), False
    cursors = connection.exec_driver_sql(_CURSORS, (user_id, most)).rowcount
    if cursors == most:
        return cursors, False
    floors = connection.exec_driver_sql(_FLOOR, (user_id,)).rowcount
    sessions, is_done = _remove_sessions(connection, _OF_USER, user_id, most - cursors)
    return cursors + floors + sessions, is_done


def _remove_sessions(connection: Connection, query: str, owner: int, most: int) -> tuple[int, bool]:
    ids = connection.exec_driver_sql(query, (owner, most)).scalars().all()
    if ids:
        delete_sessions(connection, ids)
    return len(ids), len(ids) < most


_REMOVE: Final = {
    Kind.SESSIONS: _remove_over,
    Kind.DEVICE: _remove_of_device,
    Kind.USER: _remove_of_user,
}


def _list(ids: Collection[int]) -> str:
    return orjson.dumps(list(ids)).decode()
