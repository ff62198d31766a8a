"""Many wants, few selects."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Far below SQLite's 32,766 variables of a statement.
BATCH_KEYS = 500


class Batches(Generic[K, V]):
    """Loads values by key: one load at a time, each of all keys that came in meanwhile."""

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
        """No load is running; every caller has its answer."""
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
