"""A StreamLog in memory, which holds its promises as long as the process lives."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import count
from typing import Any, Final

from app.base.errors import StorageUnavailable
from app.protocol.position import Generation, Numbering
from app.streams.base import (
    ANY,
    EVERYONE,
    Append,
    Appended,
    Cursor,
    Pruned,
    ReadLimits,
    Refused,
    Row,
    Slice,
    Standing,
    row_values,
)


class MemoryLog:
    """A log for tests of what stands above it; while it is `broken` every read and write fails.

    Each operation takes `turns()` turns of the event loop before it is done, and as many after.
    """

    def __init__(
        self,
        retention_rows: int = 10_000,
        clock: Callable[[], float] = lambda: 0.0,
        turns: Callable[[], int] = lambda: 0,
    ) -> None:
        self.numbering = Numbering("epoch-1", [Generation("", 1)])
        self.last = 0
        self.broken = False
        self.reads = 0
        self.rows: list[Row] = []
        self.history: dict[int, Row] = {}
        self.cursors: dict[int, Cursor] = {}
        self._generations = [Generation("", 1)]
        self._ids: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._floors: dict[int, int] = {}
        self.retention_rows = retention_rows
        self._clock = clock
        self._turns = turns

    async def append(self, appends: Sequence[Append]) -> list[Appended | Refused]:
        await self._pass_time()
        outcomes = [self._append(append) for append in appends]
        await self._pass_time()
        return outcomes

    async def read(self, user_id: int, after: int, limits: ReadLimits) -> Slice:
        await self._pass_time()
        self.reads += 1
        rows = [row for row in self._of(user_id) if row.offset > after]
        page = self._page(rows, max(after, self.last), limits)
        page = replace(page, floor=self._floor(user_id))
        await self._pass_time()
        return page

    async def latest(
        self, user_id: int, device_id: int, *, after: int, upto: int, limits: ReadLimits
    ) -> Slice:
        await self._pass_time()
        rows = self._of(user_id)
        kept = [row for row in rows if row.key is not None and not row.deleted]
        shown = [row for row in kept if not any(hides(one, row, device_id) for one in rows)]
        return self._page([row for row in shown if after < row.offset <= upto], upto, limits)

    async def standings(self, devices: Sequence[tuple[int, int]]) -> list[Standing]:
        await self._pass_time()
        found = [self._standing(*device) for device in devices]
        await self._pass_time()
        return found

    async def save_cursors(self, cursors: Mapping[int, Cursor]) -> None:
        await self._pass_time()
        self.cursors.update(cursors)

    async def prune(self) -> Pruned:
        await self._pass_time()
        floors: dict[int, int] = {}
        removed = 0
        for budget in {_budget(row) for row in self.rows}:
            rows = [row for row in self.rows if _budget(row) == budget]
            log = [row for row in rows if row.key is None or row.deleted]
            old = log[: -self.retention_rows]
            if old:
                removed += len(old)
                floors[budget[0]] = max(old[-1].offset, floors.get(budget[0], 0))
                self.rows = [row for row in self.rows if row not in old]
        self._floors |= floors
        return Pruned(removed, floors, more=False)

    async def reset(self) -> str:
        await self._pass_time()
        self._begin(self.epoch + "'")
        return self.epoch

    @property
    def epoch(self) -> str:
        return self.numbering.epoch

    def begin(self) -> None:
        """Begin a generation, as a start of the server does."""
        self._begin(self.epoch)

    def image(self) -> dict[str, Any]:
        """Return a copy of all that is kept, as of the folder of a server."""
        return deepcopy({name: getattr(self, name) for name in _KEPT})

    def put_back(self, image: dict[str, Any]) -> None:
        """Have what was kept when the copy was taken, and begin a generation."""
        for name, value in deepcopy(image).items():
            setattr(self, name, value)
        self.begin()

    def _begin(self, epoch: str) -> None:
        self._generations.append(Generation(f"{next(_IDS):032x}", self.last + 1))
        self.numbering = Numbering(epoch, self._generations)

    def _append(self, append: Append) -> Appended | Refused:
        known = self._ids.get((append.owner, append.message_id or ""))
        if append.message_id is not None and known is not None:
            same = known[0] == append.digest
            return Appended(known[1], duplicate=True) if same else Refused("id_conflict")
        self.last += 1
        row = Row(*row_values(append, self.last, self._now()))
        if append.key is not None:
            self.rows = [one for one in self.rows if not replaces(row, one)]
        self.rows.append(row)
        self.history[row.offset] = row
        if append.message_id is not None:
            self._ids[append.owner, append.message_id] = (append.digest, self.last)
        return Appended(self.last, created_at=row.created_at)

    def _of(self, user_id: int) -> list[Row]:
        now = self._now()
        return [
            row
            for row in self.rows
            if row.user_id in (user_id, EVERYONE)
            and (row.expires_at is None or row.expires_at > now)
        ]

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _floor(self, user_id: int) -> int:
        return max(self._floors.get(user_id, 0), self._floors.get(EVERYONE, 0))

    def _standing(self, user_id: int, device_id: int) -> Standing:
        rows = self._of(user_id)
        floor = self._floor(user_id)
        cursor = self.cursors.get(device_id)
        return Standing(
            head=max([floor, *(row.offset for row in rows)]),
            floor=floor,
            cursor=cursor.position if cursor else None,
            keys=any(row.key is not None and not row.deleted for row in rows),
        )

    def _page(self, rows: list[Row], through: int, limits: ReadLimits) -> Slice:
        page: list[Row] = []
        size = 0
        for row in rows:
            size += len(row.payload)
            if len(page) == limits.rows or (page and size > limits.bytes):
                return Slice(rows=page, through=page[-1].offset)
            page.append(row)
        return Slice(rows=page, through=through)

    async def _pass_time(self) -> None:
        for _ in range(self._turns()):
            await asyncio.sleep(0)
        if self.broken:
            raise StorageUnavailable


_IDS: Final = count(1)

_KEPT: Final = (
    *("numbering", "_generations", "last", "rows", "history"),
    *("cursors", "_ids", "_floors"),
)
"""What a copy of a folder brings along."""


def replaces(row: Row, older: Row) -> bool:
    """Tell whether the `latest` value or deletion leaves nothing of an older one for anybody."""
    if older.key is None or _name(row) != _name(older) or row.user_id != older.user_id:
        return False
    if row.deleted:
        return row.target_device in (ANY, older.target_device)
    return (row.target_device, row.without_device) == (older.target_device, older.without_device)


def hides(row: Row, older: Row, device_id: int) -> bool:
    """Tell whether the row deletes the older value for this device."""
    if not row.deleted or row.offset <= older.offset or _name(row) != _name(older):
        return False
    return row.target_device in (ANY, device_id)


def _name(row: Row) -> tuple[str, str | None]:
    return (row.type, row.key)


def _budget(row: Row) -> tuple[int, bool]:
    return (row.user_id, row.source_device != ANY)
