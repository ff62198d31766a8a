"""The rows of devices."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.schema import MAX_ID, devices


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a device says about itself, cleaned."""

    device_uuid: str
    device_type: str
    device_name: str | None = None
    os_info: str | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """An installation of a user; times are milliseconds since the epoch."""

    id: int
    user_id: int
    device_uuid: str
    device_type: str
    device_name: str | None
    os_info: str | None
    created_at: int
    last_seen: int
    removed_at: int | None
    """Set for a tombstone: the row of a device that was revoked or pruned."""
    not_before: int
    """JWTs issued at or before this are refused."""


_COLUMNS: tuple[ColumnElement[Any], ...] = tuple(devices.c)


def _device(row: Row[*tuple[Any, ...]]) -> Device:
    return Device(**row._asdict())


def _live(user_id: int) -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS).where(devices.c.user_id == user_id, devices.c.removed_at.is_(None))


async def add_device(
    connection: AsyncConnection, user_id: int, info: DeviceInfo, now: int
) -> Device:
    """Add and return a device; raises IntegrityError if the user has one of its uuid."""
    added = insert(devices).values(
        user_id=user_id,
        device_uuid=info.device_uuid,
        device_type=info.device_type,
        device_name=info.device_name,
        os_info=info.os_info,
        created_at=now,
        last_seen=now,
    )
    return _device((await connection.execute(added.returning(*_COLUMNS))).one())


async def refresh_device(
    connection: AsyncConnection, device_id: int, info: DeviceInfo, now: int
) -> Device:
    """Store what the device says about itself now, but for what it leaves out; return it."""
    given = {"device_name": info.device_name, "os_info": info.os_info}
    changed = (
        update(devices)
        .where(devices.c.id == device_id)
        .values(device_type=info.device_type, last_seen=now)
        .values({name: value for name, value in given.items() if value is not None})
    )
    return _device((await connection.execute(changed.returning(*_COLUMNS))).one())


async def live_device_by_uuid(
    connection: AsyncConnection, user_id: int, device_uuid: str
) -> Device | None:
    """Return the user's device of this uuid; None if it is unknown or was removed."""
    query = _live(user_id).where(devices.c.device_uuid == device_uuid)
    row = (await connection.execute(query)).one_or_none()
    return _device(row) if row is not None else None


async def live_device(connection: AsyncConnection, device_id: int) -> Device | None:
    """Return the device; None if it is unknown or was removed."""
    if not 0 < device_id <= MAX_ID:
        return None
    query = select(*_COLUMNS).where(devices.c.id == device_id, devices.c.removed_at.is_(None))
    row = (await connection.execute(query)).one_or_none()
    return _device(row) if row is not None else None


async def devices_of(
    connection: AsyncConnection,
    user_id: int | None = None,
    *,
    include_removed: bool = False,
    after: int = 0,
    limit: int | None = None,
) -> list[Device]:
    """Return the devices of a user, or of all users, above an id, in the order of their ids."""
    query = select(*_COLUMNS).where(devices.c.id > after).order_by(devices.c.id).limit(limit)
    if user_id is not None:
        query = query.where(devices.c.user_id == user_id)
    if not include_removed:
        query = query.where(devices.c.removed_at.is_(None))
    return [_device(row) for row in await connection.execute(query)]


async def device_ids_of(connection: AsyncConnection, user_id: int) -> list[int]:
    """Return the ids of the user's devices that are not removed."""
    query = select(devices.c.id).where(devices.c.user_id == user_id, devices.c.removed_at.is_(None))
    return list(await connection.scalars(query))


async def nth_newest_created_at(connection: AsyncConnection, user_id: int, nth: int) -> int | None:
    """Return when the user's `nth` newest device was made, tombstones counted; None if too few.

    It reads an entry of an index for each device of the user.
    """
    nth_newest = (
        select(devices.c.id)
        .where(devices.c.user_id == user_id)
        .order_by(devices.c.id.desc())
        .limit(1)
        .offset(nth - 1)
    )
    query = select(devices.c.created_at).where(devices.c.id == nth_newest.scalar_subquery())
    return (await connection.execute(query)).scalar_one_or_none()


async def devices_by_uuid(
    connection: AsyncConnection, user_ids: Collection[int], uuids: Collection[str]
) -> list[Device]:
    """Return these users' devices of these uuids, tombstones too, the oldest first."""
    query = (
        select(*_COLUMNS)
        .where(devices.c.user_id.in_(user_ids), devices.c.device_uuid.in_(uuids))
        .order_by(devices.c.id)
    )
    return [_device(row) for row in await connection.execute(query)]


async def devices_above(
    connection: AsyncConnection, user_id: int, *, keep: int, but: int, connected: Collection[int]
) -> list[Device]:
    """Return the devices above the `keep` allowed ones, the least recently seen, never `but`.

    Those `connected` come after all others. Of devices seen at the same time, the one with the
    lower id comes first.
    """
    counted = select(func.count()).where(
        devices.c.user_id == user_id, devices.c.removed_at.is_(None)
    )
    excess = (await connection.execute(counted)).scalar_one() - keep
    if excess <= 0:
        return []
    query = (
        _live(user_id)
        .where(devices.c.id != but)
        .order_by(devices.c.id.in_(connected), devices.c.last_seen, devices.c.id)
        .limit(excess)
    )
    return [_device(row) for row in await connection.execute(query)]


async def set_device_name(connection: AsyncConnection, device_id: int, name: str | None) -> Device:
    """Give the device the name, None for none, and return it."""
    changed = update(devices).where(devices.c.id == device_id).values(device_name=name)
    return _device((await connection.execute(changed.returning(*_COLUMNS))).one())


async def set_devices_removed(
    connection: AsyncConnection, not_before: Mapping[int, int], now: int
) -> None:
    """Make these devices tombstones: their uuids are free, each `not_before` stays."""
    changed = (
        update(devices)
        .where(devices.c.id == bindparam("device"))
        .values(removed_at=now, not_before=bindparam("limit"))
    )
    rows = [{"device": device, "limit": limit} for device, limit in not_before.items()]
    if rows:
        await connection.execute(changed, rows)


async def set_all_devices_removed(connection: AsyncConnection, user_id: int, now: int) -> list[int]:
    """Make every device of the user a tombstone; return their ids."""
    changed = (
        update(devices)
        .where(devices.c.user_id == user_id, devices.c.removed_at.is_(None))
        .values(removed_at=now, not_before=now)
    )
    return list((await connection.execute(changed.returning(devices.c.id))).scalars())


async def set_device_not_before(
    connection: AsyncConnection, device_id: int, not_before: int
) -> None:
    """Refuse the device's JWTs that were issued at or before `not_before`."""
    await connection.execute(
        update(devices).where(devices.c.id == device_id).values(not_before=not_before)
    )
