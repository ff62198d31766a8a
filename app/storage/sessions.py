"""The rows of sessions, and of JWTs that signed out."""

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.leftovers import Kind, delete_sessions, leave
from app.storage.schema import MAX_ID, devices, ended_jwts, sessions, users
from app.storage.steps import STEP_ROWS
from app.storage.users import read_roles

MAX_LISTED: Final = 1000
"""Sessions of one user that are listed: people look through no more."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as it is stored, without its token; times are milliseconds since the epoch."""

    id: int
    user_id: int
    device_id: int | None
    created_at: int
    last_used: int
    expires_at: int
    """The absolute end, used or not."""
    label: str | None


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whom a token stands for; times are milliseconds since the epoch."""

    session_id: int
    user_id: int
    device_id: int | None
    handle: str
    roles: tuple[str, ...]
    last_used: int
    expires_at: int


_COLUMNS: tuple[ColumnElement[Any], ...] = (
    sessions.c.id,
    sessions.c.user_id,
    sessions.c.device_id,
    sessions.c.created_at,
    sessions.c.last_used,
    sessions.c.expires_at,
    sessions.c.label,
)

_WITH_OWNERS = sessions.join(users, users.c.id == sessions.c.user_id).outerjoin(
    devices, devices.c.id == sessions.c.device_id
)

_IS_NOT_OVER = and_(
    users.c.disabled_at.is_(None),
    users.c.deleted_at.is_(None),
    devices.c.removed_at.is_(None),
    or_(
        sessions.c.id > users.c.sessions_over_upto,
        sessions.c.id == users.c.kept_session_id,
    ),
)
"""Rows of sessions that are over stay until they are removed in steps."""

_OWNERS = (
    select(
        sessions.c.token_hash,
        sessions.c.id,
        sessions.c.user_id,
        sessions.c.device_id,
        users.c.handle,
        users.c.sub,
        users.c.roles,
        sessions.c.last_used,
        sessions.c.expires_at,
    )
    .select_from(_WITH_OWNERS)
    .where(_IS_NOT_OVER, sessions.c.token_hash.in_(bindparam("hashes", expanding=True)))
)


def _session(row: Row[*tuple[Any, ...]]) -> SessionRecord:
    return SessionRecord(**row._asdict())


async def token_owners(
    connection: AsyncConnection, hashes: Collection[bytes]
) -> dict[bytes, TokenOwner]:
    """Return the owner of each token whose session was not ended, in one select.

    The caller checks whether the session is in time.
    """
    found = await connection.execute(_OWNERS, {"hashes": list(hashes)})
    return {
        token_hash: TokenOwner(
            session_id=session_id,
            user_id=user_id,
            device_id=device_id,
            # One text for all devices of a user.
            handle=sys.intern(handle or sub),
            roles=read_roles(roles),
            last_used=last_used,
            expires_at=expires_at,
        )
        for (
            token_hash,
            session_id,
            user_id,
            device_id,
            handle,
            sub,
            roles,
            last_used,
            expires_at,
        ) in found
    }


async def add_session(
    connection: AsyncConnection,
    *,
    user_id: int,
    device_id: int | None,
    token_hash: bytes,
    now: int,
    expires_at: int,
    label: str | None = None,
) -> SessionRecord:
    """Add and return a session of the token with this SHA-256."""
    added = insert(sessions).values(
        user_id=user_id,
        device_id=device_id,
        token_hash=token_hash,
        created_at=now,
        last_used=now,
        expires_at=expires_at,
        label=label,
    )
    return _session((await connection.execute(added.returning(*_COLUMNS))).one())


async def sessions_of(connection: AsyncConnection, user_id: int, now: int) -> list[SessionRecord]:
    """Return the user's sessions that were not ended and are before their absolute end, by id.

    Of more than MAX_LISTED it returns the newest.
    """
    query = (
        select(*_COLUMNS)
        .select_from(_WITH_OWNERS)
        .where(_IS_NOT_OVER, sessions.c.user_id == user_id, sessions.c.expires_at > now)
        .order_by(sessions.c.id.desc())
        .limit(MAX_LISTED)
    )
    return [_session(row) for row in await connection.execute(query)][::-1]


async def delete_session(connection: AsyncConnection, session_id: int) -> SessionRecord | None:
    """Delete the session; return it as it was, None if it is unknown or was over."""
    if not 0 < session_id <= MAX_ID:
        return None
    return await _delete_one(connection, sessions.c.id == session_id)


async def delete_session_of_token(
    connection: AsyncConnection, token_hash: bytes
) -> SessionRecord | None:
    """Delete the token's session; return it as it was, None if it is unknown or was over."""
    return await _delete_one(connection, sessions.c.token_hash == token_hash)


async def _delete_one(
    connection: AsyncConnection, which: ColumnElement[bool]
) -> SessionRecord | None:
    query = select(*_COLUMNS).select_from(_WITH_OWNERS).where(_IS_NOT_OVER, which)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    await connection.execute(delete(sessions).where(sessions.c.id == row.id))
    return _session(row)


async def end_sessions_of_user(
    connection: AsyncConnection,
    user_id: int,
    keep: int | None = None,
    *,
    leaving: Kind = Kind.SESSIONS,
) -> int:
    """End every session of the user but `keep`; return the id up to which they are over.

    Their rows are left to be removed in steps, with those of all that ends.
    """
    upto = (await connection.scalar(select(func.max(sessions.c.id)))) or 0
    changed = update(users).values(sessions_over_upto=upto, kept_session_id=keep)
    await connection.execute(changed.where(users.c.id == user_id))
    await leave(connection, leaving, [user_id])
    return upto


# The limit of a user


_OVER_UPTO: Final = "SELECT sessions_over_upto, kept_session_id FROM users WHERE id = ?"
_COUNT: Final = """
SELECT count(*) FROM (
    SELECT 1 FROM sessions AS s INDEXED BY sessions_user_id
    LEFT JOIN devices AS d ON d.id = s.device_id
    WHERE s.user_id = ? AND s.id > ? AND d.removed_at IS NULL LIMIT ?
)
"""
_IS_KEPT: Final = """
SELECT count(*) FROM sessions AS s LEFT JOIN devices AS d ON d.id = s.device_id
WHERE s.id = ? AND s.id <= ? AND d.removed_at IS NULL
"""
_LEAST_RECENTLY_USED: Final = """
SELECT s.id, s.last_used, (s.id > ? OR s.id IS ?) AND d.removed_at IS NULL AS goes_on
FROM sessions AS s INDEXED BY sessions_user_id_last_used
LEFT JOIN devices AS d ON d.id = s.device_id
WHERE s.user_id = ? AND s.id NOT IN (SELECT value FROM json_each(?))
ORDER BY s.last_used, s.id LIMIT ?
"""
_ABOVE: Final = "SELECT user_id FROM sessions GROUP BY user_id HAVING count(*) > ?"


@dataclass(frozen=True, slots=True)
class Excess:
    """The sessions that were ended since their user had too many, and whether there are more."""

    ended: tuple[int, ...] = ()
    more: bool = False


def end_excess(
    connection: Connection,
    user_id: int,
    *,
    limit: int,
    but: Collection[int],
    connected: Collection[int],
    used: Callable[[int], int],
    most: int = STEP_ROWS,
) -> Excess:
    """End the user's sessions above the limit, those used least recently, `most` of them at a time.

    Never one of `but`; one of `connected` only if all others are gone. `used` returns when memory
    knows a session to have been used, 0 if it does not; all times in milliseconds since the epoch.
    Of sessions used at the same time, the one with the lower id goes first.
    """
    user = connection.exec_driver_sql(_OVER_UPTO, (user_id,)).one_or_none()
    if user is None:
        return Excess()
    over_upto, kept = user
    counted = connection.exec_driver_sql(_COUNT, (user_id, over_upto, limit + most))
    kept_ones = connection.exec_driver_sql(_IS_KEPT, (kept, over_upto))
    excess = int(counted.scalar_one()) + int(kept_ones.scalar_one()) - limit
    if excess <= 0:
        return Excess()
    ended: list[int] = []
    for spared in ((*but, *connected), but):
        values = (over_upto, kept, user_id, orjson.dumps(list(spared)).decode(), most)
        page = connection.exec_driver_sql(_LEAST_RECENTLY_USED, values).all()
        by_use = sorted((max(at, used(one)), one) for one, at, goes_on in page if goes_on)
        chosen = [one for _, one in by_use[: excess - len(ended)]]
        delete_sessions(connection, [*chosen, *(one for one, _, goes_on in page if not goes_on)])
        ended += chosen
        if len(ended) == excess or len(page) == most:
            break
    return Excess(tuple(ended), more=len(ended) < excess or excess >= most)


def users_above(connection: Connection, limit: int) -> list[int]:
    """Return the users with rows of more than `limit` sessions, some of which may be over."""
    return list(connection.exec_driver_sql(_ABOVE, (limit,)).scalars())


# JWTs, by what `hash_jwt` returns


async def add_ended_jwt(connection: AsyncConnection, jwt_hash: bytes, expires_at: int) -> None:
    """Refuse the JWT with this hash until it ends by itself; twice is no error."""
    added = upsert(ended_jwts).values(jwt_hash=jwt_hash, expires_at=expires_at)
    await connection.execute(added.on_conflict_do_nothing())


async def which_jwts_ended(connection: AsyncConnection, hashes: Collection[bytes]) -> set[bytes]:
    """Return those of the hashes whose JWTs signed out."""
    query = select(ended_jwts.c.jwt_hash).where(ended_jwts.c.jwt_hash.in_(hashes))
    return set((await connection.execute(query)).scalars())
