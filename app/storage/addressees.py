"""Which users there are, by the names that a backend gives them."""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.schema import users


async def users_of_ids(connection: AsyncConnection, ids: Collection[int]) -> dict[int, int]:
    """Return the ids that belong to users who are not deleted, each under itself."""
    query = select(users.c.id).where(users.c.id.in_(ids), users.c.deleted_at.is_(None))
    return {user_id: user_id for user_id in (await connection.execute(query)).scalars()}


async def users_of_handle_keys(
    connection: AsyncConnection, keys: Collection[str]
) -> dict[str, int]:
    """Return the ids of the users with these handles, as handles are compared."""
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
