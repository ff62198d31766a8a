"""Removes, in steps, the rows of what has ended, of what is past, and of sessions above the limit.

What has ended takes along what was kept for it alone: the `latest` values for a removed device.

Nobody waits for it: what it removes means nothing any more. Only sessions above the limit end here,
of users who had more when the limit was introduced or lowered.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.auth.endings import connections_of
from app.auth.sessions import Sessions
from app.base.clock import WALL, Clock
from app.base.counts import Removals, Removed
from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.base.metrics import Metrics
from app.base.tasks import complete
from app.settings import Settings
from app.storage.database import Database
from app.storage.leftovers import (
    Kind,
    count_leftovers,
    leave,
    next_leftover,
    remove_some,
    removed_with_values,
)
from app.storage.past import Past, count_past, remove_past
from app.storage.schema import milliseconds
from app.storage.sessions import users_above
from app.storage.steps import PAUSE_SECONDS, STEP_ROWS

PURGE_SECONDS: Final = 3600.0
"""Between two searches for what is past, by trusted time."""

WAKE_SECONDS: Final = 30.0
"""How often to see whether that time is over."""

RETRY_SECONDS: Final = 10.0
"""Until a step that the disk did not take is tried again."""

LEFTOVERS: Final = "leftovers"
"""The kind of the rows that an ending has left."""

LEEWAY: Final = timedelta(days=1)
"""Added to the longest life of what names a tombstone, since clocks differ."""

_REMOVED: Final[Mapping[Kind, Removed]] = {
    Kind.SESSIONS: "sessions",
    Kind.DEVICE: "sessions",
    Kind.USER: "of_deleted_users",
}

log = logging.getLogger(__name__)


class Cleaner:
    """Removes rows that mean nothing any more, a few of them in each transaction.

    A crash loses nothing: what is left to do is in the database.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        sessions: Sessions,
        clock: Clock = WALL,
        *,
        pause: float = PAUSE_SECONDS,
        step_rows: int = STEP_ROWS,
        removals: Removals | None = None,
    ) -> None:
        """`pause` is in seconds, between two steps of up to `step_rows` rows."""
        self._database = database
        self._sessions = sessions
        self._limit = sessions.session_limit
        self._clock = clock
        self._pause = pause
        self._most = step_rows
        self._removals = removals or Removals()
        self._idle = timedelta(days=settings.session_idle_days).total_seconds()
        named = timedelta(days=max(settings.jwt_max_life_days, settings.retention_days))
        self._tombstone_life = (named + LEEWAY).total_seconds()
        self._purged_at = clock.trusted()
        self._due = asyncio.Event()
        self._due.set()
        self._removing = False
        self._failing = False

    def show_on(self, metrics: Metrics) -> None:
        """Show whether there is something to remove."""
        metrics.watch(
            "leftovers",
            "1 while rows of what has ended are removed, else 0.",
            lambda: self._removing,
        )

    def wake(self) -> None:
        """Have `run` see what was left over."""
        self._due.set()

    async def run(self) -> None:
        """Remove what there is, and from time to time what is past, until cancelled."""
        searched = False
        while True:
            try:
                if not searched:
                    await self.find_above()
                    await self.find_values()
                    searched = True
                self._due.clear()
                with self._removals.run("leftovers"):
                    await self.clean()
                # Also if the clock was ahead at the last one.
                if abs(self._clock.trusted() - self._purged_at) >= PURGE_SECONDS:
                    with self._removals.run("past"):
                        await self.purge()
                self._failing = False
            except (OSError, SQLAlchemyError, StorageUnavailable) as error:
                await self._wait_after(error)
            else:
                with suppress(TimeoutError):
                    # Unlike `wait_for`, it makes no second task.
                    async with asyncio.timeout(WAKE_SECONDS):
                        await self._due.wait()

    async def find_above(self) -> None:
        """Find the users who may have more sessions than the limit, for `clean`."""
        if self._limit.limit:
            work = partial(users_above, limit=self._limit.limit)
            self._limit.above.update(await self._database.inspect(work))

    async def find_values(self) -> None:
        """Find removed devices for which `latest` values are kept, for `clean`.

        Those of older versions, and what was stored while its device was removed.
        """
        found = await self._database.inspect(removed_with_values)
        for start in range(0, len(found), self._most):
            async with self._database.write() as connection:
                await leave(connection, Kind.DEVICE, found[start : start + self._most])

    async def clean(self) -> int:
        """Remove all rows that were left over, and end all sessions above the limit.

        Returns how many rows. Raises what the database raises.
        """
        removed, began = 0, time.monotonic()
        try:
            while (rows := await self.step()) is not None:
                self._removing = True
                removed += rows
                await asyncio.sleep(self._pause)
        finally:
            self._removing = False
        if removed > self._most:
            took = round(time.monotonic() - began, 1)
            log.info("leftovers removed", extra=fields(rows=removed, seconds=took))
        return removed

    async def step(self) -> int | None:
        """Remove some rows, and return how many; None if none were left."""
        leftover = await self._database.snapshot(next_leftover)
        if leftover is not None:
            rows = await self._database.transact(
                partial(remove_some, leftover=leftover, most=self._most)
            )
            self._removals.add(_REMOVED[leftover.kind], rows)
            return rows
        if self._limit.above:
            return await complete(self._enforce(self._limit.above.pop()))
        return None

    async def purge(self) -> Counter[str]:
        """Remove sessions and JWTs past their end, and tombstones that nothing names any more.

        Returns how many rows of each kind. Raises what the database raises.
        """
        past = await self._past()
        removed: Counter[str] = Counter()
        remove = partial(remove_past, past=past, most=self._most)
        while (step := await self._database.transact(remove)) is not None:
            kind, rows = step
            self._removals.add(kind, rows)
            removed[kind] += rows
            await asyncio.sleep(self._pause)
        self._purged_at = past.now / 1000
        self.wake()
        return removed

    async def due(self) -> Counter[str]:
        """Return what `purge` and `clean` would remove, by kind; nothing is removed."""
        past = await self._past()

        def count(connection: Connection) -> Counter[str]:
            rows: Counter[str] = Counter(count_past(connection, past))
            rows[LEFTOVERS] = count_leftovers(connection)
            return rows

        return await self._database.inspect(count)

    async def _past(self) -> Past:
        # The database must know which sessions were used.
        await self._sessions.flush()
        now = self._clock.trusted()
        return Past(
            now=milliseconds(now),
            idle_since=milliseconds(now - self._idle),
            tombstones_until=milliseconds(now - self._tombstone_life),
        )

    async def _enforce(self, user_id: int) -> int:
        try:
            async with self._database.write() as connection:
                ended = await self._limit.enforce(connection, user_id)
        except BaseException:
            self._limit.above.add(user_id)
            raise
        self._removals.add("sessions", len(ended))
        self._sessions.end(ended)
        self._sessions.on_ended(connections_of(ended))
        return len(ended)

    async def _wait_after(self, error: Exception) -> None:
        # A fault may last for a night: one line tells of it.
        if not self._failing:
            log.warning("leftovers not removed", extra=fields(reason=type(error).__name__))
        self._failing = True
        await asyncio.sleep(RETRY_SECONDS)
