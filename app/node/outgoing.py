"""The ways out of this node: one flush for all connections that got frames in a tick.

Writing at once would cost one system call per frame; a tick's frames joined into one write cost a
tenth of that in bursts. Waiting for the end of the tick costs a lone frame nothing measurable.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

TICK_BYTES: Final = 65_536
"""A connection's tick list is written at once when it reaches this many bytes."""

FLUSH_STEP: Final = 500
"""Connections written in one go; at 7 µs each the loop breathes every 4 ms."""


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """How much may wait for one slow connection."""

    frames: int
    bytes: int


class Flushable(Protocol):
    """A connection with a tick list."""

    def flush(self) -> None:
        """Write what this tick gathered."""


class Outgoing:
    """Flushes dirty connections at the end of a tick, and knows which ones are slow."""

    __slots__ = ("_call_soon", "_clock", "_marked_at", "_observe", "dirty", "limits", "slow")

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
        """Connections with a tick list; whoever adds the first one calls `begin` before."""
        self._marked_at = 0.0
        self.limits = limits
        self.slow: set[Any] = set()
        """Connections for which bytes wait; who watches write progress looks only at these."""

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
