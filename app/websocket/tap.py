"""Between transport and aiohttp: sees the bytes that come in, and lets them through.

It bounds what whole messages don't show: the time one message takes to arrive, the number of
its fragments, and frames without a mask.
"""

import asyncio
from typing import Final, Protocol

from app.node.connection import Connection
from app.node.deadlines import Arrivals
from app.protocol.close import ABUSE
from app.protocol.frames import TEXT_FRAME, FrameMeter, is_one_frame

MAX_FRAGMENTS: Final = 1024
"""Data frames of one message: a browser sends one, a library that streams some dozens."""


class Taking(Protocol):
    """Who takes messages past aiohttp."""

    arrivals: Arrivals

    def take_now(self, connection: Connection, data: bytes) -> bool:
        """Have the message in one whole text frame handled; False if nothing was done."""


class Tap(asyncio.Protocol):
    """Stands in for a protocol and forwards everything to it that nobody takes at once."""

    __slots__ = (
        "_connection",
        "_door",
        "_meter",
        "_protocol",
        "lost",
        "prompt",
        "waiter",
    )

    def __init__(self, protocol: asyncio.Protocol, connection: Connection, door: Taking) -> None:
        self._protocol = protocol
        self._connection = connection
        self._door = door
        self._meter: FrameMeter | None = None
        self.prompt = False
        """True while the reader waits and aiohttp has nothing for it, so that nothing is overtaken.

        The reader sets it, for as long as it waits; what is passed on ends it.
        """
        self.lost = False
        """True once the transport has ended; asyncio's then takes no `abort` any more."""
        self.waiter: asyncio.Future[None] | None = None
        """Of who waits for that."""

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on, unless the peer breaks the protocol on purpose."""
        if self._meter is not None or not is_one_frame(data):
            meter = self._follow(data)
            if meter.unmasked or meter.fragments > MAX_FRAGMENTS:
                self._connection.disconnect(ABUSE)
                return
        elif self.prompt and data[0] == TEXT_FRAME and self._door.take_now(self._connection, data):
            return
        self.prompt = False
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and tell who waits for it."""
        self._protocol.connection_lost(exc)
        self.lost = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def _follow(self, data: bytes) -> FrameMeter:
        """Return what is known with these bytes; it is kept only until no message is unfinished."""
        since, connection = self._door.arrivals.since, self._connection
        meter = self._meter or FrameMeter()
        begun = meter.begun
        meter.feed(data)
        if not meter.partial:
            self._meter = None
            since.pop(connection, None)
        elif self._meter is None or begun != meter.begun:
            self._meter = meter
            since[connection] = self._door.arrivals.clock()
        return meter
