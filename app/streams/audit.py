"""Looks for damage of the database: before the server serves, from time to time, and when met.

A message that is not what was stored is moved aside. If rows are missing, the indexes are made
anew. Both count as removed: the floor of everyone rises, so that each device which may lack
something is told `reset`. Pages that do not fit together are left as they are: nothing is read or
stored any more then, until an operator has acted (docs/damaged-database.md).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from sqlalchemy.exc import DBAPIError

from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.base.metrics import Metrics
from app.storage import sums
from app.storage.damage import DOCUMENTATION, is_structural
from app.storage.database import Database
from app.streams.examining import (
    UnsoundIndex,
    check_slice,
    forget_moved,
    move_aside,
    rebuild,
    structure,
)
from app.streams.sql import SqlStreamLog

WALK_SECONDS: Final = 60.0
"""The least time between two walks over the indexes; one of a million messages takes 0.2 s."""

WALK_SHARE: Final = 1 / 500
"""The most of its time that a thread may spend on these walks."""

ALL_SECONDS: Final = 86_400.0
"""Between two checks of every page and every message."""

PAUSE_SECONDS: Final = 0.01
"""Between two slices of messages, of some 2 ms, while nothing is known to be damaged."""

RETRY_SECONDS: Final = 10.0
"""Until a check that failed, for another reason than damage, is tried again."""

REPAIR_SECONDS: Final = 3600.0
"""When indexes are found wrong again within this time, making them anew is of no use."""

SHOWN: Final = 20
"""Offsets that a line of the log names."""

log = logging.getLogger(__name__)


class Audit:
    """Finds damage and bounds it; calls `on_removed` with the floor of everyone when it rises."""

    def __init__(
        self,
        streams: SqlStreamLog,
        database: Database,
        metrics: Metrics,
        on_removed: Callable[[int], None] = lambda floor: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_removed = on_removed
        self._log = streams
        self._found = streams.suspicions
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._walk_at = self._all_at = 0.0
        self._rebuilt_at = -REPAIR_SECONDS
        self._stopped = asyncio.Event()

    @property
    def _file(self) -> str:
        return str(self._database.path)

    async def begin(self) -> None:
        """Walk over the indexes before anything is read by them, and look further if need be.

        After an unclean stop, `run` then checks everything at once, else the pages.
        """
        await self.walk()
        now = self._clock()
        self._all_at = now if not self._log.stopped_cleanly else now + ALL_SECONDS

    async def run(self) -> None:
        """Look when something was met, and from time to time, until cancelled."""
        pages_due = self._log.stopped_cleanly
        while not self._stopped.is_set() and self._found.damage is None:
            try:
                if self._found.any.is_set() or pages_due:
                    pages_due = False
                    await self.examine(all_messages=False)
                elif self._clock() >= self._all_at:
                    await self.examine(all_messages=True)
                    self._all_at = self._clock() + ALL_SECONDS
                elif self._clock() >= self._walk_at:
                    await self.walk()
                else:
                    await self._wait(min(self._all_at, self._walk_at) - self._clock())
            except (DBAPIError, OSError, StorageUnavailable) as error:
                if not self._stopped.is_set():
                    log.warning("database not checked", extra=fields(reason=type(error).__name__))
                    await asyncio.sleep(RETRY_SECONDS)

    def stop(self) -> None:
        """Break off what runs, so that cancelling `run` waits for nothing long."""
        self._stopped.set()
        self._database.interrupt_inspection()

    async def walk(self) -> None:
        """Compare the indexes with the sums, and look further if a row is missing."""
        began = self._clock()
        try:
            wrong = await self._database.inspect(partial(sums.mismatches, over_index=True))
        except DBAPIError as error:
            if not is_structural(error):
                raise
            wrong = []
            self._found.structural = True
        took = self._clock() - began
        self._walk_at = self._clock() + max(WALK_SECONDS, took / WALK_SHARE)
        if wrong or self._found.structural:
            await self.examine(all_messages=False)

    async def examine(self, *, all_messages: bool) -> None:
        """Check the pages, and every message if wanted or need be; take out what is damaged."""
        try:
            await self._examine(all_messages)
        except DBAPIError as error:
            if not is_structural(error):
                raise
            # The check of the pages found nothing, or could not even begin.
            self._condemn(str(error.orig))

    async def _examine(self, all_messages: bool) -> None:
        if faults := await self._database.inspect(structure):
            self._condemn(faults[0])
            return
        wrong = await self._missing()
        if wrong:
            told = fields(tables=",".join(wrong), file=self._file, see=DOCUMENTATION)
            log.error("rows missing from the database", extra=told)
        if wrong or self._found.structural:
            await self._rebuild(wrong)
            return
        damaged = set(self._found.offsets)
        if self._found.unreadable:
            damaged |= await self._damaged(pause=0)
        await self._move_aside(damaged)
        if all_messages and self._found.damage is None:
            await self._move_aside(await self._damaged(pause=PAUSE_SECONDS))
            await self._forget_old()

    async def _missing(self) -> list[str]:
        """Return which tables or indexes lack rows, or have some too many."""
        try:
            by_table = await self._database.inspect(partial(sums.mismatches, over_index=False))
            by_index = await self._database.inspect(partial(sums.mismatches, over_index=True))
        except DBAPIError as error:
            if not is_structural(error):
                raise
            self._found.structural = True
            return []
        return sorted({*by_table, *by_index})

    async def _damaged(self, *, pause: float) -> set[int]:
        """Return the offsets of all messages with a wrong checksum."""
        found: set[int] = set()
        after = 0
        while True:
            work = partial(check_slice, after=after, last_unchecked=self._log.last_unchecked)
            checked = await self._database.inspect(work)
            found.update(checked.damaged)
            if checked.through is None or self._stopped.is_set():
                return found
            after = checked.through
            await asyncio.sleep(pause)

    async def _move_aside(self, damaged: Collection[int]) -> None:
        if not damaged:
            # What a read met has been replaced or removed meanwhile.
            self._found.clear()
            return
        work = partial(move_aside, offsets=damaged, now=_now())
        try:
            floor = await self._database.transact(work)
        except UnsoundIndex:
            await self._rebuild([])
        else:
            self._removed(damaged, floor)

    async def _rebuild(self, wrong: Sequence[str]) -> None:
        """Make the indexes anew, from the messages that are sound."""
        if self._clock() - self._rebuilt_at < REPAIR_SECONDS:
            self._condemn("rows went missing again")
            return
        self._rebuilt_at = self._clock()
        damaged = await self._damaged(pause=0)
        work = partial(rebuild, offsets=damaged, now=_now(), wrong=wrong)
        try:
            floor = await self._database.transact(work)
        except UnsoundIndex:
            self._condemn("the indexes cannot be made anew")
            return
        log.error("indexes made anew", extra=fields(file=self._file, floor=floor))
        self._removed(damaged, floor)

    def _removed(self, damaged: Collection[int], floor: int) -> None:
        self._log.forget_counts()
        self._found.clear()
        self._metrics.damaged += len(damaged)
        if damaged:
            offsets = ",".join(map(str, sorted(damaged)[:SHOWN]))
            told = {"count": len(damaged), "file": self._file, "see": DOCUMENTATION}
            extra = fields(offsets=offsets, floor=floor, **told)
            log.error("damaged messages moved aside", extra=extra)
        self.on_removed(floor)

    async def _forget_old(self) -> None:
        before = _now() - self._log.max_age_ms
        while True:
            if not await self._database.transact(partial(forget_moved, before=before)):
                break
            await asyncio.sleep(PAUSE_SECONDS)

    def _condemn(self, fault: str) -> None:
        """Have nothing read or stored any more: who goes on may make it worse."""
        self._found.damage = fault
        self._found.clear()
        told = fields(reason=fault, file=self._file, see=DOCUMENTATION)
        log.critical("database damaged: nothing is read or stored any more", extra=told)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0, seconds)):
                await self._found.any.wait()


def _now() -> int:
    return int(time.time() * 1000)
