"""The one writer of a node: stores the messages that wait in one transaction, and delivers them."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.base.errors import Problem, StorageUnavailable
from app.base.metrics import Metrics
from app.base.tasks import complete
from app.streams.base import ANY, Append, Appended, Refusal, Refused, Row, StreamLog, row_values

MAX_BATCH: Final = 512
"""Appends of one transaction, enough that each pays next to nothing for the flush to disk."""

SMALL_BATCH: Final = 16
"""Up to so many appends are never split: a transaction itself costs as much as some ten."""

MAX_RUN: Final = 16
"""Batches in a row; then a caller that waits for `exclusive` gets its turn."""

MAX_WAITING: Final = 20_000
"""Appends that may wait, some 20 MB; the committer refuses one more."""

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Row]], Awaitable[list[list[int]]]]
"""Hands committed rows to connections; returns, for each row, the devices that took it."""

_REFUSALS: Final[Mapping[Refusal, tuple[int, str]]] = {
    "forbidden": (403, "The backend keeps a value of this type and key; no device may change it."),
    "too_many_keys": (409, "This user has as many keys as are kept; use one that is there."),
    "too_many_ids": (429, "As many new message ids as are allowed in 24 hours were used already."),
    "id_conflict": (409, "This message_id was used for another message."),
}

REFUSALS: Final = tuple(_REFUSALS)
"""The codes of messages that are refused although the storage works."""

_TOO_MANY_KEYS_OF_DEVICES: Final = (
    "The devices of this user have as many keys as are kept for them; use one that is there."
)


@dataclass(slots=True)
class Stored:
    """A message that is on disk, and the ids of the devices that took it at once."""

    epoch: str
    offset: int
    duplicate: bool
    delivered: list[int]


Done = Callable[[Stored | Problem], None]
"""Takes what came of an append: a message that is on disk, or the Problem that keeps it from it.

That is `forbidden`, `too_many_keys`, `too_many_ids`, `id_conflict` or one of storage.
"""

_Waiting = tuple[Append, Done]


@dataclass(slots=True)
class _Written:
    """A batch that is on disk and not yet delivered; an empty one if its append failed."""

    batch: list[_Waiting]
    outcomes: Sequence[Appended | Refused]
    doubt: bool
    """Whether rows may be in the log that no connection was handed and no sender told of."""


class Committer:
    """Commits appends in batches and delivers them in the order of their offsets.

    It answers a sender after the message is on disk and was handed to the connections. A message
    that could not be stored is delivered to nobody. It calls `on_doubt` when an append that failed
    may have been written all the same, and when a delivery failed half-way; `on_floors` before it
    delivers what raised the floors of users.
    """

    def __init__(
        self,
        streams: StreamLog,
        deliver: Deliver,
        on_doubt: Callable[[], None],
        on_floors: Callable[[Mapping[int, int]], None],
        metrics: Metrics,
    ) -> None:
        self._log = streams
        self._deliver = deliver
        self._on_doubt = on_doubt
        self._on_floors = on_floors
        self._metrics = metrics
        self._queue: deque[_Waiting] = deque()
        self._suspects: deque[list[_Waiting]] = deque()
        """Parts of a batch of which some append cannot be stored; they are written first."""
        self._committing = asyncio.Lock()
        self._work = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Appends that wait for their turn."""
        return len(self._queue) + sum(map(len, self._suspects))

    def submit(self, append: Append, done: Done) -> None:
        """Have the message stored and delivered, and `done` called with the outcome.

        Raises Problem 503 `overloaded` when MAX_WAITING appends wait.
        """
        if len(self._queue) >= MAX_WAITING:
            raise Problem(503, "overloaded", "Too many messages wait to be stored.", retry_after=1)
        self._queue.append((append, done))
        self._work.set()

    async def run(self) -> None:
        """Commit and deliver until cancelled; the batches under way are finished first."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self._write_all()

    async def drain(self) -> None:
        """Wait until every append that was submitted before this call has its outcome."""
        await self._write_all()
        async with self.exclusive():
            # Another task may have taken some from the queue, and holds the lock until it is done.
            pass

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Let nothing be committed or delivered inside the block."""
        async with self._committing:
            yield

    async def _write_all(self) -> None:
        while self._queue or self._suspects:
            async with self._committing:
                await complete(self._write_some())

    async def _write_some(self) -> None:
        """Commit a few batches, and deliver each while the next one is on its way to disk."""
        written: _Written | None = None
        for _ in range(MAX_RUN):
            batch = self._next_batch(written)
            if not batch:
                break
            # The write begins before the delivery, so that the disk need not wait for the loop.
            writing = asyncio.create_task(self._write(batch))
            await asyncio.sleep(0)
            if written is not None:
                await self._hand_out(written)
            written = await writing
        if written is not None:
            await self._hand_out(written)

    def _next_batch(self, delivering: "_Written | None") -> list[_Waiting]:
        """Take the appends to commit next: half of all that wait or are being delivered.

        Senders that are answered together send again together. A batch of everything would leave
        next to nothing for the one after it, and disk and loop would wait for each other in turns.
        """
        if self._suspects:
            return self._suspects.popleft()
        size = len(self._queue)
        # After a failure, which may have taken seconds, try all, so that all hear of it soon.
        if size > SMALL_BATCH and (delivering is None or delivering.batch):
            handed = len(delivering.batch) if delivering is not None else 0
            size = max(SMALL_BATCH, (size + handed + 1) // 2)
        return [self._queue.popleft() for _ in range(min(size, len(self._queue), MAX_BATCH))]

    async def _write(self, batch: list[_Waiting]) -> "_Written":
        """Commit the batch and return it for delivery; after a failure answer its senders."""
        before = self._log.last
        try:
            outcomes = await self._log.append([append for append, _ in batch])
        except StorageUnavailable as refusal:
            _fail(batch, refusal)
        except Exception:
            log.exception("append failed")
            if self._log.last == before and len(batch) > 1:
                # Find the append that cannot be stored by halves, and store the others.
                half = len(batch) // 2
                self._suspects.extendleft((batch[half:], batch[:half]))
            else:
                _fail(batch, StorageUnavailable())
        else:
            self._metrics.commits += 1
            return _Written(batch, outcomes, _has_gap(before, outcomes, self._log.last))
        # If the newest offset has moved, the batch was written although the append failed.
        return _Written([], [], self._log.last != before)

    async def _hand_out(self, written: "_Written") -> None:
        """Deliver the batch and answer its senders."""
        if written.doubt:
            self._on_doubt()
        batch, outcomes = written.batch, written.outcomes
        rows: list[Row] = []
        floors: dict[int, int] = {}
        for (append, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Appended) and not outcome.duplicate:
                rows += outcome.removals
                rows.append(Row(*row_values(append, outcome.offset, outcome.created_at)))
                if outcome.floor:
                    floors[append.user_id] = max(outcome.floor, floors.get(append.user_id, 0))
        if floors:
            self._on_floors(floors)
        self._metrics.appends += len(rows)
        taken = await self._devices_of(rows)
        epoch, at = self._log.epoch, 0
        for (append, done), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Refused):
                self._metrics.appends_refused[outcome.code] += 1
                _answer(done, _problem(append, outcome))
            elif outcome.duplicate:
                _answer(done, Stored(epoch, outcome.offset, True, []))
            else:
                if outcome.removals:
                    at += len(outcome.removals)
                _answer(done, Stored(epoch, outcome.offset, False, taken[at]))
                at += 1

    async def _devices_of(self, rows: Sequence[Row]) -> list[list[int]]:
        """Deliver the rows and return, for each, the devices that took it."""
        try:
            return await self._deliver(rows)
        except Exception:
            # Some connections may lack some rows, and read them.
            log.exception("delivery failed")
            self._on_doubt()
            return [[] for _ in rows]


def _has_gap(before: int, outcomes: Sequence[Appended | Refused], after: int) -> bool:
    """Tell whether the offsets do not follow on `before`, the newest one known before the append.

    `after` is the newest one now. If there is a gap, an earlier append was written although it
    failed, when the storage could not say so.
    """
    for one in outcomes:
        if isinstance(one, Appended) and not one.duplicate:
            return one.offset > before + len(one.removals) + 1
    # Repeats alone: of what a failed append has written, for example.
    return after != before


def _problem(append: Append, refused: Refused) -> Problem:
    status, detail = _REFUSALS[refused.code]
    if refused.code == "too_many_keys" and append.source_device != ANY:
        detail = _TOO_MANY_KEYS_OF_DEVICES
    wait = refused.retry_after_ms
    if wait is not None:
        # Minutes, since it may be most of a day.
        detail = f"{detail} Send it again in {-(-wait // 60_000)} minutes."
    return Problem(status, refused.code, detail, retry_after_ms=wait)


def _fail(batch: Sequence[_Waiting], refusal: Problem) -> None:
    for _, done in batch:
        _answer(done, refusal)


def _answer(done: Done, outcome: Stored | Problem) -> None:
    """Call `done`; an error in it must not keep the other senders from their answers."""
    try:
        done(outcome)
    except Exception:
        log.exception("answer failed")
