"""Pings for all connections of the node: a wheel of slots, no timer per connection.

Each connection sits in one slot; each slot is pinged once per interval and checked half an
interval later. All pings of a slot are the same frame with a fresh nonce, so an answer proves that
the peer read this very ping.
"""

import secrets
from collections.abc import Iterator
from typing import Final

from app.node.connection import Connection
from app.protocol.frames import OPCODE_PING, frame

SLOTS: Final = 32
"""Even, so that half an interval is a whole number of slots; 10,000 connections make 312 a slot."""


class Heartbeat:
    """Knows all connections whose socket has not ended, when to ping each, and which are silent."""

    def __init__(self, interval: float, now: float) -> None:
        self.interval = interval
        self._slots: list[dict[Connection, None]] = [{} for _ in range(SLOTS)]
        self._count = 0
        self._next_slot = 0
        self._beats = 0
        self._started = now

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        for slot in self._slots:
            yield from slot

    def add(self, connection: Connection) -> None:
        """Ping the connection from now on."""
        self._count += 1
        slot = connection.pulse.slot = self._next_slot
        self._slots[slot][connection] = None
        self._next_slot = (self._next_slot + 1) % SLOTS

    def remove(self, connection: Connection) -> None:
        """Ping the connection no more; do nothing if it is not known."""
        slot, connection.pulse.slot = connection.pulse.slot, -1
        if slot >= 0:
            del self._slots[slot][connection]
            self._count -= 1

    def take_pong(self, connection: Connection, nonce: bytes) -> bool:
        """Note that the peer has answered; False if this is not the answer to its last ping."""
        if nonce != connection.pulse.awaited_pong:
            return False
        connection.pulse.awaited_pong = None
        return True

    def due(self, now: float) -> Iterator[tuple[list[Connection], list[Connection]]]:
        """Ping every slot whose time has come.

        Yields for each the connections of that slot, and those of the slot pinged half an interval
        ago that have not answered.
        """
        late = int((now - self._started) / self.interval * SLOTS) - self._beats
        # A machine that was suspended has missed turns. They are not made up for, and no connection
        # is judged before the answers that came in meanwhile have been read.
        stalled = late > SLOTS // 2
        self._beats += max(0, late - SLOTS)
        for _ in range(min(late, SLOTS)):
            slot = self._slots[self._beats % SLOTS]
            opposite = self._slots[(self._beats + SLOTS // 2) % SLOTS]
            self._beats += 1
            silent = (
                [] if stalled else [one for one in opposite if one.pulse.awaited_pong is not None]
            )
            self._ping(slot)
            yield list(slot), [] if stalled else silent

    @staticmethod
    def _ping(slot: dict[Connection, None]) -> None:
        nonce = secrets.token_bytes(8)
        ping = frame(nonce, OPCODE_PING)
        for connection in slot:
            if connection.send(ping):
                connection.pulse.awaited_pong = nonce
