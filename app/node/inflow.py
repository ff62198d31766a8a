"""What comes in on one connection: how much is allowed, what is counted, what waits."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from app.node.allowance import Allowance, Meter
from app.node.limited import Limit
from app.protocol.messages import ClientMessage

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
        messages = self._messages + elapsed * limit.messages_per_second
        bytes_ = self._bytes + elapsed * limit.bytes_per_second
        # Without min(): every message comes here, and two calls cost as much as all else of this.
        if messages > limit.messages_burst:
            messages = limit.messages_burst
        if bytes_ > limit.bytes_burst:
            bytes_ = limit.bytes_burst
        self._messages, self._bytes = messages, bytes_
        if (limit.messages_per_second and messages < 1) or (
            limit.bytes_per_second and bytes_ < size
        ):
            self.refused += 1
            return False
        self._messages = messages - 1
        self._bytes = bytes_ - size
        self.refused = 0
        return True


@dataclass(slots=True)
class Bounds:
    """What may wait, of one connection and of the node, and what does wait on the node.

    `message_bytes` is the longest message.
    """

    messages: int
    bytes: int
    node_bytes: int
    message_bytes: int
    held: int = 0
    """Bytes that wait on the node."""


class Line:
    """The messages of one connection that wait for one feature, behind the one it handles."""

    __slots__ = ("begun_at", "feature", "late", "message", "task", "texts", "timer")

    message: ClientMessage
    task: "asyncio.Task[Any]"
    timer: asyncio.TimerHandle
    begun_at: float

    def __init__(self, feature: str) -> None:
        self.feature = feature
        self.late = False
        """True once the message that is handled was answered with `timed_out`."""
        self.texts: deque[bytes] = deque()
        """In UTF-8, decoded when their turn comes: objects take more memory, and so may texts."""


class Waiting:
    """All lines of one connection, by feature; it exists while there are any."""

    __slots__ = ("_bounds", "bytes", "count", "lines", "over", "pausing")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.lines: dict[str, Line] = {}
        self.count = 0
        self.bytes = 0
        self.pausing = 0
        """Lines of features that refuse nothing."""
        self.over = False
        """True once nothing more may begin."""

    @property
    def crowded(self) -> bool:
        """True while there may be no place for a message that must not be refused."""
        bounds = self._bounds
        return self.pausing > 0 and (
            self.count >= bounds.messages
            or bounds.held + bounds.message_bytes > bounds.node_bytes
            or (self.count > 0 and self.bytes + bounds.message_bytes > bounds.bytes)
        )

    def takes(self, size: int) -> bool:
        """Tell whether a message of so many bytes is within the bounds; the first one always is."""
        bounds = self._bounds
        return bounds.held + size <= bounds.node_bytes and (
            not self.count or (self.count < bounds.messages and self.bytes + size <= bounds.bytes)
        )

    def add(self, messages: int, size: int) -> None:
        """Count messages, and their bytes, that wait from now on; negative ones wait no more."""
        self.count += messages
        self.bytes += size
        self._bounds.held += size


_NONE_YET: Final[tuple[Limit, float]] = ("connection", 0.0)


class Inflow:
    """What the door keeps for one connection; only the door and the features' limits write it."""

    __slots__ = (
        "_resumed",
        "above",
        "allowance",
        "durable",
        "frames",
        "heard_at",
        "outstanding",
        "paid",
        "rate",
        "refused",
        "waiting",
    )

    def __init__(self, now: float) -> None:
        self.frames = 0
        """Frames that the peer has sent."""
        self.heard_at = now
        """When the peer was last heard from, by the node's clock."""
        self.paid = False
        """True if the frames of the next text were charged as they came."""
        self.rate: Rate | None = None
        """Limits all messages of the peer; made with its first one."""
        self.allowance: Allowance | None = None
        """Limits what its user sends on all connections; known with its first message."""
        self.refused = 0
        """Messages in a row that were above one of these limits."""
        self.above: tuple[Limit, float] = _NONE_YET
        """The limit that the last of them was above, and the seconds to wait for it."""
        self.durable: Meter | None = None
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
        # Several callers may wait, and one of them may be cancelled.
        await asyncio.shield(self._resumed)
