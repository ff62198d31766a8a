"""Removes what is past: sessions and JWTs beyond their end, and tombstones that nobody can name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from sqlalchemy import Connection

from app.base.counts import Removed
from app.storage.leftovers import Kind
from app.storage.steps import STEP_ROWS


@dataclass(frozen=True, slots=True)
class Past:
    """Until when things are past, in milliseconds since the epoch.

    Sessions and JWTs that end up to `now`, sessions last used up to `idle_since`; users and devices
    that were removed up to `tombstones_until`, and of which no JWT issued after that is refused.
    """

    now: int
    idle_since: int
    tombstones_until: int


SESSIONS: Final = "sessions"
JWTS: Final = "jwts"
DEVICES: Final = "devices"
USERS: Final = "users"

_PAST_SESSIONS: Final = "SELECT count(*) FROM sessions WHERE expires_at <= ? OR last_used <= ?"
_PAST_JWTS: Final = "SELECT count(*) FROM ended_jwts WHERE expires_at <= ?"
_CHOSEN: Final = "IN (SELECT value FROM json_each(?))"

_EXPIRED_SESSIONS: Final = """
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= ? LIMIT ?)
"""
_IDLE_SESSIONS: Final = """
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE last_used <= ? LIMIT ?)
"""
_ENDED_JWTS: Final = """
DELETE FROM ended_jwts WHERE jwt_hash IN (
    SELECT jwt_hash FROM ended_jwts WHERE expires_at <= ? LIMIT ?
)
"""
_DEVICES: Final = """
SELECT id FROM devices INDEXED BY devices_removed_at
WHERE removed_at IS NOT NULL AND removed_at <= ? AND not_before <= ?
    AND NOT EXISTS (SELECT 1 FROM sessions WHERE device_id = devices.id)
ORDER BY removed_at LIMIT ?
"""
_CURSORS_OF: Final = f"DELETE FROM cursors WHERE device_id {_CHOSEN}"  # noqa: S608 - constants, like all here
_DELETE_DEVICES: Final = f"DELETE FROM devices WHERE id {_CHOSEN}"  # noqa: S608
# What was stored for a user while they were deleted came too late for the first removal.
_USERS: Final = """
SELECT u.id, EXISTS (SELECT 1 FROM messages WHERE user_id = u.id)
    OR EXISTS (SELECT 1 FROM cursors WHERE user_id = u.id)
    OR EXISTS (SELECT 1 FROM floors WHERE user_id = u.id)
FROM users AS u INDEXED BY users_deleted_at
WHERE u.deleted_at IS NOT NULL AND u.deleted_at <= ? AND u.not_before <= ?
    AND NOT EXISTS (SELECT 1 FROM devices WHERE user_id = u.id)
    AND NOT EXISTS (SELECT 1 FROM sessions WHERE user_id = u.id)
    AND NOT EXISTS (SELECT 1 FROM leftovers WHERE kind = ? AND id = u.id)
ORDER BY u.deleted_at LIMIT ?
"""
_DELETE_USERS: Final = f"DELETE FROM users WHERE id {_CHOSEN}"  # noqa: S608
_LEAVE: Final = "INSERT INTO leftovers (kind, id) VALUES (?, ?)"


def remove_past(
    connection: Connection, past: Past, most: int = STEP_ROWS
) -> tuple[Removed, int] | None:
    """Remove up to `most` rows that are past; return which and how many, None if none are left."""
    for kind, remove in _STEPS:
        if removed := remove(connection, past, most):
            return kind, removed
    return None


def count_past(connection: Connection, past: Past) -> dict[Removed, int]:
    """Return how many rows of each kind are past.

    Users and devices that still have rows of another kind are left out, as they stay until those
    are gone.
    """
    until = past.tombstones_until
    devices = connection.exec_driver_sql(_DEVICES, (until, until, -1)).scalars()
    users = connection.exec_driver_sql(_USERS, (until, until, Kind.USER, -1)).all()
    return {
        SESSIONS: _count(connection, _PAST_SESSIONS, (past.now, past.idle_since)),
        JWTS: _count(connection, _PAST_JWTS, (past.now,)),
        DEVICES: sum(1 for _ in devices),
        USERS: sum(not has_rows for _, has_rows in users),
    }


def _count(connection: Connection, query: str, values: tuple[int, ...]) -> int:
    return int(connection.exec_driver_sql(query, values).scalar_one())


def _remove_expired_sessions(connection: Connection, past: Past, most: int) -> int:
    return connection.exec_driver_sql(_EXPIRED_SESSIONS, (past.now, most)).rowcount


def _remove_idle_sessions(connection: Connection, past: Past, most: int) -> int:
    return connection.exec_driver_sql(_IDLE_SESSIONS, (past.idle_since, most)).rowcount


def _remove_ended_jwts(connection: Connection, past: Past, most: int) -> int:
    return connection.exec_driver_sql(_ENDED_JWTS, (past.now, most)).rowcount


def _remove_devices(connection: Connection, past: Past, most: int) -> int:
    until = past.tombstones_until
    ids = connection.exec_driver_sql(_DEVICES, (until, until, most)).scalars().all()
    if ids:
        chosen = (_list(ids),)
        connection.exec_driver_sql(_CURSORS_OF, chosen)
        connection.exec_driver_sql(_DELETE_DEVICES, chosen)
    return len(ids)


def _remove_users(connection: Connection, past: Past, most: int) -> int:
    until = past.tombstones_until
    found = connection.exec_driver_sql(_USERS, (until, until, Kind.USER, most)).all()
    late = [(Kind.USER, user_id) for user_id, has_rows in found if has_rows]
    gone = [user_id for user_id, has_rows in found if not has_rows]
    if late:
        connection.exec_driver_sql(_LEAVE, late)
    if gone:
        connection.exec_driver_sql(_DELETE_USERS, (_list(gone),))
    return len(found)


_STEPS: Final[tuple[tuple[Removed, Callable[[Connection, Past, int], int]], ...]] = (
    (SESSIONS, _remove_expired_sessions),
    (SESSIONS, _remove_idle_sessions),
    (JWTS, _remove_ended_jwts),
    (DEVICES, _remove_devices),
    (USERS, _remove_users),
)


def _list(ids: Sequence[int]) -> str:
    return orjson.dumps(list(ids)).decode()
