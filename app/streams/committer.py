"""The one writer of a node: gathers what comes in meanwhile, commits it, and has it delivered."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.base.errors import Problem, StorageUnavailable
from app.base.metrics import Metrics
from app.storage.completion import complete
from app.streams.base import Append, Appended, Refused, Row, StreamLog, row_values

MAX_BATCH: Final = 512
"""Appends of one transaction: enough that its flush to disk costs each next to nothing."""

SMALL_BATCH: Final = 16
"""Appends that are never spread over two transactions: a transaction costs as much as some ten."""

MAX_RUN: Final = 16
"""Batches between two moments at which somebody else may have the log for himself."""

MAX_WAITING: Final = 20_000
"""Appends that may wait, some 20 MB; one more is refused."""

log = logging.getLogger(__name__)

Deliver = Callable[[Sequence[Row]], Awaitable[list[list[int]]]]
"""Hands committed rows to those connected; returns the devices that took each."""

_REFUSALS: Final = {
    "too_many_keys": "This user has as many keys as are kept; use one that is there.",
    "id_conflict": "This message_id was used for another message.",
}


@dataclass(slots=True)
class Stored:
    """A message that is on disk, and the ids of the devices that took it at once."""

    epoch: str
    offset: int
    duplicate: bool
    delivered: list[int]


Done = Callable[[Stored | Problem], None]
"""Gets what came of an append; the Problem is `too_many_keys`, `id_conflict` or one of storage."""


_Waiting = tuple[Append, Done]


@dataclass(slots=True)
class _Written:
    """What is on disk and not yet delivered."""

    batch: list[_Waiting]
    outcomes: Sequence[Appended | Refused]
    doubtful: bool
    """There may be something in the log that nobody was told of."""


class Committer:
    """Commits appends in batches and delivers them in the order of their offsets.

    A sender has its answer after its message is on disk and was handed to those connected; what
    could not be stored is delivered to nobody.
    """

    def __init__(
        self,
        streams: StreamLog,
        deliver: Deliver,
        on_doubt: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        self._log = streams
        self._deliver = deliver
        self._on_doubt = on_doubt
        self._metrics = metrics
        self._queue: deque[_Waiting] = deque()
        self._suspects: deque[list[_Waiting]] = deque()
        """Parts of a batch with something in it that cannot be stored; they come first."""
        self._committing = asyncio.Lock()
        self._work = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Appends that wait for their turn."""
        return len(self._queue) + sum(map(len, self._suspects))

    def submit(self, append: Append, done: Done) -> None:
        """Have the message stored and delivered; `done` is called when it is, or cannot be.

        Raises Problem 503 `overloaded` when too many wait.
        """
        if len(self._queue) >= MAX_WAITING:
            raise Problem(503, "overloaded", "Too many messages wait to be stored.", retry_after=1)
        self._queue.append((append, done))
        self._work.set()

    async def run(self) -> None:
        """Commit and deliver until cancelled; what is under way is finished first."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self._write_all()

    async def drain(self) -> None:
        """Everything that was submitted until now has its answer."""
        await self._write_all()
        async with self.exclusive():
            # Also what another caller had taken from the queue.
            pass

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Nothing is committed or delivered inside the block."""
        async with self._committing:
            yield

    async def _write_all(self) -> None:
        while self._queue or self._suspects:
            async with self._committing:
                await complete(self._write_some())

    async def _write_some(self) -> None:
        """Commit a few batches; while one is on its way to disk the one before it is delivered."""
        written: _Written | None = None
        for _ in range(MAX_RUN):
            batch = self._next_batch(written)
            if not batch:
                break
            # Begun before the delivery, so that the disk need not wait for the loop.
            writing = asyncio.create_task(self._write(batch))
            await asyncio.sleep(0)
            if written is not None:
                await self._hand_out(written)
            written = await writing
        if written is not None:
            await self._hand_out(written)

    def _next_batch(self, delivering: "_Written | None") -> list[_Waiting]:
        """Take what is committed next.

        Who is answered sends again, all at the same time. Taking everything would leave next to
        nothing for the batch after it, and disk and loop would wait for each other in turns.
        """
        if self._suspects:
            return self._suspects.popleft()
        size = len(self._queue)
        # After a failure, which may have taken seconds, all that waits is told as soon as may be.
        if size > SMALL_BATCH and (delivering is None or delivering.batch):
            handed = len(delivering.batch) if delivering is not None else 0
            size = max(SMALL_BATCH, (size + handed + 1) // 2)
        return [self._queue.popleft() for _ in range(min(size, len(self._queue), MAX_BATCH))]

    async def _write(self, batch: list[_Waiting]) -> "_Written":
        """Commit the batch and return what is to be delivered of it; the others are answered."""
        before = self._log.last
        try:
            outcomes = await self._log.append([append for append, _ in batch])
        except StorageUnavailable as refusal:
            _fail(batch, refusal)
        except Exception:
            log.exception("append failed")
            if self._log.last == before and len(batch) > 1:
                # Find the one that cannot be stored, so that it takes no other along.
                half = len(batch) // 2
                self._suspects.extendleft((batch[half:], batch[:half]))
            else:
                _fail(batch, StorageUnavailable())
        else:
            self._metrics.commits += 1
            return _Written(batch, outcomes, _has_gap(before, outcomes))
        # It may have been written, though we were told that it was not.
        return _Written([], [], self._log.last != before)

    async def _hand_out(self, written: "_Written") -> None:
        """Deliver what is on disk and answer its senders."""
        if written.doubtful:
            self._on_doubt()
        batch, outcomes = written.batch, written.outcomes
        rows = [
            Row(*row_values(append, outcome.offset))
            for (append, _), outcome in zip(batch, outcomes, strict=True)
            if isinstance(outcome, Appended) and not outcome.duplicate
        ]
        self._metrics.appends += len(rows)
        taken = iter(await self._devices_of(rows))
        epoch = self._log.epoch
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Refused):
                _answer(done, Problem(409, outcome.code, _REFUSALS[outcome.code]))
            else:
                devices = [] if outcome.duplicate else next(taken)
                _answer(done, Stored(epoch, outcome.offset, outcome.duplicate, devices))

    async def _devices_of(self, rows: Sequence[Row]) -> list[list[int]]:
        """Deliver the rows and return the devices that took each."""
        try:
            return await self._deliver(rows)
        except Exception:
            # It failed half-way: whoever lacks something reads it.
            log.exception("delivery failed")
            self._on_doubt()
            return [[] for _ in rows]


def _has_gap(before: int, outcomes: Sequence[Appended | Refused]) -> bool:
    """Tell whether there is an offset below these that nobody was told of.

    Then an append that seemed to fail was written, and the storage could not say so at the time.
    """
    for one in outcomes:
        if isinstance(one, Appended) and not one.duplicate:
            return one.offset > before + 1
    return False


def _fail(batch: Sequence[_Waiting], refusal: Problem) -> None:
    for _, done in batch:
        _answer(done, refusal)


def _answer(done: Done, outcome: Stored | Problem) -> None:
    """Tell the sender; a fault of one must not keep the others waiting."""
    try:
        done(outcome)
    except Exception:
        log.exception("answer failed")
