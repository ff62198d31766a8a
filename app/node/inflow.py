"""What comes in on one connection: how much is allowed, what is counted, what waits."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

MAX_OUTSTANDING: Final = 64
"""Messages of one peer that may wait for the disk before the server stops reading from it."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The limits of one connection; a rate of 0 is no limit."""

    messages_per_second: float
    messages_burst: float
    bytes_per_second: float
    bytes_burst: float

    @property
    def unlimited(self) -> bool:
        """True when nothing has to be counted."""
        return not self.messages_per_second and not self.bytes_per_second


class Rate:
    """The two buckets of one connection; they start full."""

    __slots__ = ("_bytes", "_messages", "_then", "limit", "refused")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._messages = limit.messages_burst
        self._bytes = limit.bytes_burst
        self._then = now
        self.refused = 0

    def take(self, size: int, now: float) -> bool:
        """Count a message of `size` bytes and tell whether it is within the limits.

        `refused` is how many in a row were not.
        """
        limit = self.limit
        elapsed = now - self._then
        self._then = now
        self._messages = min(
            limit.messages_burst, self._messages + elapsed * limit.messages_per_second
        )
        self._bytes = min(limit.bytes_burst, self._bytes + elapsed * limit.bytes_per_second)
        if (limit.messages_per_second and self._messages < 1) or (
            limit.bytes_per_second and self._bytes < size
        ):
            self.refused += 1
            return False
        self._messages -= 1
        self._bytes -= size
        self.refused = 0
        return True


class Line:
    """The messages of one connection that wait for one feature, and the task that handles them."""

    __slots__ = ("task", "texts")

    task: "asyncio.Task[None]"

    def __init__(self) -> None:
        self.texts: deque[bytes] = deque()
        """In UTF-8, which the limits count: as `str`, one rare character makes a text four times as
        large, and decoded objects take more still."""


class Waiting:
    """All lines of one connection, by feature. Most connections never have one."""

    __slots__ = ("bytes", "count", "crowded", "lines")

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.count = 0
        self.bytes = 0
        self.crowded = False
        """True while reading pauses: there is no place for a message that must not be refused."""


class Inflow:
    """What the door keeps for one connection; only the door and the features' limits write it."""

    __slots__ = (
        "_resumed",
        "durable_rate",
        "frames",
        "heard_at",
        "outstanding",
        "rate",
        "waiting",
    )

    def __init__(self, now: float) -> None:
        self.frames = 0
        """Frames that the peer has sent."""
        self.heard_at = now
        """When the peer was last heard from, by the node's clock."""
        self.rate: Rate | None = None
        """Limits all messages of the peer; made with its first one."""
        self.durable_rate: Rate | None = None
        """Limits its durable messages; made with the first one."""
        self.outstanding = 0
        """Messages that are being stored and have no answer yet."""
        self.waiting: Waiting | None = None
        self._resumed: asyncio.Future[None] | None = None

    def settle(self) -> None:
        """Count one outstanding message less: it has its answer."""
        self.outstanding -= 1
        self.resume()

    def resume(self) -> None:
        """Wake the caller that waits in `resumed`."""
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            if not resumed.done():
                resumed.set_result(None)

    async def resumed(self) -> None:
        """Wait until something has changed that reading, or ending, may wait for."""
        if self._resumed is None or self._resumed.done():
            self._resumed = asyncio.get_running_loop().create_future()
        await self._resumed
