"""The rows of API keys."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.schema import MAX_ID, api_keys


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as stored, without the key itself; times are milliseconds since the epoch."""

    id: int
    name: str
    scopes: tuple[str, ...]
    prefixes: tuple[str, ...]
    """The type prefixes that it may send; empty for all."""
    created_at: int
    last_used: int | None
    revoked_at: int | None


_COLUMNS: tuple[ColumnElement[Any], ...] = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.scopes,
    api_keys.c.prefixes,
    api_keys.c.created_at,
    api_keys.c.last_used,
    api_keys.c.revoked_at,
)


def _key(row: Row[*tuple[Any, ...]]) -> ApiKey:
    values = row._asdict()
    lists = {name: tuple(orjson.loads(values[name])) for name in ("scopes", "prefixes")}
    return ApiKey(**{**{name: values[name] for name in ApiKey.__slots__}, **lists})


async def add_api_key(
    connection: AsyncConnection,
    *,
    name: str,
    key_hash: bytes,
    scopes: Sequence[str],
    prefixes: Sequence[str],
    now: int,
) -> ApiKey:
    """Add and return a key, by its SHA-256."""
    added = insert(api_keys).values(
        name=name,
        key_hash=key_hash,
        scopes=orjson.dumps(list(scopes)).decode(),
        prefixes=orjson.dumps(list(prefixes)).decode(),
        created_at=now,
    )
    return _key((await connection.execute(added.returning(*_COLUMNS))).one())


async def live_api_keys(
    connection: AsyncConnection, hashes: Collection[bytes]
) -> dict[bytes, ApiKey]:
    """Return the keys with these SHA-256 that are not revoked."""
    query = select(*_COLUMNS, api_keys.c.key_hash).where(
        api_keys.c.key_hash.in_(hashes), api_keys.c.revoked_at.is_(None)
    )
    return {row.key_hash: _key(row) for row in await connection.execute(query)}


async def page_of_api_keys(
    connection: AsyncConnection, *, include_revoked: bool, after: int, limit: int
) -> list[ApiKey]:
    """Return the first `limit` keys with ids above `after`, in the order of their ids."""
    query = select(*_COLUMNS).where(api_keys.c.id > after).order_by(api_keys.c.id).limit(limit)
    if not include_revoked:
        query = query.where(api_keys.c.revoked_at.is_(None))
    return [_key(row) for row in await connection.execute(query)]


async def set_api_key_revoked(
    connection: AsyncConnection, key_id: int, now: int
) -> tuple[ApiKey, bytes] | None:
    """Revoke the key; return it and its SHA-256, None if it is unknown or was revoked before."""
    if not 0 < key_id <= MAX_ID:
        return None
    changed = (
        update(api_keys)
        .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(*_COLUMNS, api_keys.c.key_hash)
    )
    row = (await connection.execute(changed)).one_or_none()
    return (_key(row), row.key_hash) if row is not None else None
