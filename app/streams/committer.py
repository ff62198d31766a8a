"""The one writer of a node: gathers what comes in meanwhile, commits it, and has it delivered."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.errors import Problem, StorageUnavailable
from app.metrics import Metrics
from app.storage.completion import complete
from app.streams.base import Append, Appended, Refused, Row, StreamLog, row_of

MAX_BATCH: Final = 512
"""Appends of one transaction: enough that its flush to disk costs each next to nothing."""

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


@dataclass(slots=True)
class _Waiting:
    append: Append
    done: Done


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
        self._committing = asyncio.Lock()
        self._work = asyncio.Event()
        self._delivering: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Appends that wait for their turn."""
        return len(self._queue)

    def submit(self, append: Append, done: Done) -> None:
        """Have the message stored and delivered; `done` is called when it is, or cannot be.

        Raises Problem 503 `overloaded` when too many wait.
        """
        if len(self._queue) >= MAX_WAITING:
            raise Problem(503, "overloaded", "Too many messages wait to be stored.", retry_after=1)
        self._queue.append(_Waiting(append, done))
        self._work.set()

    async def run(self) -> None:
        """Commit and deliver until cancelled; a batch under way is finished first."""
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

    async def _write_all(self) -> None:
        while self._queue:
            async with self._committing:
                await complete(self._commit(self._next_batch()))

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Nothing is committed or delivered inside the block."""
        async with self._committing:
            await self._delivered()
            yield

    def _next_batch(self) -> list[_Waiting]:
        size = min(len(self._queue), MAX_BATCH)
        return [self._queue.popleft() for _ in range(size)]

    async def _commit(self, batch: list[_Waiting]) -> None:
        """Write the batch; the one before it is delivered meanwhile, and this one after that."""
        before = self._log.last
        try:
            outcomes = await self._log.append([one.append for one in batch])
        except StorageUnavailable as refusal:
            _fail(batch, refusal)
        except Exception:
            log.exception("append failed")
            if self._log.last == before:
                await self._commit_singly(batch)
                return
            _fail(batch, StorageUnavailable())
        else:
            self._metrics.commits += 1
            await self._delivered()
            if _has_gap(before, outcomes):
                self._on_doubt()
            self._delivering = asyncio.create_task(self._hand_out(batch, outcomes))
            self._delivering.add_done_callback(self._look_after)
            return
        if self._log.last != before:
            # It was written, though we were told that it was not.
            await self._delivered()
            self._on_doubt()

    def _look_after(self, delivering: "asyncio.Task[None]") -> None:
        """A delivery that failed half-way: whoever lacks something reads it."""
        if not delivering.cancelled() and delivering.exception() is not None:
            log.error("delivery failed", exc_info=delivering.exception())
            self._on_doubt()

    async def _delivered(self) -> None:
        # Whoever is cancelled while it waits must not take the delivery along.
        if self._delivering is not None:
            await complete(asyncio.wait([self._delivering]))
            self._delivering = None

    async def _commit_singly(self, batch: list[_Waiting]) -> None:
        """Find the one that cannot be stored, so that it takes no other along."""
        if len(batch) == 1:
            _fail(batch, StorageUnavailable())
            return
        for one in batch:
            await self._commit([one])

    async def _hand_out(
        self, batch: Sequence[_Waiting], outcomes: Sequence[Appended | Refused]
    ) -> None:
        epoch = self._log.epoch
        rows = [
            row_of(one.append, outcome.offset)
            for one, outcome in zip(batch, outcomes, strict=True)
            if isinstance(outcome, Appended) and not outcome.duplicate
        ]
        self._metrics.appends += len(rows)
        taken = iter(await self._deliver(rows))
        for one, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Refused):
                _answer(one, Problem(409, outcome.code, _REFUSALS[outcome.code]))
            else:
                devices = [] if outcome.duplicate else next(taken)
                _answer(one, Stored(epoch, outcome.offset, outcome.duplicate, devices))


def _has_gap(before: int, outcomes: Sequence[Appended | Refused]) -> bool:
    """Tell whether there is an offset below these that nobody was told of.

    Then an append that seemed to fail was written, and the storage could not say so at the time.
    """
    for one in outcomes:
        if isinstance(one, Appended) and not one.duplicate:
            return one.offset > before + 1
    return False


def _fail(batch: Sequence[_Waiting], refusal: Problem) -> None:
    for one in batch:
        _answer(one, refusal)


def _answer(one: _Waiting, outcome: Stored | Problem) -> None:
    """Tell the sender; a fault of one must not keep the others waiting."""
    try:
        one.done(outcome)
    except Exception:
        log.exception("answer failed")
