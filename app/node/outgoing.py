"""The ways out of this node: one flush for all connections that got frames in a tick.

Writing at once would cost one system call per frame; a tick's frames joined into one write cost a
tenth of that in bursts. Waiting for the end of the tick costs a lone frame nothing measurable.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

TICK_BYTES: Final = 65_536
"""A connection's tick list is written at once when it reaches this many bytes."""

FLUSH_STEP: Final = 500
"""Connections written before the event loop gets a turn: 4 ms, at 7 µs each."""


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait for one slow connection."""

    frames: int
    bytes: int


class Outbox:
    """The frames that wait because the peer of one connection is slow; its pump drains them.

    Most connections never have one.
    """

    __slots__ = ("_drained", "_frames", "_limits", "bytes", "pumped", "pumping")

    def __init__(self, limits: OutboxLimits) -> None:
        self._limits = limits
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._drained: asyncio.Future[None] | None = None
        self.bytes = 0
        self.pumping = False
        """True while a pump drains it; then every frame has to wait here."""
        self.pumped = 0
        """Frames that the pump has taken."""

    def __len__(self) -> int:
        return self._frames.qsize()

    @property
    def full(self) -> bool:
        """True when it takes no more."""
        return self.bytes >= self._limits.bytes or self._frames.qsize() >= self._limits.frames

    def has_room_for(self, frame: bytes) -> bool:
        """Tell whether the frame is within the limits; an empty outbox takes any one frame."""
        waiting = self._frames.qsize()
        return not waiting or (
            waiting < self._limits.frames and self.bytes + len(frame) <= self._limits.bytes
        )

    def put(self, frame: bytes) -> None:
        """Have the frame wait, also above the limits."""
        self._frames.put_nowait(frame)
        self.bytes += len(frame)

    def take(self) -> bytes | None:
        """Return the oldest frames, up to 64 KiB joined; None ends the pump."""
        if self._frames.empty():
            self.pumping = False
            self.release()
            return None
        frames = [self._frames.get_nowait()]
        size = len(frames[0])
        while not self._frames.empty() and size < TICK_BYTES:
            frames.append(self._frames.get_nowait())
            size += len(frames[-1])
        self.bytes -= size
        self.pumped += len(frames)
        return b"".join(frames)

    def clear(self) -> None:
        """Drop what waits."""
        while not self._frames.empty():
            self._frames.get_nowait()
        self.bytes = 0

    async def drained(self) -> None:
        """Wait until the pump has handed over all that waited, or `release` is called."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        await self._drained

    def release(self) -> None:
        """Wake the caller that waits in `drained`."""
        if self._drained is not None:
            drained, self._drained = self._drained, None
            if not drained.done():
                drained.set_result(None)


class Flushable(Protocol):
    """A connection with a tick list."""

    def flush(self) -> None:
        """Write the frames of this tick."""


class Outgoing:
    """Flushes dirty connections at the end of a tick, and knows which ones are slow."""

    __slots__ = (
        "_call_soon",
        "_clock",
        "_marked_at",
        "_observe",
        "dirty",
        "limits",
        "slow",
        "tell",
    )

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], Any],
        clock: Callable[[], float],
        limits: OutboxLimits,
        observe: Callable[[float], None],
    ) -> None:
        self._call_soon = call_soon
        self._clock = clock
        self._observe = observe
        self.dirty: deque[Flushable] = deque()
        """Connections with a tick list. Call `begin` before adding the first one."""
        self._marked_at = 0.0
        self.limits = limits
        self.slow: set[Any] = set()
        """Connections for which bytes wait; the deadlines watch write progress of these alone."""
        self.tell: Callable[[Any, bytes, bool], None] = lambda *frame: None
        """Told of each frame of the connections that an operator follows."""

    def begin(self) -> None:
        """Have the dirty connections flushed at the end of this tick."""
        self._marked_at = self._clock()
        self._call_soon(self._flush)

    def _flush(self) -> None:
        dirty = self.dirty
        if len(dirty) <= FLUSH_STEP:
            batch: Iterable[Flushable] = list(dirty)
            dirty.clear()
        else:
            batch = [dirty.popleft() for _ in range(FLUSH_STEP)]
        for connection in batch:
            connection.flush()
        self._observe(self._clock() - self._marked_at)
        if dirty:
            self._call_soon(self._flush)
