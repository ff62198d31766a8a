"""What users do in turns, so that nobody waits for all connections of somebody else."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turns:
    """So many places, each for one read of the log at a time.

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
            # Of a user who gave one up, the next connection has the turn.
            while queue and (turn := queue.popleft()).done():
                pass
            if queue:
                self._waiting[user_id] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Slices:
    """Has one piece of work of each user done in a turn of the event loop, and no more."""

    def __init__(self) -> None:
        # The work that waits, of each user of whom some was done in this turn.
        self._waiting: dict[int, deque[Callable[[], None]]] = {}

    def begin(self, user_id: int) -> bool:
        """Tell whether the caller may do some work of the user now, and count it as done."""
        if user_id in self._waiting:
            return False
        self._waiting[user_id] = deque()
        asyncio.get_running_loop().call_soon(self._next, user_id)
        return True

    def ask(self, user_id: int, work: Callable[[], None]) -> None:
        """Call `work` now, or in a later turn of the loop, after all that waits for the user."""
        if self.begin(user_id):
            work()
        else:
            self._waiting[user_id].append(work)

    def _next(self, user_id: int) -> None:
        waiting = self._waiting[user_id]
        if not waiting:
            del self._waiting[user_id]
            return
        asyncio.get_running_loop().call_soon(self._next, user_id)
        waiting.popleft()()
