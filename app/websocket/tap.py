"""Between transport and aiohttp: sees the bytes that come in, and lets them through.

It bounds what whole messages don't show: the time one message takes to arrive, the number of
its fragments, and frames without a mask.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from app.websocket.close import ABUSE
from app.websocket.connection import Connection
from app.websocket.inbound import FrameMeter, is_one_frame

MAX_FRAGMENTS: Final = 1024
"""Data frames of one message: a browser sends one, a library that streams some dozens."""


class Arrivals:
    """The connections of which a message has begun and not ended, and since when."""

    __slots__ = ("clock", "since")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.since: dict[Connection, float] = {}


class Tap(asyncio.Protocol):
    """Stands in for a protocol and forwards everything to it."""

    __slots__ = (
        "_arrivals",
        "_connection",
        "_meter",
        "_protocol",
        "lost",
        "waiter",
    )

    def __init__(
        self, protocol: asyncio.Protocol, connection: Connection, arrivals: Arrivals
    ) -> None:
        self._protocol = protocol
        self._connection = connection
        self._arrivals = arrivals
        self._meter: FrameMeter | None = None
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
        since, connection = self._arrivals.since, self._connection
        meter = self._meter or FrameMeter()
        begun = meter.begun
        meter.feed(data)
        if not meter.partial:
            self._meter = None
            since.pop(connection, None)
        elif self._meter is None or begun != meter.begun:
            self._meter = meter
            since[connection] = self._arrivals.clock()
        return meter
