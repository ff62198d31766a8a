"""Devices that come and go: the rows that change together."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.devices import (
    Device,
    DeviceInfo,
    add_device,
    least_recently_seen,
    live_device_by_uuid,
    refresh_device,
    set_device_removed,
)
from app.storage.sessions import delete_sessions_of_device


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What one write has ended, of a user or of one of its devices."""

    user_id: int
    device_id: int | None = None
    session_ids: tuple[int, ...] = ()
    kept_session_id: int | None = None
    """The session that was spared."""
    not_before: int | None = None
    """JWTs of the user or device issued at or before this are over; milliseconds, None: none."""
    removed: bool = False
    """Whether the device is gone for good."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that may act, and the devices that had to go for it."""

    device: Device
    pruned: tuple[Ending, ...] = ()
    changed: bool = False
    """Whether the device is new, or says something else about itself than before."""


NotBefore = Callable[[int, int], int]
"""Of a user and a device: the time up to which JWTs are refused, to end all known ones."""


async def enrol_device(
    connection: AsyncConnection,
    user_id: int,
    info: DeviceInfo,
    *,
    now: int,
    limit: int,
    not_before: NotBefore,
) -> Enrolled:
    """The user has this device, and at most `limit`; the one least recently seen has gone.

    A uuid that the user knows keeps its device; one that only others know becomes a new device.
    """
    known = await live_device_by_uuid(connection, user_id, info.device_uuid)
    if known is not None:
        device = await refresh_device(connection, known.id, info, now)
    else:
        device = await add_device(connection, user_id, info, now)
    excess = await least_recently_seen(connection, user_id, keep=limit, but=device.id)
    pruned = [
        await remove_device(connection, old, now=now, not_before=not_before(user_id, old.id))
        for old in excess
    ]
    return Enrolled(device, tuple(pruned), known is None or _says(known) != _says(device))


def _says(device: Device) -> tuple[str, str | None, str | None]:
    return device.device_type, device.device_name, device.os_info


async def remove_device(
    connection: AsyncConnection, device: Device, *, now: int, not_before: int
) -> Ending:
    """The device is a tombstone without sessions."""
    sessions = await delete_sessions_of_device(connection, device.id)
    await set_device_removed(connection, device.id, now, not_before)
    return Ending(
        user_id=device.user_id,
        device_id=device.id,
        session_ids=tuple(sessions),
        not_before=not_before,
        removed=True,
    )
