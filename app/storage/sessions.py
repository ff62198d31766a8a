"""The rows of sessions, and of JWTs that signed out."""

import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, insert, or_, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.schema import MAX_ID, devices, ended_jwts, sessions, users
from app.storage.users import read_roles


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
    .select_from(sessions)
    .join(users, users.c.id == sessions.c.user_id)
    .outerjoin(devices, devices.c.id == sessions.c.device_id)
    .where(
        users.c.disabled_at.is_(None),
        users.c.deleted_at.is_(None),
        devices.c.removed_at.is_(None),
        sessions.c.token_hash.in_(bindparam("hashes", expanding=True)),
    )
)


def _session(row: Row[*tuple[Any, ...]]) -> SessionRecord:
    return SessionRecord(**row._asdict())


async def token_owners(
    connection: AsyncConnection, hashes: Collection[bytes]
) -> dict[bytes, TokenOwner]:
    """Return the owner of each token whose user may act and device was not removed, in one select.

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


async def sessions_of(connection: AsyncConnection, user_id: int) -> list[SessionRecord]:
    """Return the sessions of a user in the order of their ids, also those past their end."""
    query = select(*_COLUMNS).where(sessions.c.user_id == user_id).order_by(sessions.c.id)
    return [_session(row) for row in await connection.execute(query)]


async def delete_session(connection: AsyncConnection, session_id: int) -> SessionRecord | None:
    """Delete the session; return it as it was, None if it was unknown."""
    if not 0 < session_id <= MAX_ID:
        return None
    return await _delete_one(connection, sessions.c.id == session_id)


async def delete_session_of_token(
    connection: AsyncConnection, token_hash: bytes
) -> SessionRecord | None:
    """Delete the token's session; return it as it was, None if it was unknown."""
    return await _delete_one(connection, sessions.c.token_hash == token_hash)


async def _delete_one(
    connection: AsyncConnection, which: ColumnElement[bool]
) -> SessionRecord | None:
    gone = await connection.execute(delete(sessions).where(which).returning(*_COLUMNS))
    row = gone.one_or_none()
    return _session(row) if row is not None else None


async def delete_sessions_of_user(
    connection: AsyncConnection, user_id: int, keep: int | None = None
) -> list[int]:
    """Delete every session of the user but `keep`; return their ids."""
    gone = delete(sessions).where(sessions.c.user_id == user_id)
    if keep is not None:
        gone = gone.where(sessions.c.id != keep)
    return list((await connection.execute(gone.returning(sessions.c.id))).scalars())


async def delete_sessions_of_device(connection: AsyncConnection, device_id: int) -> list[int]:
    """Delete every session of the device; return their ids."""
    gone = delete(sessions).where(sessions.c.device_id == device_id)
    return list((await connection.execute(gone.returning(sessions.c.id))).scalars())


async def delete_ended_sessions(connection: AsyncConnection, now: int, idle_since: int) -> None:
    """Delete the sessions past their absolute end, and those unused since `idle_since`."""
    await connection.execute(
        delete(sessions).where(
            or_(sessions.c.expires_at <= now, sessions.c.last_used <= idle_since)
        )
    )


# JWTs, by what `hash_jwt` returns


async def add_ended_jwt(connection: AsyncConnection, jwt_hash: bytes, expires_at: int) -> None:
    """Refuse the JWT with this hash until it ends by itself; twice is no error."""
    added = upsert(ended_jwts).values(jwt_hash=jwt_hash, expires_at=expires_at)
    await connection.execute(added.on_conflict_do_nothing())


async def which_jwts_ended(connection: AsyncConnection, hashes: Collection[bytes]) -> set[bytes]:
    """Return those of the hashes whose JWTs signed out."""
    query = select(ended_jwts.c.jwt_hash).where(ended_jwts.c.jwt_hash.in_(hashes))
    return set((await connection.execute(query)).scalars())


async def delete_expired_jwts(connection: AsyncConnection, now: int) -> None:
    """Forget the JWTs that signed out and are past their `exp`."""
    await connection.execute(delete(ended_jwts).where(ended_jwts.c.expires_at <= now))
