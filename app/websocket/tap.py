"""Between transport and aiohttp: sees the bytes that come in, and lets whole frames through.

It bounds what whole messages don't show: the time that one takes to arrive, the number of its
fragments, what is held of those that have not ended, and frames without a mask.
"""

import asyncio
import logging
from typing import Final

from app.features.dispatch import who
from app.features.door import Door
from app.node.connection import Connection
from app.protocol.assembly import AbuseError, Assembly, EndedError
from app.protocol.close import ABUSE
from app.protocol.frames import BINARY_FRAME, CLOSE_FRAME, TEXT_FRAME, is_one_frame, text_of
from app.protocol.notes import Note

SLICE_BYTES: Final = 4096
"""Of several frames of a user that are taken in one turn of the event loop: 680 pings, some 8 ms.

A read brings up to 256 KiB.
"""

CRUMB_BYTES: Final = 256
"""A read that brings less and ends nothing is a crumb: even a slow network sends larger pieces."""

CRUMBS: Final = 16
"""That cost as much as one message, and are charged like one."""

SOON: Final = 2
"""Looks at a reader that is not ready for more, before it takes longer."""

BUSY_SECONDS: Final = 0.01
"""Between two looks from then on."""

log = logging.getLogger(__name__)


class Tap(asyncio.Protocol):
    """Stands in for a protocol; forwards to it what is not handled in the call that brings it."""

    __slots__ = (
        "_assembly",
        "_connection",
        "_door",
        "_protocol",
        "_rest",
        "_transport",
        "lost",
        "prompt",
        "waiter",
    )

    def __init__(
        self,
        protocol: asyncio.Protocol,
        transport: asyncio.Transport,
        connection: Connection,
        door: Door,
    ) -> None:
        self._protocol = protocol
        self._transport = transport
        self._connection = connection
        self._door = door
        self._assembly: Assembly | None = None
        """Exists only while something has not ended."""
        self._rest: memoryview | None = None
        """What has come and waits for its turn; meanwhile nothing more is read."""
        self.prompt = False
        """True while the reader waits and aiohttp has nothing for it, so that nothing is overtaken.

        The reader sets it, for as long as it waits; what is passed on ends it.
        """
        self.lost = False
        """True once the transport has ended; asyncio's then takes no `abort` any more."""
        self.waiter: asyncio.Future[None] | None = None
        """Of who waits for that."""

    def data_received(self, data: bytes) -> None:
        """Have what the bytes say handled, or pass it on."""
        if self._assembly is None and self._rest is None and is_one_frame(data):
            first = data[0]
            if self.prompt and first == TEXT_FRAME and self._handle(data):
                return
            if first != BINARY_FRAME and len(data) <= self._door.max_bytes:
                self._pass(data)
                return
        if self._rest is None and self._may_take(len(data)):
            self._assemble(data)
        else:
            self._spread(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and tell who waits for it."""
        self._forget()
        self._rest = None
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
        door.handle(connection, text, size)
        return True

    def _spread(self, data: bytes) -> None:
        """Take many bytes slice by slice, so that others have their turn between two slices.

        That are other users: all connections of one together take one slice in a turn.
        """
        if self._rest is None:
            self._transport.pause_reading()
            self._rest = memoryview(data)
            self._take_slice()
        else:
            # aiohttp, too, pauses reading, and then has it go on.
            self._transport.pause_reading()
            self._rest = memoryview(bytes(self._rest) + data)

    def _take_slice(self, looks: int = 0) -> None:
        """Take the next slice once the reader has handled the one before; then read on."""
        rest, loop = self._rest, asyncio.get_running_loop()
        if rest is None or self._transport.is_closing():
            self._rest = None
        elif self._connection.is_closing():
            # It ends for what it has sent before, and is charged for no more.
            self._read_on()
        elif not self.prompt:
            # Nearly always it is its turn before this is called again.
            pause = BUSY_SECONDS if looks >= SOON else 0
            loop.call_later(pause, self._take_slice, looks + 1)
        elif rest:
            self._door.slices.ask(self._connection.user_id, self._take_now)
        else:
            self._read_on()

    def _take_now(self) -> None:
        """Take a slice, unless the connection has ended while it waited for its turn."""
        rest = self._rest
        if rest is not None and self._connection.closing is None:
            size = max(SLICE_BYTES, self._remaining())
            self._rest = rest[size:]
            self._assemble(bytes(rest[:size]))
        asyncio.get_running_loop().call_soon(self._take_slice)

    def _may_take(self, size: int) -> bool:
        """Tell whether so many bytes may be taken now: the payload of one frame costs little."""
        return size <= self._remaining() or (
            size <= SLICE_BYTES and self._door.slices.begin(self._connection.user_id)
        )

    def _remaining(self) -> int:
        """Return how many bytes the payload of a frame that has begun still lacks."""
        return 0 if self._assembly is None else self._assembly.remaining

    def _read_on(self) -> None:
        self._rest = None
        self._transport.resume_reading()

    def _pass(self, data: bytes) -> None:
        self.prompt = False
        self._protocol.data_received(data)

    def _assemble(self, data: bytes) -> None:
        """Pass on what is whole, and keep the rest within the limits."""
        assembly = self._assembly or Assembly(self._door.max_bytes, self._charge, self._tell)
        if assembly.over and data[0] == CLOSE_FRAME and is_one_frame(data):
            # The peer's answer to our close frame.
            self._pass(data)
            return
        begun = assembly.begun
        try:
            whole = assembly.feed(data)
        except AbuseError:
            self._forget()
            self._connection.disconnect(ABUSE)
            return
        if not whole and len(data) < CRUMB_BYTES:
            self._count_crumb(assembly)
        if not assembly.partial and not assembly.over:
            self._forget()
        elif not self._keep(assembly, anew=begun != assembly.begun):
            log.info("too much is unfinished", extra=who(self._connection))
            whole += assembly.refuse()
        if whole:
            self._pass(whole)

    def _count_crumb(self, assembly: Assembly) -> None:
        """Charge a peer that sends byte by byte, which ends when it is refused too often."""
        assembly.crumbs += 1
        if assembly.crumbs % CRUMBS == 0 and self._connection.closing is None:
            self._door.charge(self._connection, 0)

    def _charge(self, size: int) -> bool:
        paid = self._door.charge(self._connection, size)
        if self._connection.closing is not None:
            # Fragments come at line rate, and each costs more than the limits meant for it.
            raise EndedError
        return paid

    def _tell(self, note: Note) -> bool:
        """Answer a message that is dropped; False if what came before it has to go first.

        The peer is to hear why before its connection ends for what follows in the same bytes.
        """
        connection = self._connection
        if not self.prompt or connection.closing is not None or connection.full:
            return False
        self._door.drop(connection, note)
        return True

    def _keep(self, assembly: Assembly, *, anew: bool) -> bool:
        """Keep what has not ended; False if it is more than a user may have."""
        arrivals, connection = self._door.arrivals, self._connection
        if anew or self._assembly is None:
            arrivals.since[connection] = arrivals.clock()
        self._assembly = assembly
        return arrivals.hold(connection, assembly.held)

    def _forget(self) -> None:
        """Drop what has not ended."""
        if self._assembly is not None:
            self._assembly = None
            self._door.arrivals.forget(self._connection)
