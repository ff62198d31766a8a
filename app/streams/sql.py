"""The durable messages of a node, in its database."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.base.clock import WALL, Clock
from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.base.tasks import complete
from app.protocol.position import Generation, Numbering
from app.settings import Settings
from app.storage.damage import is_structural
from app.storage.database import Database
from app.storage.schema import milliseconds
from app.storage.sums import last_unchecked
from app.streams import rows
from app.streams.appending import StoredBatch, store
from app.streams.base import (
    Append,
    Appended,
    Cursor,
    Pruned,
    ReadLimits,
    Refused,
    Slice,
    Standing,
)
from app.streams.generation import (
    Begun,
    Guard,
    Mark,
    State,
    begin,
    mark_stopped,
    read_last,
    read_state,
    was_stopped,
)
from app.streams.ids import IdLimits, IdQuota
from app.streams.latest import LatestQuota
from app.streams.pruning import Retention
from app.streams.suspicion import Suspicions

DAY_MS: Final = 86_400_000

CURSORS_AT_ONCE: Final = 1000
"""Cursors that one transaction stores: some 10 ms in which no message is stored."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How long and how much the log stores; rows and keys are of one budget.

    `ids_per_user` and `ids_per_key` are message ids that all devices of a user, and one API key,
    may add in 24 hours; 0 is no limit.
    """

    retention_days: float
    retention_rows: int
    max_keys_per_user: int
    ids_per_user: int = 0
    ids_per_key: int = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> "StreamLimits":
        """Return the limits that the operator has set."""
        return cls(
            settings.retention_days,
            settings.retention_rows,
            settings.max_keys_per_user,
            ids_per_user=settings.message_ids_per_user,
            ids_per_key=settings.message_ids_per_key,
        )


class SqlStreamLog:
    """A StreamLog whose truth is the database; memory holds only what makes it quick.

    After a failed append or reset memory proves nothing: it is in doubt whether the transaction
    was committed, so the log reads its state again before the next append.
    """

    def __init__(
        self, database: Database, guard: Guard, limits: StreamLimits, clock: Clock
    ) -> None:
        self._database = database
        self._guard = guard
        self._clock = clock
        self._state = State(numbering=Numbering("", [Generation("", 1)]), last=0)
        self._in_doubt = True
        self.suspicions = Suspicions()
        self.max_age_ms = int(limits.retention_days * DAY_MS)
        self.last_unchecked = 0
        """The newest offset of a message that may be without a checksum."""
        self.stopped_cleanly = False
        """Whether the last run wrote all that it had to write."""
        self._quota = LatestQuota(limits.max_keys_per_user)
        self._id_quota = IdQuota(IdLimits(devices=limits.ids_per_user, key=limits.ids_per_key))
        self._retention = Retention(max_age_ms=self.max_age_ms, max_rows=limits.retention_rows)
        self._appending = asyncio.Lock()
        self._pruning = asyncio.Lock()
        self._faults = database.faults

    @classmethod
    async def open(
        cls,
        database: Database,
        guard_path: Path,
        limits: StreamLimits,
        clock: Clock = WALL,
    ) -> "SqlStreamLog":
        """Return the log of this database, in a generation of its own that the guard vouches for.

        Its epoch is a new one if the guard does not vouch for the database as it is, since then a
        copy was put back. Raises StorageUnavailable when the generation could not be written, and
        SQLite's own error if the file is damaged.
        """
        streams = cls(database, Guard(guard_path), limits, clock)
        try:
            with streams._faults.as_unavailable():
                streams.stopped_cleanly = await database.snapshot(was_stopped)
                streams.last_unchecked = await database.snapshot(last_unchecked)
                await streams._begin(reset=False)
        except BaseException as error:
            await streams.close()
            cause = error.__cause__
            if cause is not None and is_structural(cause):
                # Trying again would not help.
                raise cause from None
            raise
        return streams

    @property
    def epoch(self) -> str:
        """The incarnation of the numbering, an opaque string."""
        return self._state.numbering.epoch

    @property
    def numbering(self) -> Numbering:
        """The epoch and its generations, of which opening the log and `reset` begin one each."""
        return self._state.numbering

    @property
    def last(self) -> int:
        """The newest offset that was ever given out, 0 before the first.

        After a failed append it tells whether that was committed nevertheless, if the database can
        be read at all.
        """
        return self._state.last

    async def append(self, appends: Sequence[Append]) -> list[Appended | Refused]:
        """Store all messages in one transaction, in this order; return one outcome for each.

        Raises StorageUnavailable when the storage fails; `last` tells what is there then.
        """
        if not appends:
            return []
        async with self._appending:
            with self._faults.as_unavailable(writing=True), self.suspicions.noticing():
                try:
                    work = partial(self._store, appends=appends)
                    stored = await self._database.transact(work, self._note)
                except BaseException:
                    await self._resolve_doubt()
                    raise
            self._state = replace(self._state, last=stored.last)
            self._in_doubt = False
            if stored.latest is not None:
                self._quota.committed(stored.latest)
            if stored.ids is not None:
                self._id_quota.committed(stored.ids)
            self._retention.added(stored.limited)
        return stored.outcomes

    async def read(self, user_id: int, after: int, limits: ReadLimits) -> Slice:
        """Return the next rows of the user and of everyone above `after`, oldest first.

        Expired rows are left out. `through` is the last row's offset when there may be more, else
        the newest offset given out when the read began. Raises StorageUnavailable, also when one of
        the rows is damaged: `suspicions` has it then.
        """
        now, last, old = self._now(), self.last, self.last_unchecked
        with self._faults.as_unavailable(), self.suspicions.noticing_values():
            return await self._database.snapshot(
                lambda one: rows.read(
                    one, user_id, after=after, limits=limits, now=now, last=last, old=old
                )
            )

    async def latest(
        self, user_id: int, device_id: int, *, after: int, upto: int, limits: ReadLimits
    ) -> Slice:
        """Return the `latest` values of the user and of everyone above `after`, up to `upto`.

        Values that the device was told are deleted are left out. `through` is `upto` when there
        are no more. Raises StorageUnavailable.
        """
        now, old = self._now(), self.last_unchecked
        with self._faults.as_unavailable(), self.suspicions.noticing_values():
            return await self._database.snapshot(
                lambda one: rows.latest(
                    one,
                    user_id,
                    device_id,
                    after=after,
                    upto=upto,
                    limits=limits,
                    now=now,
                    old=old,
                )
            )

    async def standings(self, devices: Sequence[tuple[int, int]]) -> list[Standing]:
        """Return where each (user id, device id) stands, all as of one instant.

        Raises StorageUnavailable.
        """
        if not devices:
            return []
        with self._faults.as_unavailable(), self.suspicions.noticing_values():
            return await self._database.snapshot(partial(rows.standings, devices=devices))

    async def save_cursors(self, cursors: Mapping[int, Cursor]) -> None:
        """Store the cursors of these devices, by device id, and let none go back.

        A cursor of another epoch than the log's means nothing and is left out. Raises
        StorageUnavailable.
        """
        epoch = self.epoch
        saved = {device: one for device, one in cursors.items() if one.position.epoch == epoch}
        now, left = milliseconds(self._clock.stamp()), iter(saved.items())
        # In steps: after a message to everyone all devices have moved.
        while step := dict(islice(left, CURSORS_AT_ONCE)):
            work = partial(rows.save_cursors, cursors=step, now=now)
            with self._faults.as_unavailable(writing=True), self.suspicions.noticing():
                await self._database.transact(work)

    async def prune(self) -> Pruned:
        """Remove a few rows that are too old, too many or expired; call it again if `more`.

        Raises StorageUnavailable.
        """
        retention = self._retention
        async with self._pruning:
            uncounted = retention.next_uncounted()
            try:
                with self._faults.as_unavailable(), self.suspicions.noticing():
                    counted = await self._database.snapshot(
                        partial(retention.count, uncounted=uncounted)
                    )
                    remove = partial(retention.remove, counted=counted, now=self._now())
                    removed = await self._database.transact(remove)
            except BaseException:
                retention.failed(uncounted)
                raise
            return retention.committed(counted, removed)

    async def reset(self) -> str:
        """Begin a new numbering and return its epoch; rows stay, cursors lose their meaning.

        The offsets go on. Raises StorageUnavailable.
        """
        before = self.epoch
        async with self._appending:
            with self._faults.as_unavailable(writing=True):
                try:
                    await self._begin(reset=True)
                except BaseException as error:
                    await self._resolve_doubt()
                    # A reset that was committed all the same stands: the guard vouches for the
                    # generation that it has announced.
                    if self.epoch == before or not isinstance(error, Exception):
                        raise
        return self.epoch

    def forget_counts(self) -> None:
        """Have values counted again, since some were removed by another way than an append."""
        self._quota.forget()

    async def stop(self) -> None:
        """Note in the database that nothing is left to write; raises StorageUnavailable."""
        with self._faults.as_unavailable(), self.suspicions.noticing():
            await self._database.transact(mark_stopped)

    async def close(self) -> None:
        """Close the guard; whoever opened the database closes that."""
        self._guard.close()

    async def _begin(self, *, reset: bool) -> None:
        work = partial(begin, guard=self._guard, reset=reset)
        begun = await self._database.transact(work, self._confirm)
        self._state = begun.state
        self._in_doubt = False
        if begun.reason is not None:
            log.warning("new epoch of the streams", extra=fields(reason=begun.reason))

    async def _resolve_doubt(self) -> None:
        """Read the state from the database, now if possible, else before the next append."""
        self._in_doubt = True
        self._quota.forget()
        self._id_quota.forget()
        await complete(self._recall())

    async def _recall(self) -> None:
        try:
            state = await self._database.snapshot(read_state)
        except (DBAPIError, OSError, StorageUnavailable):
            return
        self._state = state
        self._in_doubt = False

    def _store(self, connection: Connection, appends: Sequence[Append]) -> StoredBatch:
        last = read_last(connection) if self._in_doubt else self._state.last
        return store(
            connection,
            appends,
            last=last,
            now=self._now(),
            at=milliseconds(self._clock.stamp()),
            quota=self._quota,
            id_quota=self._id_quota,
        )

    def _note(self, stored: StoredBatch) -> None:
        try:
            self._guard.note(Mark(self._state.numbering.newest.id, stored.last))
        except OSError as error:
            # The commit stands: the guard only vouches for a few more copies than it needs to.
            self._faults.report(error)

    def _confirm(self, begun: Begun) -> None:
        self._guard.confirm(begun.state.mark)

    def _now(self) -> int:
        return milliseconds(self._clock.trusted())
