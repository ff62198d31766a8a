"""One live WebSocket as the rest of the server sees it.

Nothing here knows a socket: a connection is given a `Wire`. A sender never waits for a receiver.
What others keep for a connection are objects of theirs, which only they write: its place in the
stream is the delivery's, its pulse the heartbeat's, its inflow the door's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from app.node.inflow import MAX_OUTSTANDING, Inflow
from app.node.outgoing import TICK_BYTES, Outbox, Outgoing
from app.protocol.close import Close
from app.protocol.messages import goaway

DEFAULT_INSTANCE: Final = "default"


class Wire(Protocol):
    """What a connection writes its frames to: a socket, or a list in tests."""

    def write(self, data: bytes) -> bool:
        """Hand over bytes while none are unsent, unless the socket is closing; returns at once.

        True if it is certain that the system has taken all of them.
        """

    def buffered(self) -> int:
        """Return how many bytes the transport has not handed to the system."""

    def pump(self) -> None:
        """Start draining the outbox at the speed of the peer, until it is empty."""

    def close_soon(self) -> None:
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

    def close_soon(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""

    def unsent_in_kernel(self) -> int:
        """Return 0."""
        return 0


ENDED: Final[Wire] = _EndedWire()


@dataclass(frozen=True, slots=True)
class Closing:
    """How a connection is being closed."""

    close: Close
    after_ms: int
    keep_outbox: bool


class Place:
    """Where a connection is in its stream. The delivery writes it."""

    __slots__ = ("behind", "last", "position", "told")

    def __init__(self) -> None:
        self.position = 0
        """Offset up to which the peer was handed everything that is for it."""
        self.last = 0
        """Offset of the newest durable message handed to the peer; at first, where it started."""
        self.told = 0
        """Offset of the position that the peer was told last; at first, where it started."""
        self.behind = False
        """True while the connection reads its stream instead of being pushed."""


class Pulse:
    """Whether the peer of a connection answers. The heartbeat writes it."""

    __slots__ = ("awaited_pong", "slot")

    def __init__(self) -> None:
        self.slot = -1
        """Its slot in the heartbeat's wheel; -1 while it is in none."""
        self.awaited_pong: bytes | None = None
        """The nonce of our ping that has no answer yet."""


Tell = Callable[["Connection", bytes, bool], None]
"""Called with a frame, and whether the connection took it."""


class Connection:
    """One live WebSocket: whose it is, and a bounded way out that never makes a sender wait."""

    tailed: ClassVar[bool] = False
    """True while an operator follows what goes in and out of it."""

    __slots__ = (
        "_clogged",
        "_dirty",
        "_outbox",
        "_outgoing",
        "_tick",
        "_tick_bytes",
        "_tick_more",
        "address",
        "closing",
        "connected_at",
        "connection_id",
        "device_id",
        "dropped",
        "expires_at",
        "frames_out",
        "handle",
        "inflow",
        "instance",
        "place",
        "positioned",
        "pulse",
        "session_id",
        "started_at",
        "user_id",
        "wire",
    )

    def __init__(
        self,
        wire: Wire,
        outgoing: Outgoing,
        *,
        user_id: int,
        device_id: int,
        connection_id: str,
        handle: str = "",
        instance: str = DEFAULT_INSTANCE,
        session_id: int | None = None,
        expires_at: float | None = None,
        address: str = "",
        positioned: bool = False,
        connected_at: float = 0.0,
        now: float = 0.0,
    ) -> None:
        self.wire = wire
        """Given by the owner of the socket; `detach` lets go of it."""
        self._outgoing = outgoing
        # Looked up for every frame.
        self._dirty = outgoing.dirty
        self.user_id = user_id
        self.handle = handle
        """What people call the user, for the log: the handle, or the `sub` of its JWTs."""
        self.device_id = device_id
        self.connection_id = connection_id
        self.instance = instance
        self.session_id = session_id
        """The session of its token, None for a JWT. The deadlines change it with the token."""
        self.expires_at = expires_at
        """When its token ends, in seconds since the epoch. The deadlines change it."""
        self.address = address
        self.positioned = positioned
        self.connected_at = connected_at
        self.started_at = now
        self.place = Place()
        self.pulse = Pulse()
        self.inflow = Inflow(now)
        self.closing: Closing | None = None
        self.frames_out = 0
        """Frames that were taken."""
        self.dropped = 0
        """Frames that were refused because the outbox was full."""
        self._tick: bytes | None = None
        """The first frame of this tick; usually it is the only one, so it needs no list."""
        self._tick_more: list[bytes] | None = None
        self._tick_bytes = 0
        self._outbox: Outbox | None = None
        self._clogged = True
        """False while it is certain that nothing waits below and the system has every byte."""

    def __repr__(self) -> str:
        return (
            f"<Connection {self.connection_id} user={self.user_id} device={self.device_id} "
            f"instance={self.instance}>"
        )

    def send(self, frame: bytes) -> bool:
        """Take a frame, in order after all earlier ones, or refuse it and return False.

        It is refused when the connection is closing, or when bytes are unsent and the outbox is
        full. This never waits.
        """
        tick = self._tick
        if tick is None:
            if self.closing is not None:
                return False
            if self._clogged and self._is_clogged():
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
        self.frames_out += 1
        return True

    def reply(self, frame: bytes) -> None:
        """Take a frame also when the outbox is full: an answer, `position`, or what catches up.

        Each of these is bounded by its sender: nothing more is read from the peer, or from its
        stream, while the outbox is full.
        """
        waits = self._clogged and self._is_clogged()
        if waits and self.closing is None and not self._tick:
            self._enqueue(frame, bounded=False)
        else:
            self.send(frame)

    def flush(self) -> None:
        """Write the frames of this tick in one call."""
        tick = self._tick
        if tick is not None:
            self._tick = None
            more = self._tick_more
            if more is not None:
                self._tick_more = None
                tick = b"".join(more)
            if not self.wire.write(tick):
                self._clogged = True

    def disconnect(
        self,
        close: Close,
        *,
        after_ms: int = 0,
        keep_outbox: bool = False,
        announce: bool = True,
    ) -> None:
        """Have the connection closed; the first reason given stays.

        From now on no message of it is begun, and it takes no frame. A positioned peer is told by
        `goaway` first, if `announce` is set, and unless bytes wait and the outbox is dropped. With
        `keep_outbox` what waits is still sent.
        """
        if self.closing is not None:
            return
        if self.positioned and announce:
            self.reply(goaway(close.reason, reconnect=close.reconnect, after_ms=after_ms).frame)
        self.closing = Closing(close, after_ms, keep_outbox)
        self.flush()
        if self._outbox is not None:
            if not keep_outbox:
                self._outbox.clear()
            self._outbox.release()
        self.inflow.resume()
        self.wire.close_soon()

    def abort(self) -> None:
        """Drop the socket at once."""
        self.wire.abort()

    def detach(self) -> None:
        """Let go of the socket, which has ended; what is sent from now on is lost.

        Socket and connection know each other, so neither would be freed without a collection.
        """
        self.drop_outbox()
        self._tick = None
        self.wire = ENDED

    def is_closing(self) -> bool:
        """Tell whether the server has decided to close the connection."""
        return self.closing is not None

    # The outbox

    @property
    def backlog(self) -> int:
        """Frames that wait in the outbox."""
        return len(self._outbox) if self._outbox is not None else 0

    @property
    def backlog_bytes(self) -> int:
        """Bytes that wait in the outbox."""
        return self._outbox.bytes if self._outbox is not None else 0

    @property
    def pumped(self) -> int:
        """Frames that the pump has taken, ever."""
        return self._outbox.pumped if self._outbox is not None else 0

    @property
    def backed_up(self) -> bool:
        """True while no further message of the peer is to be handled.

        Then the outbox takes no frame, or too many messages wait for the disk.
        """
        outbox = self._outbox
        return self.inflow.outstanding >= MAX_OUTSTANDING or (outbox is not None and outbox.full)

    @property
    def full(self) -> bool:
        """True while no further message of the peer is to be read.

        Then the connection is `backed_up`, or too many messages wait for a feature that may refuse
        none.
        """
        outbox, inflow = self._outbox, self.inflow
        return (
            inflow.outstanding >= MAX_OUTSTANDING
            or (outbox is not None and outbox.full)
            or (inflow.waiting is not None and inflow.waiting.crowded)
        )

    @property
    def unsent(self) -> int:
        """Bytes in the outbox and in the transport, which the system has not taken yet."""
        return self.backlog_bytes + self.wire.buffered()

    def unsent_in_kernel(self) -> int:
        """Return the bytes that the system has and the peer has not, 0 where that is unknown."""
        return self.wire.unsent_in_kernel()

    async def readable(self) -> None:
        """Wait until the connection is no longer `full`, or is closing."""
        while self.full and self.closing is None:
            await self.inflow.resumed()

    async def drained(self) -> None:
        """Wait until the transport has all that waited in the outbox, or it is closing."""
        outbox = self._outbox
        while outbox is not None and outbox.pumping and self.closing is None:
            await outbox.drained()

    def take(self) -> bytes | None:
        """Return the oldest waiting frames, up to 64 KiB joined; None ends the pump."""
        taken = self._outbox.take() if self._outbox is not None else None
        if taken is not None:
            self.inflow.resume()
        return taken

    def drop_outbox(self) -> None:
        """Drop what waits in the outbox."""
        if self._outbox is not None:
            self._outbox.clear()
            self.inflow.resume()

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
        """Tell whether a frame has to wait: the pump drains, or bytes are unsent below us."""
        outbox = self._outbox
        self._clogged = clogged = (
            outbox is not None and outbox.pumping
        ) or self.wire.buffered() > 0
        return clogged

    def _enqueue(self, frame: bytes, *, bounded: bool) -> bool:
        outbox = self._outbox
        if outbox is None:
            outbox = self._outbox = Outbox(self._outgoing.limits)
        if bounded and not outbox.has_room_for(frame):
            self.dropped += 1
            return False
        outbox.put(frame)
        self.frames_out += 1
        self._outgoing.slow.add(self)
        if not outbox.pumping:
            outbox.pumping = self._clogged = True
            self.wire.pump()
        return True


class TailedConnection(Connection):
    """A connection that tells an operator of each frame.

    A connection takes this class when an operator begins to follow it, and its own again when the
    last one has ended. So the way out of all others asks for nothing more.
    """

    __slots__ = ()

    tailed = True

    @staticmethod
    def begin(connection: Connection, tell: Tell) -> None:
        """Have `tell` called with each frame, and whether the connection took it."""
        connection.__class__ = TailedConnection
        connection._outgoing.tell = tell

    @staticmethod
    def end(connection: Connection) -> None:
        """Have nobody told any more."""
        connection.__class__ = Connection

    def send(self, frame: bytes) -> bool:
        """Take a frame or refuse it, as ever, and tell of it."""
        taken = super().send(frame)
        self._outgoing.tell(self, frame, taken)
        return taken

    def _enqueue(self, frame: bytes, *, bounded: bool) -> bool:
        if not bounded:
            # Else `send` tells of it.
            self._outgoing.tell(self, frame, True)
        return super()._enqueue(frame, bounded=bounded)
