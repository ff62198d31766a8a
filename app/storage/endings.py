"""Writes that end sessions: the rows that change together, and what has ended with them.

None touches more rows than a user has devices: rows of sessions and messages are left over, and
removed later (app/storage/leftovers.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.devices import (
    Device,
    set_all_devices_removed,
    set_device_not_before,
    set_devices_removed,
)
from app.storage.leftovers import Kind, leave
from app.storage.schema import devices, users
from app.storage.sessions import (
    add_ended_jwt,
    delete_session,
    delete_session_of_token,
    end_sessions_of_user,
)
from app.storage.users import set_user_deleted, set_user_disabled, set_user_password


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnding:
    """The end of one session."""

    user_id: int
    session_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtEnding:
    """The end of one JWT without a device, which therefore has no connections."""

    user_id: int
    jwt_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEnding:
    """The end of a device's JWTs and, if it was removed, of its sessions and itself."""

    user_id: int
    device_id: int
    not_before: int
    """JWTs of the device issued at or before this have ended; milliseconds since the epoch."""
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEnding:
    """The end of a user's JWTs and sessions."""

    user_id: int
    sessions_upto: int
    """Sessions of the user with ids up to this have ended, ..."""
    kept_session_id: int | None = None
    """... but this one."""
    not_before: int
    """JWTs of the user issued at or before this have ended; milliseconds since the epoch."""
    removed_devices: tuple[int, ...] = ()
    """The devices of a user who was deleted."""


Ending = SessionEnding | JwtEnding | DeviceEnding | UserEnding
"""What one write has ended."""


async def end_session(connection: AsyncConnection, session_id: int) -> SessionEnding | None:
    """Delete the session; return None if it was unknown."""
    gone = await delete_session(connection, session_id)
    return SessionEnding(user_id=gone.user_id, session_id=gone.id) if gone is not None else None


async def end_session_of_token(
    connection: AsyncConnection, token_hash: bytes
) -> SessionEnding | None:
    """Delete the session of the token with this SHA-256; return None if it was unknown."""
    gone = await delete_session_of_token(connection, token_hash)
    return SessionEnding(user_id=gone.user_id, session_id=gone.id) if gone is not None else None


async def end_jwt(
    connection: AsyncConnection, *, user_id: int, jwt_hash: bytes, expires_at: int
) -> JwtEnding:
    """Refuse the user's JWT with this hash until `expires_at`, in milliseconds."""
    await add_ended_jwt(connection, jwt_hash, expires_at)
    return JwtEnding(user_id=user_id, jwt_hash=jwt_hash)


async def end_device_jwts(
    connection: AsyncConnection, *, user_id: int, device_id: int, not_before: int
) -> DeviceEnding:
    """Refuse the JWTs of the user's device that were issued at or before `not_before`."""
    await set_device_not_before(connection, device_id, not_before)
    return DeviceEnding(user_id=user_id, device_id=device_id, not_before=not_before)


async def lower_not_before(
    connection: AsyncConnection, ending: DeviceEnding | UserEnding, not_before: int
) -> bool:
    """Refuse only the JWTs issued at or before `not_before`; False if more has ended meanwhile."""
    table, row = (
        (devices, ending.device_id) if isinstance(ending, DeviceEnding) else (users, ending.user_id)
    )
    lowered = update(table).where(table.c.id == row, table.c.not_before == ending.not_before)
    return (await connection.execute(lowered.values(not_before=not_before))).rowcount > 0


async def remove_devices(
    connection: AsyncConnection,
    removed: Sequence[Device],
    *,
    now: int,
    not_before: Mapping[int, int],
) -> list[DeviceEnding]:
    """Make the devices tombstones, which ends their sessions; `not_before` is by device id."""
    ids = [device.id for device in removed]
    await set_devices_removed(connection, {one: not_before[one] for one in ids}, now)
    await leave(connection, Kind.DEVICE, ids)
    return [
        DeviceEnding(
            user_id=device.user_id,
            device_id=device.id,
            not_before=not_before[device.id],
            removed=True,
        )
        for device in removed
    ]


async def replace_password(
    connection: AsyncConnection,
    user_id: int,
    password_hash: str,
    *,
    not_before: int,
    kept_session_id: int | None = None,
) -> UserEnding:
    """Give the user a new password and end every session but the kept one."""
    await set_user_password(connection, user_id, password_hash, not_before)
    upto = await end_sessions_of_user(connection, user_id, keep=kept_session_id)
    return UserEnding(
        user_id=user_id,
        sessions_upto=upto,
        kept_session_id=kept_session_id,
        not_before=not_before,
    )


async def disable_user(
    connection: AsyncConnection, user_id: int, *, now: int, not_before: int
) -> UserEnding:
    """Disable the user and end every session."""
    await set_user_disabled(connection, user_id, disabled_at=now, not_before=not_before)
    upto = await end_sessions_of_user(connection, user_id)
    return UserEnding(user_id=user_id, sessions_upto=upto, not_before=not_before)


async def delete_user(
    connection: AsyncConnection, user_id: int, *, now: int, not_before: int
) -> UserEnding:
    """Make the user and every device tombstones, and leave all else that is theirs over."""
    await set_user_deleted(connection, user_id, deleted_at=now, not_before=not_before)
    gone = await set_all_devices_removed(connection, user_id, now)
    upto = await end_sessions_of_user(connection, user_id, leaving=Kind.USER)
    return UserEnding(
        user_id=user_id,
        sessions_upto=upto,
        not_before=not_before,
        removed_devices=tuple(gone),
    )
