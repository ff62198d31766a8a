"""Places for reads of the log, which users take in turns."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """So many places, each for one read at a time.

    Connections of one user wait for each other. Somebody else's waits for one read of each other
    user at most, however many connections that user has.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        # Users in the order of their turns; each is here only while somebody waits.
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, user_id: int) -> AsyncIterator[None]:
        """Wait for the user's turn, and keep the place inside the block."""
        await self._take(user_id)
        try:
            yield
        finally:
            self._give()

    async def _take(self, user_id: int) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # The place came in the same moment, and is the next one's.
                self._give()
            raise

    def _give(self) -> None:
        """Hand a place to the user whose turn it is; the user's next connection waits again."""
        while self._waiting:
            user_id, queue = next(iter(self._waiting.items()))
            del self._waiting[user_id]
            turn = queue.popleft()
            if queue:
                self._waiting[user_id] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
