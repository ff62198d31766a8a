"""The durable messages of a node, in its database."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError

from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.storage.completion import complete
from app.storage.database import Database
from app.streams import pruning, reading
from app.streams.appending import Stored, store
from app.streams.base import Append, Appended, Cursor, Pruned, ReadLimits, Refused, Slice, Standing
from app.streams.complaints import Complaints
from app.streams.generation import Guard, Mark
from app.streams.keys import Keys
from app.streams.pruning import Retention
from app.streams.state import Begun, State, begin, read_last, read_state

DAY_MS: Final = 86_400_000

_SAVE_CURSOR: Final = """
INSERT INTO cursors (device_id, user_id, epoch, "offset", updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (device_id) DO UPDATE SET user_id = excluded.user_id, epoch = excluded.epoch,
    "offset" = excluded."offset", updated_at = excluded.updated_at
WHERE epoch <> excluded.epoch OR "offset" < excluded."offset"
"""

_NOT_OF_STORAGE: Final = (DataError, IntegrityError, InterfaceError, ProgrammingError)
"""The row or the statement is at fault: trying again is of no use."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long and how much is kept; rows and keys are of one user, or of everyone."""

    retention_days: float
    retention_rows: int
    max_keys_per_user: int


class SqlStreamLog:
    """A StreamLog whose truth is the database; memory holds only what makes it quick.

    After any failure nothing in memory is believed: it is read again before the next append.
    """

    def __init__(
        self, database: Database, guard: Guard, limits: StreamLimits, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._guard = guard
        self._clock = clock
        self._state = State("", "", 0)
        self._certain = False
        self._keys = Keys(limits.max_keys_per_user)
        self._retention = Retention(
            max_age_ms=int(limits.retention_days * DAY_MS), max_rows=limits.retention_rows
        )
        self._appending = asyncio.Lock()
        self._pruning = asyncio.Lock()
        self._complaints = Complaints()

    @classmethod
    async def open(
        cls,
        database: Database,
        guard_path: Path,
        limits: StreamLimits,
        clock: Callable[[], float] = time.time,
    ) -> "SqlStreamLog":
        """Return the log of this database, in a generation of its own that the guard vouches for.

        Its epoch is a new one if the guard does not know the database as it is: a copy was put
        back. `clock` returns seconds since 1970. Raises StorageUnavailable when that could not be
        written.
        """
        streams = cls(database, Guard(guard_path), limits, clock)
        try:
            async with streams._sound():
                await streams._begin(reset=False)
        except BaseException:
            await streams.close()
            raise
        return streams

    @property
    def epoch(self) -> str:
        """The incarnation of the numbering, an opaque string."""
        return self._state.epoch

    @property
    def last(self) -> int:
        """The newest offset that was ever given out, 0 before the first.

        After a failed append it tells whether that was committed nevertheless, if the database can
        be read at all.
        """
        return self._state.last

    async def append(self, appends: Sequence[Append]) -> list[Appended | Refused]:
        """Keep all of them in one transaction, in this order; one outcome for each.

        Raises StorageUnavailable when nothing of it could be written.
        """
        if not appends:
            return []
        async with self._appending, self._sound():
            try:
                stored = await self._database.transact(
                    partial(self._store, appends=appends), self._note
                )
            except BaseException:
                await self._doubt()
                raise
            self._state = replace(self._state, last=stored.last)
            self._certain = True
            if stored.held is not None:
                self._keys.remember(stored.held)
            self._retention.added(stored.users)
        return stored.outcomes

    async def read(self, user_id: int, after: int, limits: ReadLimits) -> Slice:
        """Return the next rows of the user and of everyone above `after`, oldest first.

        Rows whose time is over are left out. `through` is the last row's offset when there may be
        more, else the newest offset given out as of the same instant. Raises StorageUnavailable.
        """
        now = self._now()
        async with self._sound():
            return await self._database.snapshot(
                lambda one: reading.read(one, user_id, after, limits, now)
            )

    async def latest(self, user_id: int, after: int, upto: int, limits: ReadLimits) -> Slice:
        """Return the `latest` values of the user and of everyone above `after`, up to `upto`.

        `through` is `upto` when there are no more. Raises StorageUnavailable.
        """
        now = self._now()
        async with self._sound():
            return await self._database.snapshot(
                lambda one: reading.latest(one, user_id, after, upto, limits, now)
            )

    async def standings(self, devices: Sequence[tuple[int, int]]) -> list[Standing]:
        """Return where each (user id, device id) stands, all as of one instant.

        Raises StorageUnavailable.
        """
        if not devices:
            return []
        async with self._sound():
            return await self._database.snapshot(partial(reading.standings, devices=devices))

    async def save_cursors(self, cursors: Mapping[int, Cursor]) -> None:
        """Remember the cursors of these devices, by device id.

        None goes back; one of another epoch than the log's says nothing and is left out. Raises
        StorageUnavailable when they could not be written.
        """
        now, epoch = self._now(), self.epoch
        rows = [
            (device_id, cursor.user_id, epoch, cursor.position.offset, now)
            for device_id, cursor in cursors.items()
            if cursor.position.epoch == epoch
        ]
        if rows:
            async with self._sound():
                await self._database.transact(lambda one: _execute(one, _SAVE_CURSOR, rows))

    async def prune(self) -> Pruned:
        """Remove a few of the rows that are too old, too many or expired; call it again if `more`.

        Raises StorageUnavailable.
        """
        retention = self._retention
        async with self._pruning, self._sound():
            uncounted = retention.next_uncounted()
            try:
                counted = await self._database.snapshot(partial(pruning.count, uncounted=uncounted))
                remove = partial(retention.remove, counted=counted, now=self._now())
                removed = await self._database.transact(remove)
            except BaseException:
                retention.failed(uncounted)
                raise
            return retention.committed(counted, removed)

    async def reset(self) -> str:
        """Begin a new numbering and return its epoch; what is kept stays, no cursor holds.

        The offsets go on. Raises StorageUnavailable.
        """
        before = self.epoch
        async with self._appending, self._sound():
            try:
                await self._begin(reset=True)
            except BaseException as error:
                await self._doubt()
                # Committed all the same: the guard, which announced it, vouches for it.
                if self.epoch == before or not isinstance(error, Exception):
                    raise
        return self.epoch

    async def close(self) -> None:
        """The guard is closed; the database is its opener's to close."""
        self._guard.close()

    async def _begin(self, *, reset: bool) -> None:
        work = partial(begin, guard=self._guard, reset=reset)
        begun = await self._database.transact(work, self._confirm)
        self._state = begun.state
        self._certain = True
        if begun.reason is not None:
            log.warning("new epoch of the streams", extra=fields(reason=begun.reason))

    async def _doubt(self) -> None:
        """What is in memory comes from the database again, at once or before the next append."""
        self._certain = False
        self._keys.forget()
        await complete(self._recall())

    async def _recall(self) -> None:
        try:
            state = await self._database.snapshot(read_state)
        except (DBAPIError, OSError):
            return
        self._state = state
        self._certain = True

    def _store(self, connection: Connection, appends: Sequence[Append]) -> Stored:
        last = self._state.last if self._certain else read_last(connection)
        return store(connection, appends, last, self._now(), self._keys)

    def _note(self, stored: Stored) -> None:
        try:
            self._guard.note(Mark(self._state.generation, stored.last))
        except OSError as error:
            # What is on disk stays so: the guard vouches for a little more than it could.
            self._complaints.tell(error)

    def _confirm(self, begun: Begun) -> None:
        self._guard.confirm(begun.state.mark)

    @asynccontextmanager
    async def _sound(self) -> AsyncIterator[None]:
        """Turn the driver's and the system's errors into StorageUnavailable, and tell of them."""
        try:
            yield
        except _NOT_OF_STORAGE:
            raise
        except (DBAPIError, OSError) as error:
            self._complaints.tell(error)
            raise StorageUnavailable from error

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _execute(connection: Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    connection.exec_driver_sql(statement, list(rows))
