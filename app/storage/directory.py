"""Who there is: users by their names, searched and page by page, and the names of many."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.schema import devices, users
from app.storage.users import USER_COLUMNS, User, user_of


@dataclass(frozen=True, slots=True)
class Search:
    """A part of a name, as it was typed and as handles are compared."""

    text: str
    handle_key: str


@dataclass(frozen=True, slots=True)
class UserName:
    """What a user is called: `handle` here, or `sub` outside."""

    handle: str | None
    sub: str | None


@dataclass(frozen=True, slots=True)
class DeviceName:
    """What a device is called."""

    device_name: str | None
    device_type: str


async def count_users(connection: AsyncConnection) -> int:
    """Return how many users there are; deleted ones do not count."""
    query = select(func.count()).select_from(users).where(users.c.deleted_at.is_(None))
    return (await connection.execute(query)).scalar_one()


async def page_of_users(
    connection: AsyncConnection,
    search: Search | None,
    *,
    after: int,
    limit: int,
    among: Sequence[int] | None = None,
) -> list[User]:
    """Return the first `limit` users above the id `after` that match, in the order of their ids.

    With `among`, only users of these ids.
    """
    query = select(*USER_COLUMNS).where(users.c.deleted_at.is_(None), users.c.id > after)
    if search is not None:
        query = query.where(_named(search))
    if among is not None:
        query = query.where(users.c.id.in_(among))
    rows = await connection.execute(query.order_by(users.c.id).limit(limit))
    return [user_of(row) for row in rows]


async def device_counts(connection: AsyncConnection, user_ids: Collection[int]) -> dict[int, int]:
    """Return how many devices each of these users has; users without one are left out."""
    query = (
        select(devices.c.user_id, func.count().label("devices"))
        .where(devices.c.user_id.in_(user_ids), devices.c.removed_at.is_(None))
        .group_by(devices.c.user_id)
    )
    return {row.user_id: row.devices for row in await connection.execute(query)}


async def matching_users(connection: AsyncConnection, search: Search, limit: int) -> set[int]:
    """Return the ids of the first `limit` users that match."""
    query = select(users.c.id).where(users.c.deleted_at.is_(None), _named(search))
    found = await connection.execute(query.order_by(users.c.id).limit(limit))
    return set(found.scalars())


async def matching_devices(connection: AsyncConnection, search: Search, limit: int) -> set[int]:
    """Return the ids of the `limit` devices seen last whose name matches."""
    query = (
        select(devices.c.id)
        .where(
            devices.c.removed_at.is_(None),
            devices.c.device_name.contains(search.text, autoescape=True),
        )
        .order_by(devices.c.last_seen.desc())
        .limit(limit)
    )
    return set((await connection.execute(query)).scalars())


async def user_names(connection: AsyncConnection, ids: Collection[int]) -> dict[int, UserName]:
    """Return what these users are called, without deleted ones: others may have their names now."""
    query = select(users.c.id, users.c.handle, users.c.sub).where(
        users.c.id.in_(ids), users.c.deleted_at.is_(None)
    )
    return {row.id: UserName(row.handle, row.sub) for row in await connection.execute(query)}


async def device_names(connection: AsyncConnection, ids: Collection[int]) -> dict[int, DeviceName]:
    """Return what these devices are called."""
    query = select(devices.c.id, devices.c.device_name, devices.c.device_type).where(
        devices.c.id.in_(ids)
    )
    return {
        row.id: DeviceName(row.device_name, row.device_type)
        for row in await connection.execute(query)
    }


async def users_of_ids(connection: AsyncConnection, ids: Collection[int]) -> dict[int, int]:
    """Return those of the ids whose users exist and are not deleted, each under itself."""
    query = select(users.c.id).where(users.c.id.in_(ids), users.c.deleted_at.is_(None))
    return {user_id: user_id for user_id in (await connection.execute(query)).scalars()}


async def users_of_handle_keys(
    connection: AsyncConnection, keys: Collection[str]
) -> dict[str, int]:
    """Return the ids of the users with these handles, by the text that compares handles."""
    query = select(users.c.handle_key, users.c.id).where(
        users.c.handle_key.in_(keys), users.c.deleted_at.is_(None)
    )
    return {row.handle_key: row.id for row in await connection.execute(query)}


async def users_of_subjects(
    connection: AsyncConnection, subjects: Collection[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """Return the ids of the users from outside with these pairs of issuer and subject."""
    by_issuer: defaultdict[str, list[str]] = defaultdict(list)
    for iss, sub in subjects:
        by_issuer[iss].append(sub)
    found: dict[tuple[str, str], int] = {}
    for iss, subs in by_issuer.items():
        query = select(users.c.sub, users.c.id).where(
            users.c.iss == iss, users.c.sub.in_(subs), users.c.deleted_at.is_(None)
        )
        for sub, user_id in await connection.execute(query):
            found[iss, sub] = user_id
    return found


def _named(search: Search) -> ColumnElement[bool]:
    # autoescape makes % and _ letters like all others.
    return or_(
        users.c.handle_key.contains(search.handle_key, autoescape=True),
        users.c.sub.contains(search.text, autoescape=True),
    )
