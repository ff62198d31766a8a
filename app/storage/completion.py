"""Work that is not left half-way when the one who asked for it goes away."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


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
