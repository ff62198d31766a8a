"""Work that goes on when a caller is cancelled: finished for one, or shared by many."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")


class Firm(asyncio.Future[T]):
    """A future that the cancellation of its waiter leaves alone.

    The waiter gets its CancelledError when the future is done, instead of the outcome.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """Return False: it is not cancelled, so the task that waits remembers its cancellation."""
        return False


async def complete(work: Awaitable[T]) -> T:
    """Return the outcome of `work`, which runs to its end also when the caller is cancelled.

    A cancelled caller gets its CancelledError after that end, so a commit and the change in memory
    that belongs to it cannot come apart.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        raise cancelled from failure
    raise cancelled


BATCH_KEYS = 500
"""Keys of one load, far below the 32,766 variables of a statement of SQLite."""


class Batches(Generic[K, V]):
    """Loads values by key: one load at a time, each of all keys asked for during the one before."""

    def __init__(self, load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._load = load
        self._wanted: dict[K, asyncio.Future[V | None]] = {}
        self._queue: list[K] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """Return the value of the key, None if it has none; raises what the load raises."""
        future = self._wanted.get(key)
        if future is None:
            future = self._wanted[key] = asyncio.get_running_loop().create_future()
            self._queue.append(key)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Wait for a running load to finish; every caller has its answer then."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._queue:
            keys, self._queue = self._queue[:BATCH_KEYS], self._queue[BATCH_KEYS:]
            try:
                found = await self._load(keys)
            except BaseException as error:
                self._fail(keys, error)
                if not isinstance(error, Exception):
                    raise
            else:
                self._answer(keys, found)

    def _answer(self, keys: Sequence[K], found: Mapping[K, V]) -> None:
        for key in keys:
            future = self._wanted.pop(key)
            if not future.done():
                future.set_result(found.get(key))

    def _fail(self, keys: Sequence[K], error: BaseException) -> None:
        failure = error if isinstance(error, Exception) else asyncio.CancelledError()
        for key in keys:
            future = self._wanted.pop(key)
            if not future.done():
                future.set_exception(failure)
