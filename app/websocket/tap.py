"""Between transport and aiohttp: sees the bytes that come in, and lets them through.

It bounds what whole messages don't show: the time one message takes to arrive, the number of
its fragments, and frames without a mask.
"""

import asyncio
from typing import Final

from app.features.door import Door
from app.node.connection import Connection
from app.protocol.close import ABUSE
from app.protocol.frames import TEXT_FRAME, FrameMeter, is_one_frame, text_of

MAX_FRAGMENTS: Final = 1024
"""Data frames of one message: a browser sends one, a library that streams some dozens."""


class Tap(asyncio.Protocol):
    """Stands in for a protocol; forwards to it what is not handled in the call that brings it."""

    __slots__ = (
        "_connection",
        "_door",
        "_meter",
        "_protocol",
        "lost",
        "prompt",
        "waiter",
    )

    def __init__(self, protocol: asyncio.Protocol, connection: Connection, door: Door) -> None:
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
        elif self.prompt and data[0] == TEXT_FRAME and self._handle(data):
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

    def _handle(self, data: bytes) -> bool:
        """Have the message in one whole text frame handled; False if it is left to aiohttp."""
        connection, door, size = self._connection, self._door, len(data)
        if size > door.prompt_bytes or connection.closing is not None or connection.full:
            return False
        text = text_of(data)
        if text is None:
            return False
        door.handle(connection, text, size - (6 if size < 132 else 8))
        return True

    def _follow(self, data: bytes) -> FrameMeter:
        """Return what is known with these bytes; it is kept only until no message is unfinished."""
        arrivals, connection = self._door.arrivals, self._connection
        meter = self._meter or FrameMeter()
        begun = meter.begun
        meter.feed(data)
        if not meter.partial:
            self._meter = None
            arrivals.since.pop(connection, None)
        elif self._meter is None or begun != meter.begun:
            self._meter = meter
            arrivals.since[connection] = arrivals.clock()
        return meter
