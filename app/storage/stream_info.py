"""What operators see of streams: figures of all and of one, and the rows. Read only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, distinct, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.schema import floors, message_ids, messages, meta

_EVERYONE = 0

_from_device = messages.c.source_device != 0
_is_value = and_(messages.c.key.is_not(None), messages.c.deleted == 0)


@dataclass(frozen=True, slots=True)
class AllFigures:
    """How much is in all streams; `bytes` is the database's size, `oldest_at` in milliseconds."""

    epoch: str
    last: int
    rows: int
    rows_of_devices: int
    users: int
    bytes: int
    everyone_rows: int
    everyone_floor: int
    users_with_floor: int
    oldest_at: int | None
    message_ids: int


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """What counts against one budget: rows of the log and deletions, and the keys of values."""

    rows: int
    keys: int


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """How much is in one user's stream: the user's own, and everyone's in `head` and `rows` too."""

    head: int
    floor: int
    rows: int
    of_devices: BudgetFigures
    of_backend: BudgetFigures


async def figures(connection: AsyncConnection) -> AllFigures:
    """Return the figures of all streams."""
    oldest = select(messages.c.created_at).order_by(messages.c.offset).limit(1)
    return AllFigures(
        epoch=await connection.scalar(select(meta.c.value).where(meta.c.key == "epoch")) or "",
        last=await _last(connection),
        rows=await _count(connection),
        rows_of_devices=await _count(connection, _from_device),
        users=await connection.scalar(
            select(func.count(distinct(messages.c.user_id))).where(messages.c.user_id != _EVERYONE)
        )
        or 0,
        bytes=await _size(connection),
        everyone_rows=await _count(connection, messages.c.user_id == _EVERYONE),
        everyone_floor=await _floor(connection, _EVERYONE),
        users_with_floor=await connection.scalar(
            select(func.count()).where(floors.c.user_id != _EVERYONE)
        )
        or 0,
        oldest_at=await connection.scalar(oldest),
        message_ids=await connection.scalar(select(func.count()).select_from(message_ids)) or 0,
    )


async def figures_of(connection: AsyncConnection, user_id: int) -> StreamFigures:
    """Return the figures of one user's stream."""
    floor = max(await _floor(connection, user_id), await _floor(connection, _EVERYONE))
    newest = select(func.max(messages.c.offset)).where(_theirs(user_id))
    return StreamFigures(
        head=max(await connection.scalar(newest) or 0, floor),
        floor=floor,
        rows=await _count(connection, _theirs(user_id)),
        of_devices=await _budget(connection, user_id, _from_device),
        of_backend=await _budget(connection, user_id, ~_from_device),
    )


async def rows_of(
    connection: AsyncConnection,
    user_id: int,
    *,
    after: int,
    now: int,
    most: int,
    expired: bool = False,
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return up to `most` rows of the user and of everyone above the offset `after`, in order.

    User 0 is everyone. Rows that have expired by `now`, in milliseconds since the epoch, are left
    out; with `expired`, all others are.
    """
    expires_at = messages.c.expires_at
    lives = or_(expires_at.is_(None), expires_at > now)
    query = (
        select(*messages.c)
        .where(
            _theirs(user_id),
            messages.c.offset > after,
            expires_at <= now if expired else lives,
        )
        .order_by(messages.c.offset)
        .limit(most)
    )
    return (await connection.execute(query)).all()


async def _budget(
    connection: AsyncConnection, user_id: int, author: ColumnElement[bool]
) -> BudgetFigures:
    own = and_(messages.c.user_id == user_id, author)
    return BudgetFigures(
        rows=await _count(connection, own, ~_is_value),
        keys=await _count(connection, own, _is_value),
    )


def _theirs(user_id: int) -> ColumnElement[bool]:
    return messages.c.user_id.in_({user_id, _EVERYONE})


async def _count(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(messages).where(*conditions)
    return await connection.scalar(query) or 0


async def _floor(connection: AsyncConnection, user_id: int) -> int:
    query = select(floors.c.offset).where(floors.c.user_id == user_id)
    return await connection.scalar(query) or 0


async def _last(connection: AsyncConnection) -> int:
    """Return the newest offset ever given out, which AUTOINCREMENT remembers."""
    query = text("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
    return await connection.scalar(query) or 0


async def _size(connection: AsyncConnection) -> int:
    pages = await connection.scalar(text("PRAGMA page_count")) or 0
    return int(pages * (await connection.scalar(text("PRAGMA page_size")) or 0))
