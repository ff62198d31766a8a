"""What the cursors of devices tell: which wait for a message, and how far each is behind."""

from collections.abc import Collection
from dataclasses import dataclass

import orjson
from sqlalchemy import Integer, column, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.protocol.position import Position
from app.storage.schema import cursors, devices, messages


@dataclass(frozen=True, slots=True)
class DeviceCursor:
    """A device that is not removed, and its cursor as stored."""

    device_id: int
    cursor: Position | None


async def device_cursors(
    connection: AsyncConnection, user_ids: Collection[int]
) -> dict[int, list[DeviceCursor]]:
    """Return the devices of each user, in the order of their ids."""
    query = (
        select(devices.c.user_id, devices.c.id, cursors.c.epoch, cursors.c.offset)
        .outerjoin(cursors, cursors.c.device_id == devices.c.id)
        .where(devices.c.user_id.in_(user_ids), devices.c.removed_at.is_(None))
        .order_by(devices.c.id)
    )
    found: dict[int, list[DeviceCursor]] = {user_id: [] for user_id in user_ids}
    for user_id, device_id, epoch, offset in await connection.execute(query):
        cursor = Position(epoch, offset) if epoch is not None else None
        found[user_id].append(DeviceCursor(device_id, cursor))
    return found


async def count_below(
    connection: AsyncConnection, position: Position, without: Collection[int]
) -> int:
    """Return how many devices, but those in `without`, have a cursor below the position.

    Cursors of another epoch do not count.
    """
    # As one parameter: a statement takes 32,766, and there may be more devices.
    left_out = func.json_each(orjson.dumps(list(without)).decode()).table_valued(
        column("value", Integer)
    )
    query = (
        select(func.count())
        .select_from(cursors)
        .join(devices, devices.c.id == cursors.c.device_id)
        .where(
            devices.c.removed_at.is_(None),
            cursors.c.epoch == position.epoch,
            cursors.c.offset < position.offset,
            cursors.c.device_id.not_in(select(left_out.c.value)),
        )
    )
    return int((await connection.execute(query)).scalar_one())


async def lag(
    connection: AsyncConnection,
    *,
    user_id: int,
    device_id: int,
    after: int,
    now: int,
    most: int,
) -> int:
    """Return how many stored messages above the offset `after` are for the device, up to `most`.

    Messages that have expired by `now`, in milliseconds since the epoch, do not count.
    """
    due = (
        select(literal(1))
        .where(
            # 0 means everyone here, and every device below.
            messages.c.user_id.in_((user_id, 0)),
            messages.c.offset > after,
            messages.c.target_device.in_((0, device_id)),
            or_(messages.c.without_device != device_id, messages.c.without_instance != ""),
            or_(messages.c.expires_at.is_(None), messages.c.expires_at > now),
        )
        .limit(most)
    )
    counted = await connection.execute(select(func.count()).select_from(due.subquery()))
    return int(counted.scalar_one())
