"""What memory knows of streams: heads, floors and cursors of users and devices seen lately."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.base.errors import StorageUnavailable
from app.base.lru import Lru
from app.base.tasks import Batches
from app.protocol.position import Position
from app.streams.base import EVERYONE, Cursor, Row, Standing, StreamLog

KNOWN: Final = 65_536
"""Users in memory, and as many devices; about 150 bytes each, and up to twice as many.

It is above the 50,000 connections of a node.
"""

NO_CURSOR: Final = Position("", -1)
"""The cursor of a device that has acknowledged nothing; one for all, since most have none."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class KnownStream:
    """What memory knows of one user's own rows, or of those of everyone."""

    head: int = 0
    floor: int = 0
    keys: bool = False
    loaded: bool = False
    """False while it holds only what was delivered, and nothing of what the log says."""


class Standings:
    """Heads, floors and cursors, so that a device that missed nothing costs no select."""

    def __init__(self, streams: StreamLog) -> None:
        self._log = streams
        self._everyone = KnownStream()
        self._streams: Lru[int, KnownStream] = Lru(KNOWN)
        self._cursors: Lru[int, Position] = Lru(KNOWN)
        self._unsaved: dict[int, Cursor] = {}
        self._loads: Batches[tuple[int, int], Standing] = Batches(self._load)

    def knows(self, user_id: int, device_id: int) -> bool:
        """Tell whether `of` needs no `prepare`."""
        stream = self._streams.get(user_id)
        return stream is not None and stream.loaded and self._cursors.get(device_id) is not None

    async def prepare(self, user_id: int, device_id: int) -> None:
        """Load what `of` needs for this device; raises StorageUnavailable."""
        try:
            found = await self._loads.get((user_id, device_id))
        except StorageUnavailable:
            raise
        except Exception as error:
            log.warning("standing not read", exc_info=error)
            raise StorageUnavailable from error
        if found is not None:
            self._learn(user_id, device_id, found)

    def of(self, user_id: int, device_id: int) -> Standing:
        """Return where the device stands at this instant; call `prepare` first, unless `knows`."""
        stream = self._streams.get(user_id) or KnownStream()
        cursor = self._cursors.get(device_id)
        everyone = self._everyone
        return Standing(
            head=max(stream.head, everyone.head),
            floor=max(stream.floor, everyone.floor),
            cursor=cursor if cursor is not NO_CURSOR else None,
            keys=stream.keys or everyone.keys,
        )

    def head(self, user_id: int) -> int:
        """Return the newest offset that was delivered to the user's stream, as far as is known."""
        stream = self._streams.get(user_id)
        return max(stream.head if stream is not None else 0, self._everyone.head)

    def advance(self, rows: Sequence[Row]) -> None:
        """Move the heads to these rows, which are about to be delivered."""
        for row in rows:
            stream = self._stream(row.user_id)
            stream.head = max(stream.head, row.offset)
            stream.keys = stream.keys or (row.key is not None and not row.deleted)

    def doubt(self) -> None:
        """Move the head of everyone to the newest offset, so that devices that come back read on.

        The log may have rows up to there, of any user, that no connection was handed.
        """
        self._everyone.head = max(self._everyone.head, self._log.last)

    def raise_floors(self, floors: Mapping[int, int]) -> None:
        """Raise the floors, by user, to these offsets, up to which retention has removed rows."""
        for user_id, floor in floors.items():
            stream = self._everyone if user_id == EVERYONE else self._streams.get(user_id)
            if stream is not None:
                stream.floor = max(stream.floor, floor)
                # What was removed had been there.
                stream.head = max(stream.head, floor)

    def acknowledge(self, user_id: int, device_id: int, position: Position) -> None:
        """Move the device's cursor to the position, unless that is behind it in the same epoch."""
        cursor = self._cursors.get(device_id)
        if cursor is None or cursor.epoch != position.epoch or cursor.offset < position.offset:
            self._cursors.put(device_id, position)
            self._unsaved[device_id] = Cursor(user_id, position)

    @property
    def unsaved(self) -> Mapping[int, Cursor]:
        """The cursors that are not on disk yet, by device id."""
        return self._unsaved

    async def save(self) -> None:
        """Write all cursors to disk; raises StorageUnavailable, and the next call tries again."""
        if not self._unsaved:
            return
        saved, self._unsaved = self._unsaved, {}
        try:
            await self._log.save_cursors(saved)
        except BaseException:
            self._unsaved = saved | self._unsaved
            raise

    def forget(self) -> None:
        """Forget all heads, floors and cursors, since a new epoch has begun."""
        self._streams.clear()
        self._cursors.clear()
        self._unsaved.clear()
        self._everyone = KnownStream()

    async def close(self) -> None:
        """Wait for a running load to finish."""
        await self._loads.close()

    def _stream(self, user_id: int) -> KnownStream:
        if user_id == EVERYONE:
            return self._everyone
        stream = self._streams.get(user_id)
        if stream is None:
            stream = KnownStream()
            self._streams.put(user_id, stream)
        return stream

    def _learn(self, user_id: int, device_id: int, found: Standing) -> None:
        """Take over what was read, unless memory has gone ahead meanwhile."""
        stream = self._stream(user_id)
        stream.head = max(stream.head, found.head)
        stream.floor = max(stream.floor, found.floor)
        stream.keys = stream.keys or found.keys
        stream.loaded = True
        if self._cursors.get(device_id) is None:
            unsaved = self._unsaved.get(device_id)
            cursor = unsaved.position if unsaved else found.cursor
            self._cursors.put(device_id, cursor or NO_CURSOR)

    async def _load(self, devices: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], Standing]:
        return dict(zip(devices, await self._log.standings(devices), strict=True))
