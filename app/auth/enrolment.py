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
)
from app.storage.endings import DeviceEnding, remove_device


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that may act, and the devices that had to go for it."""

    device: Device
    pruned: tuple[DeviceEnding, ...] = ()
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
