"""Which devices a durable message waits for."""

import logging
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.base.tasks import Batches
from app.node.node import Node
from app.protocol.position import Position
from app.protocol.publication import Address, ToDevice, ToEveryone, ToOthers, ToUser
from app.storage.cursors import DeviceCursor, count_below, device_cursors
from app.storage.database import Database
from app.streams.committer import Stored

_UNREADABLE: Final = (OSError, SQLAlchemyError, StorageUnavailable)

log = logging.getLogger(__name__)


class Receipts:
    """Tells which devices will get a message later; questions asked at once share one select."""

    def __init__(self, node: Node, database: Database) -> None:
        self._node = node
        self._database = database
        self._devices: Batches[int, list[DeviceCursor]] = Batches(self._load)

    async def waiting(self, to: Address, stored: Stored) -> list[int] | int | None:
        """Return the devices that have not taken the message yet, and will; how many, of everyone.

        None when the database does not answer.
        """
        if isinstance(to, ToEveryone):
            return await self._count(stored)
        return await self._devices_of(to, stored)

    async def _devices_of(
        self, to: ToDevice | ToUser | ToOthers, stored: Stored
    ) -> list[int] | None:
        """Return the devices that have not taken the message, and will.

        They are connected, or have a cursor from which they go on. None when the database does not
        answer.
        """
        try:
            found = await self._devices.get(to.user_id) or []
        except _UNREADABLE as error:
            _note_unknown(error)
            return None
        return [
            one.device_id
            for one in found
            if _is_for(to, one.device_id)
            and one.device_id not in stored.delivered
            and self._will_get(to.user_id, one, stored)
        ]

    async def _count(self, stored: Stored) -> int | None:
        """Return how many devices have not taken a message to everyone, and will.

        None when the database does not answer.
        """
        position = Position(stored.epoch, stored.offset)
        unsaved = self._node.delivery.standings.unsaved
        # Connected devices are counted from memory, which alone knows how far they are.
        here = {one.device_id for one in self._node.manager.connections()}
        away = {
            device_id
            for device_id, one in unsaved.items()
            if device_id not in here and _is_below(one.position, stored)
        }
        known = here | unsaved.keys()
        try:
            async with self._database.lookup() as connection:
                rest = await count_below(connection, position, known)
        except _UNREADABLE as error:
            _note_unknown(error)
            return None
        owed_here = 0 if stored.duplicate else len(here.difference(stored.delivered))
        return rest + len(away) + owed_here

    async def cursors(self, user_id: int) -> dict[int, Position | None]:
        """Return the cursor of each device of the user that is not removed."""
        found = await self._devices.get(user_id) or []
        return {one.device_id: self._cursor(user_id, one) for one in found}

    async def close(self) -> None:
        """Wait for a running select to finish."""
        await self._devices.close()

    def _will_get(self, user_id: int, device: DeviceCursor, stored: Stored) -> bool:
        cursor = self._cursor(user_id, device)
        if cursor is not None and cursor.epoch == stored.epoch:
            return cursor.offset < stored.offset
        # A device without a cursor is owed only what is sent while it is connected.
        connected = self._node.manager.is_device_connected(user_id, device.device_id)
        return connected and not stored.duplicate

    def _cursor(self, user_id: int, device: DeviceCursor) -> Position | None:
        """Return what the device has acknowledged; memory knows of later ones than the disk."""
        return self._node.delivery.standings.of(user_id, device.device_id).cursor or device.cursor

    async def _load(self, user_ids: Sequence[int]) -> dict[int, list[DeviceCursor]]:
        async with self._database.lookup() as connection:
            return await device_cursors(connection, user_ids)


def _note_unknown(error: Exception) -> None:
    log.warning("waiting devices not read", extra=fields(reason=type(error).__name__))


def _is_for(to: ToDevice | ToUser | ToOthers, device_id: int) -> bool:
    match to:
        case ToDevice():
            return device_id == to.device_id
        case ToOthers():
            return to.instance is not None or device_id != to.device_id
        case ToUser():
            return True


def _is_below(cursor: Position, stored: Stored) -> bool:
    return cursor.epoch == stored.epoch and cursor.offset < stored.offset
