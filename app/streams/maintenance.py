"""What streams need from time to time: cursors written to disk, and old rows removed."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from app.base.counts import Removals
from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.storage.steps import PAUSE_SECONDS
from app.streams.base import StreamLog
from app.streams.standings import Standings

SAVE_SECONDS: Final = 1.0
"""Between two writes of cursors; after a crash a device gets again what it acknowledged since."""

PRUNE_SECONDS: Final = 60.0
"""Between two searches for rows to remove."""

log = logging.getLogger(__name__)


class Maintenance:
    """Saves cursors and prunes, in the background; `clock` returns seconds."""

    def __init__(
        self,
        streams: StreamLog,
        standings: Standings,
        clock: Callable[[], float] = time.monotonic,
        removals: Removals | None = None,
    ) -> None:
        self._log = streams
        self._standings = standings
        self._clock = clock
        self._removals = removals or Removals()
        self._prune_at = clock()
        self._failing = False

    async def run(self) -> None:
        """Save cursors and prune when due, until cancelled; what fails is tried again later."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            try:
                await self._standings.save()
                if self._clock() >= self._prune_at:
                    with self._removals.run("retention"):
                        await self.prune()
                    self._prune_at = self._clock() + PRUNE_SECONDS
                self._failing = False
            except StorageUnavailable as error:
                # A fault may last for a night: one line tells of it.
                if not self._failing:
                    log.warning("streams not kept in order", extra=fields(reason=error.code))
                self._failing = True

    async def prune(self) -> int:
        """Remove every row that is too old, too many or expired; return how many.

        Raises StorageUnavailable.
        """
        removed, save_at = 0, self._clock() + SAVE_SECONDS
        while True:
            step = await self._log.prune()
            self._standings.raise_floors(step.floors)
            removed += step.rows
            self._removals.add("messages", step.rows)
            if not step.more:
                break
            await asyncio.sleep(PAUSE_SECONDS)
            # After a long stop pruning may take hours.
            if self._clock() >= save_at:
                await self._standings.save()
                save_at = self._clock() + SAVE_SECONDS
        if removed:
            log.info("pruned", extra=fields(rows=removed))
        return removed

    async def close(self) -> None:
        """Save the cursors a last time; raises StorageUnavailable."""
        await self._standings.save()
