"""One live WebSocket as the rest of the server sees it.

Nothing here knows a socket: a connection is given a `Wire`. A sender never waits for a receiver.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from app.node.outgoing import TICK_BYTES, Outgoing
from app.node.rate import Rate
from app.protocol.close import Close
from app.protocol.messages import goaway

DEFAULT_INSTANCE: Final = "default"

MAX_OUTSTANDING: Final = 64
"""Messages of one peer that may wait for the disk; then no more of its messages are read."""


class Wire(Protocol):
    """The socket of a connection, as its owner gives it."""

    def write(self, data: bytes) -> bool:
        """Hand over bytes while none are unsent, unless the socket is closing; returns at once.

        True if it is certain that the system has taken all of them.
        """

    def buffered(self) -> int:
        """Return how many bytes the transport has not handed to the system."""

    def pump(self) -> None:
        """Start draining the outbox at the speed of the peer, until it is empty."""

    def finish(self) -> None:
        """Have the connection closed as its `closing` says, without waiting for it."""

    def abort(self) -> None:
        """Drop the connection at once, with all that is unsent."""

    def unsent_in_kernel(self) -> int:
        """Return how much data the system has taken and the peer has not, 0 where unknown."""


class _EndedWire:
    """The wire of a connection whose socket has ended: takes everything and does nothing."""

    def write(self, data: bytes) -> bool:
        """Return True, and do nothing."""
        return True

    def buffered(self) -> int:
        """Return 0."""
        return 0

    def pump(self) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""

    def unsent_in_kernel(self) -> int:
        """Return 0."""
        return 0


ENDED: Wire = _EndedWire()


@dataclass(frozen=True, slots=True)
class Closing:
    """How a connection is being closed."""

    close: Close
    after_ms: int
    keep_outbox: bool


class Connection:
    """One live WebSocket: whose it is, and a bounded way out that never makes a sender wait."""

    __slots__ = (
        "_clogged",
        "_dirty",
        "_drained",
        "_frames_out",
        "_outbox",
        "_outbox_bytes",
        "_outgoing",
        "_pumping",
        "_room",
        "_tick",
        "_tick_bytes",
        "_tick_more",
        "_wire",
        "address",
        "awaited_pong",
        "behind",
        "closing",
        "connected_at",
        "connection_id",
        "device_id",
        "dropped",
        "durable_rate",
        "expires_at",
        "frames_in",
        "heard_at",
        "instance",
        "last",
        "outstanding",
        "position",
        "positioned",
        "pumped",
        "rate",
        "session_id",
        "slot",
        "started_at",
        "told",
        "user_id",
    )

    def __init__(
        self,
        wire: Wire,
        outgoing: Outgoing,
        *,
        user_id: int,
        device_id: int,
        connection_id: str,
        instance: str = DEFAULT_INSTANCE,
        session_id: int | None = None,
        expires_at: float | None = None,
        address: str = "",
        positioned: bool = False,
        connected_at: float = 0.0,
        now: float = 0.0,
    ) -> None:
        self._wire = wire
        self._outgoing = outgoing
        # Looked up for every frame.
        self._dirty = outgoing.dirty
        self.user_id = user_id
        self.device_id = device_id
        self.connection_id = connection_id
        self.instance = instance
        self.session_id = session_id
        self.expires_at = expires_at
        self.address = address
        self.positioned = positioned
        self.rate: Rate | None = None
        self.connected_at = connected_at
        self.started_at = now
        self.heard_at = now
        self.closing: Closing | None = None
        self.awaited_pong: bytes | None = None
        self.slot = -1
        self.position = 0
        """Offset up to which everything was handed to the peer, or skipped since it is not its."""
        self.last = 0
        """Offset of the newest durable message handed to it, or where it started."""
        self.told = 0
        """Offset of the position it was told last, or where it started."""
        self.behind = False
        """True while it reads its stream instead of being pushed."""
        self.outstanding = 0
        """Its messages that are being stored and have no answer yet."""
        self.durable_rate: Rate | None = None
        self.frames_in = 0
        self._frames_out = 0
        self.dropped = 0
        self.pumped = 0
        self._tick: bytes | None = None
        """What this tick gathered: one frame, as is usual, needs no list."""
        self._tick_more: list[bytes] | None = None
        self._tick_bytes = 0
        self._outbox: asyncio.Queue[bytes] | None = None
        self._outbox_bytes = 0
        self._pumping = False
        self._clogged = True
        """False while it is certain that the system has taken every byte."""
        self._room: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return (
            f"<Connection {self.connection_id} user={self.user_id} device={self.device_id} "
            f"instance={self.instance}>"
        )

    @property
    def frames_out(self) -> int:
        """Frames that were taken."""
        return self._frames_out

    def send(self, frame: bytes) -> bool:
        """Take a frame, in order after all earlier ones, or refuse it and return False.

        It is refused when the connection is closing, or when bytes are unsent and the outbox is
        full; it is never waited for.
        """
        tick = self._tick
        if tick is None:
            if self.closing is not None:
                return False
            if self._pumping or (self._clogged and self._is_clogged()):
                return self._enqueue(frame, bounded=True)
            self._tick = frame
            dirty = self._dirty
            if not dirty:
                self._outgoing.begin()
            dirty.append(self)
            if len(frame) >= TICK_BYTES:
                self.flush()
        else:
            self._add_to_tick(tick, frame)
        self._frames_out += 1
        return True

    def reply(self, frame: bytes) -> None:
        """Take a frame that answers the peer's own message, also when the outbox is full.

        The reader takes no next message while the outbox is full, so at most one is above it.
        """
        waits = self._pumping or (self._clogged and self._is_clogged())
        if waits and self.closing is None and not self._tick:
            self._enqueue(frame, bounded=False)
        else:
            self.send(frame)

    def flush(self) -> None:
        """Write what this tick gathered, in one call."""
        tick = self._tick
        if tick is not None:
            self._tick = None
            more = self._tick_more
            if more is not None:
                self._tick_more = None
                tick = b"".join(more)
            if not self._wire.write(tick):
                self._clogged = True

    def disconnect(self, close: Close, *, after_ms: int = 0, keep_outbox: bool = False) -> None:
        """Let the connection act no more and have it closed; the first reason given stays.

        A positioned peer is told by `goaway` first. With `keep_outbox` what waits is still sent.
        """
        if self.closing is not None:
            return
        if self.positioned:
            self.reply(goaway(close.reason, reconnect=close.reconnect, after_ms=after_ms).frame)
        self.closing = Closing(close, after_ms, keep_outbox)
        self.flush()
        if not keep_outbox:
            self.drop_outbox()
        self._wake_reader()
        self._wake_catch_up()
        self._wire.finish()

    def abort(self) -> None:
        """Drop the socket at once."""
        self._wire.abort()

    def detach(self) -> None:
        """Let go of the socket, which has ended; what is sent from now on is lost.

        Socket and connection know each other, so neither would be freed without a collection.
        """
        self.drop_outbox()
        self._tick = None
        self._wire = ENDED

    def is_closing(self) -> bool:
        """Tell whether it is over: true from the moment at which the server decided to close it."""
        return self.closing is not None

    # The outbox

    @property
    def backlog(self) -> int:
        """Frames that wait in the outbox."""
        return self._outbox.qsize() if self._outbox is not None else 0

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait in the outbox."""
        return self._outbox_bytes

    @property
    def full(self) -> bool:
        """True while no further message of the peer is to be read.

        Then the outbox takes no frame, or as many answers as may be are outstanding.
        """
        if self.outstanding >= MAX_OUTSTANDING:
            return True
        if self._outbox is None:
            return False
        limits = self._outgoing.limits
        return self._outbox_bytes >= limits.bytes or self._outbox.qsize() >= limits.frames

    @property
    def unsent(self) -> int:
        """Bytes that the system has not taken yet, in the outbox and in the transport."""
        return self._outbox_bytes + self._wire.buffered()

    def unsent_in_kernel(self) -> int:
        """Bytes that the system has taken and the peer has not, 0 where that is not known."""
        return self._wire.unsent_in_kernel()

    async def room(self) -> None:
        """Wait until the connection is no longer `full`, or closing."""
        while self.full and self.closing is None:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await self._room

    async def drained(self) -> None:
        """Wait until nothing waits in the outbox and its last bytes have gone, or it is closing."""
        while self._pumping and self.closing is None:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def settle(self) -> None:
        """One message of the peer that was outstanding has its answer."""
        self.outstanding -= 1
        self._wake_reader()

    def take(self) -> bytes | None:
        """Return the oldest waiting frames, up to 64 KiB joined; None ends the pump."""
        outbox = self._outbox
        if outbox is None or outbox.empty():
            self._pumping = False
            self._wake_catch_up()
            return None
        frames = [outbox.get_nowait()]
        size = len(frames[0])
        while not outbox.empty() and size < TICK_BYTES:
            frames.append(outbox.get_nowait())
            size += len(frames[-1])
        self._outbox_bytes -= size
        self.pumped += len(frames)
        self._wake_reader()
        return b"".join(frames)

    def drop_outbox(self) -> None:
        """Forget what waits in the outbox."""
        while self._outbox is not None and not self._outbox.empty():
            self._outbox.get_nowait()
        self._outbox_bytes = 0
        self._wake_reader()

    def _add_to_tick(self, first: bytes, frame: bytes) -> None:
        more = self._tick_more
        if more is None:
            more = self._tick_more = [first]
            self._tick_bytes = len(first)
        more.append(frame)
        self._tick_bytes += len(frame)
        if self._tick_bytes >= TICK_BYTES:
            self.flush()

    def _is_clogged(self) -> bool:
        """Tell whether bytes wait below us."""
        self._clogged = clogged = self._wire.buffered() > 0
        return clogged

    def _enqueue(self, frame: bytes, *, bounded: bool) -> bool:
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = asyncio.Queue()
        limits = self._outgoing.limits
        if (
            bounded
            and not outbox.empty()
            and (outbox.qsize() >= limits.frames or self._outbox_bytes + len(frame) > limits.bytes)
        ):
            self.dropped += 1
            return False
        outbox.put_nowait(frame)
        self._outbox_bytes += len(frame)
        self._frames_out += 1
        self._outgoing.slow.add(self)
        if not self._pumping:
            self._pumping = self._clogged = True
            self._wire.pump()
        return True

    def _wake_catch_up(self) -> None:
        if self._drained is not None:
            drained, self._drained = self._drained, None
            if not drained.done():
                drained.set_result(None)

    def _wake_reader(self) -> None:
        if self._room is not None:
            room, self._room = self._room, None
            if not room.done():
                room.set_result(None)
