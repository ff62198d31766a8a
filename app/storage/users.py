"""The rows of users."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.schema import MAX_ID, users

ADMIN: Final = "admin"
"""The role of those who may manage users and connections."""


@dataclass(frozen=True, slots=True)
class User:
    """A person; times are milliseconds since the epoch."""

    id: int
    handle: str | None
    """None for users from outside, who are known by `iss` and `sub`."""
    iss: str | None
    sub: str | None
    password_hash: str | None = field(repr=False)
    roles: tuple[str, ...]
    disabled_at: int | None
    deleted_at: int | None
    not_before: int
    """JWTs issued at or before this are refused."""
    created_at: int

    @property
    def name(self) -> str:
        """What people call the user: the handle, or the subject outside."""
        return self.handle or self.sub or ""

    @property
    def active(self) -> bool:
        """Whether the user may act: neither disabled nor deleted."""
        return self.disabled_at is None and self.deleted_at is None

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles


USER_COLUMNS: tuple[ColumnElement[Any], ...] = (
    users.c.id,
    users.c.handle,
    users.c.iss,
    users.c.sub,
    users.c.password_hash,
    users.c.roles,
    users.c.disabled_at,
    users.c.deleted_at,
    users.c.not_before,
    users.c.created_at,
)


def read_roles(text: str) -> tuple[str, ...]:
    """Return the roles that a row holds as a JSON list."""
    return tuple(orjson.loads(text)) if text != "[]" else ()


def user_of(row: Row[*tuple[Any, ...]]) -> User:
    """Return the user in a row of USER_COLUMNS."""
    values = row._asdict()
    return User(**{**values, "roles": read_roles(values["roles"])})


async def add_local_user(
    connection: AsyncConnection,
    *,
    handle: str,
    handle_key: str,
    password_hash: str,
    roles: Sequence[str],
    now: int,
) -> User:
    """Add and return a user with a handle; raises IntegrityError if another user has its key."""
    added = insert(users).values(
        handle=handle,
        handle_key=handle_key,
        password_hash=password_hash,
        roles=orjson.dumps(list(roles)).decode(),
        created_at=now,
    )
    return user_of((await connection.execute(added.returning(*USER_COLUMNS))).one())


async def add_outside_user(connection: AsyncConnection, iss: str, sub: str, now: int) -> User:
    """Add and return a user known by issuer and subject."""
    added = insert(users).values(iss=iss, sub=sub, created_at=now)
    return user_of((await connection.execute(added.returning(*USER_COLUMNS))).one())


async def add_outside_users(
    connection: AsyncConnection, subjects: Collection[tuple[str, str]], now: int
) -> None:
    """Add the users of these pairs of issuer and subject; those who exist stay as they are."""
    added = upsert(users).on_conflict_do_nothing()
    rows = [{"iss": iss, "sub": sub, "created_at": now} for iss, sub in subjects]
    await connection.execute(added, rows)


async def user_by_id(connection: AsyncConnection, user_id: int) -> User | None:
    """Return the user, disabled or not; None if there is none or it was deleted."""
    if not 0 < user_id <= MAX_ID:
        return None
    query = select(*USER_COLUMNS).where(users.c.id == user_id, users.c.deleted_at.is_(None))
    row = (await connection.execute(query)).one_or_none()
    return user_of(row) if row is not None else None


async def user_by_handle_key(connection: AsyncConnection, handle_key: str) -> User | None:
    """Return the user, disabled or not; None if there is none or it was deleted."""
    query = select(*USER_COLUMNS).where(
        users.c.handle_key == handle_key, users.c.deleted_at.is_(None)
    )
    row = (await connection.execute(query)).one_or_none()
    return user_of(row) if row is not None else None


async def user_by_subject(connection: AsyncConnection, iss: str, sub: str) -> User | None:
    """Return the user from outside, disabled or not; None if there is none or it was deleted."""
    query = select(*USER_COLUMNS).where(
        users.c.iss == iss, users.c.sub == sub, users.c.deleted_at.is_(None)
    )
    row = (await connection.execute(query)).one_or_none()
    return user_of(row) if row is not None else None


async def outside_users(connection: AsyncConnection, iss: str, subs: Collection[str]) -> list[User]:
    """Return the users of these subjects, tombstones too, the oldest first."""
    query = (
        select(*USER_COLUMNS).where(users.c.iss == iss, users.c.sub.in_(subs)).order_by(users.c.id)
    )
    return [user_of(row) for row in await connection.execute(query)]


async def live_users(
    connection: AsyncConnection, *, after: int = 0, limit: int | None = None
) -> list[User]:
    """Return the users that are not deleted, with ids above `after`, in the order of their ids."""
    query = select(*USER_COLUMNS).where(users.c.deleted_at.is_(None), users.c.id > after)
    query = query.order_by(users.c.id).limit(limit)
    return [user_of(row) for row in await connection.execute(query)]


async def set_user_password(
    connection: AsyncConnection, user_id: int, password_hash: str, not_before: int
) -> None:
    """Replace the password, and refuse JWTs that were issued at or before `not_before`."""
    changed = update(users).values(password_hash=password_hash, not_before=not_before)
    await connection.execute(changed.where(users.c.id == user_id))


async def set_user_disabled(
    connection: AsyncConnection, user_id: int, *, disabled_at: int, not_before: int
) -> None:
    """Disable the user; JWTs issued at or before `not_before` stay refused when enabled again."""
    changed = update(users).values(disabled_at=disabled_at, not_before=not_before)
    await connection.execute(changed.where(users.c.id == user_id))


async def set_user_enabled(connection: AsyncConnection, user_id: int) -> None:
    """Enable the user."""
    await connection.execute(update(users).values(disabled_at=None).where(users.c.id == user_id))


async def set_user_roles(connection: AsyncConnection, user_id: int, roles: Sequence[str]) -> None:
    """Give the user these roles and no others."""
    changed = update(users).values(roles=orjson.dumps(list(roles)).decode())
    await connection.execute(changed.where(users.c.id == user_id))


async def set_user_deleted(
    connection: AsyncConnection, user_id: int, *, deleted_at: int, not_before: int
) -> None:
    """Make the user a tombstone: no password, its handle is free, its `not_before` stays."""
    changed = update(users).values(deleted_at=deleted_at, not_before=not_before, password_hash=None)
    await connection.execute(changed.where(users.c.id == user_id))
