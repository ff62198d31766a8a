"""What streams need from time to time: cursors on disk, and what is too old gone."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.streams.base import StreamLog
from app.streams.standings import Standings

SAVE_SECONDS: Final = 1.0
"""How often cursors are written; a crash repeats to a device what it acknowledged since."""

PRUNE_SECONDS: Final = 60.0
"""How often it is looked for what to remove."""

BREATH_SECONDS: Final = 0.05
"""Between two small steps of removing, for those who wait for the disk."""

log = logging.getLogger(__name__)


class Keeper:
    """Saves cursors and prunes, in the background."""

    def __init__(
        self,
        streams: StreamLog,
        standings: Standings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = streams
        self._standings = standings
        self._clock = clock
        self._prune_at = clock()

    async def run(self) -> None:
        """Do what is due until cancelled; a full disk is tried again at the next turn."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            try:
                await self._standings.save()
                if self._clock() >= self._prune_at:
                    await self.prune()
                    self._prune_at = self._clock() + PRUNE_SECONDS
            except StorageUnavailable as error:
                log.warning("streams not kept in order", extra=fields(reason=error.code))

    async def prune(self) -> int:
        """Everything that is too old, too many or expired is gone; returns how many rows."""
        removed, save_at = 0, self._clock() + SAVE_SECONDS
        while True:
            step = await self._log.prune()
            self._standings.raise_floors(step.floors)
            removed += step.rows
            if not step.more:
                break
            await asyncio.sleep(BREATH_SECONDS)
            # There may be hours of work after a long stop.
            if self._clock() >= save_at:
                await self._standings.save()
                save_at = self._clock() + SAVE_SECONDS
        if removed:
            log.info("pruned", extra=fields(rows=removed))
        return removed

    async def close(self) -> None:
        """The cursors are on disk, if it takes them."""
        try:
            await self._standings.save()
        except StorageUnavailable as error:
            log.warning("cursors not saved", extra=fields(reason=error.code))
