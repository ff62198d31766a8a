"""Whose a device is, from memory."""

from collections import OrderedDict

from app.storage.database import Database
from app.storage.devices import live_device
from app.storage.schema import MAX_ID

# About 120 bytes each.
CAPACITY = 65_536


class DeviceOwners:
    """The owners of the devices asked for lately; all writes on devices report here."""

    def __init__(self, database: Database, capacity: int = CAPACITY) -> None:
        self._database = database
        self._capacity = capacity
        # None: there is no such device.
        self._owners: OrderedDict[int, int | None] = OrderedDict()
        self._changes = 0

    def get(self, device_id: int) -> int | None:
        """Return the user id; None if there is no such device or it is not in memory."""
        return self._owners.get(device_id)

    async def load(self, device_id: int) -> int | None:
        """Return the user id; None if there is no such device or it was removed."""
        if not 0 < device_id <= MAX_ID:
            return None
        if device_id in self._owners:
            self._owners.move_to_end(device_id)
            return self._owners[device_id]
        while True:
            changes = self._changes
            async with self._database.lookup() as connection:
                device = await live_device(connection, device_id)
            # A device may have come or gone while the answer was on its way.
            if changes == self._changes:
                break
        owner = None if device is None else device.user_id
        self._put(device_id, owner)
        return owner

    def add(self, device_id: int, user_id: int) -> None:
        """The device, which may be new, is the user's."""
        self._changes += 1
        self._put(device_id, user_id)

    def remove(self, device_id: int) -> None:
        """There is no such device any more."""
        self._changes += 1
        self._put(device_id, None)

    def _put(self, device_id: int, user_id: int | None) -> None:
        self._owners[device_id] = user_id
        self._owners.move_to_end(device_id)
        if len(self._owners) > self._capacity:
            self._owners.popitem(last=False)
