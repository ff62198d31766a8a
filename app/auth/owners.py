"""Whose a device is, from memory."""

from typing import Final

from app.base.lru import Lru
from app.storage.database import Database
from app.storage.devices import live_device
from app.storage.schema import MAX_ID

KNOWN_DEVICES: Final = 65_536
"""About 90 bytes each, and up to twice as many; above the 50,000 connections of a node."""

NOBODY: Final = 0
"""The owner of a device that does not exist; ids of users begin at 1."""


class DeviceOwners:
    """The owners of the devices asked for lately; all writes on devices report here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owners: Lru[int, int] = Lru(KNOWN_DEVICES)

    async def load(self, device_id: int) -> int | None:
        """Return the user id; None if there is no such device or it was removed."""
        if not 0 < device_id <= MAX_ID:
            return None
        owner = self._owners.get(device_id)
        if owner is None:
            async with self._database.lookup() as connection:
                device = await live_device(connection, device_id)
            # What a write has reported meanwhile is newer than what was read.
            owner = self._owners.get(device_id)
            if owner is None:
                owner = NOBODY if device is None else device.user_id
                self._owners.put(device_id, owner)
        return owner or None

    def add(self, device_id: int, user_id: int) -> None:
        """Record that the device, which may be new, is the user's."""
        self._owners.put(device_id, user_id)

    def remove(self, device_id: int) -> None:
        """Record that there is no such device any more."""
        self._owners.put(device_id, NOBODY)
