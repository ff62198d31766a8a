"""The wire of a connection over a socket: whole frames go straight to the transport.

aiohttp's own writer is used for closing only. Frames written beside it do not interleave with its
frames, but one written after its close frame would break the protocol, so each write looks first.
"""

import asyncio
import os
import socket
import sys
from typing import Any, Final

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from app.node.connection import Connection
from app.websocket.tap import Tap

WRITE_BUFFER_HIGH: Final = 65_536
"""Bytes in the transport above which the pump waits; TLS hides about as much again inside."""

KERNEL_IDLE_BYTES: Final = 4096
"""Fewer bytes than this in the kernel's queue are pings, not a message in transit."""

if sys.platform == "linux":
    import fcntl

    _SIOCOUTQ: Final = 0x5411

    def _kernel_queue(descriptor: int) -> int:
        """Return the bytes of a TCP socket that its peer has not acknowledged (tcp(7))."""
        answer = fcntl.ioctl(descriptor, _SIOCOUTQ, b"\0\0\0\0")
        return int.from_bytes(answer, sys.byteorder)
else:

    def _kernel_queue(descriptor: int) -> int:
        """Return 0, since this system does not tell."""
        return 0


# Looked up for every frame.
_write = os.write


class Socket(web.WebSocketResponse):
    """Tells its wire when a close frame goes out, whoever sends it: nothing may follow it."""

    # Beside the base class's dict, which one more key would make half as large again.
    __slots__ = ("wire",)

    wire: "SocketWire | None"

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        """Close as aiohttp does."""
        if self.wire is not None:
            self.wire.closed = True
        return await super().close(code=code, message=message, drain=drain)


class SocketWire:
    """A `Wire` over an asyncio transport."""

    __slots__ = (
        "_descriptor",
        "_interrupting",
        "_pump",
        "_reader",
        "_transport",
        "_writer",
        "closed",
        "connection",
        "deaf",
        "last",
        "receiving",
        "tap",
        "ws",
    )

    connection: Connection
    tap: Tap

    def __init__(
        self,
        ws: Socket,
        transport: asyncio.Transport,
        raw: socket.socket | None,
        writer: AbstractStreamWriter,
    ) -> None:
        transport.set_write_buffer_limits(high=WRITE_BUFFER_HIGH)
        self.ws = ws
        self._transport = transport
        self._writer = writer
        self._pump: asyncio.Task[None] | None = None
        self._descriptor = raw.fileno() if raw is not None else -1
        self._reader: asyncio.Task[Any] | None = None
        self._interrupting = False
        self.closed = False
        """True from the moment at which a close frame is sent; `Socket.close` sets it."""
        self.deaf = False
        """True if the peer stops reading at a close frame, and its app may never answer it."""
        self.last: WSMsgType | None = None
        """What aiohttp reported instead of a message, which ended the reading."""
        self.receiving = False
        """True while the reader waits for the peer."""

    def write(self, data: bytes) -> bool:
        """Write whole frames, unless a close frame went before; True if the system took all.

        Nothing is unsent, so they go to the system directly, which costs less than the way
        through the transport; what it does not take is the transport's.
        """
        transport, descriptor = self._transport, self._descriptor
        if self.closed or transport.is_closing():
            return False
        if descriptor >= 0:
            try:
                sent = _write(descriptor, data)
            except OSError:
                # The transport waits for room, or finds out for itself that the peer is gone.
                sent = 0
            if sent == len(data):
                return True
            data = data[sent:]
        transport.write(data)
        return False

    def _append(self, data: bytes) -> None:
        """Hand whole frames to the transport, behind what is unsent."""
        if not self.closed and not self._transport.is_closing():
            self._transport.write(data)

    def buffered(self) -> int:
        """Return how many bytes the transport has not handed to the system."""
        transport = self._transport
        if self._descriptor < 0 and transport.is_closing():
            # asyncio's TLS transport has lost what it would ask once it is dropped, and raises.
            return 0
        return transport.get_write_buffer_size()

    def pump(self) -> None:
        """Start a task that drains the outbox as fast as the peer reads."""
        self._pump = asyncio.create_task(self._run_pump())

    def close_soon(self) -> None:
        """Wake the reader if it waits for the peer; it closes the connection."""
        if self.receiving and self._reader is not None and not self._interrupting:
            self._interrupting = True
            self._reader.cancel()

    def begin_reading(self) -> None:
        """Let `close_soon` interrupt the current task from now on."""
        self._reader = asyncio.current_task()

    def end_reading(self) -> None:
        """Let `close_soon` interrupt no task from now on."""
        self._reader = None

    def was_interrupted(self) -> bool:
        """Tell whether `close_soon` alone caused the cancellation just caught, which ends here."""
        return self._interrupting and self._reader is not None and not self._reader.uncancel()

    def abort(self) -> None:
        """Drop the connection; this also ends a pump that waits for the peer."""
        if not self.tap.lost:
            self._transport.abort()

    def hang_up(self) -> None:
        """End the way out without a close frame: by a FIN, behind a close_notify under TLS."""
        self.closed = True
        transport = self._transport
        if transport.is_closing():
            return
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    async def linger(self, seconds: float) -> None:
        """Wait up to `seconds` for a closing transport to hand over what is unsent."""
        plain = self._descriptor >= 0
        if self._transport.is_closing() and not (plain and not self.buffered()):
            await self.lost(seconds)

    async def lost(self, seconds: float) -> None:
        """Wait up to `seconds` for the transport to end."""
        tap = self.tap
        if tap.lost:
            return
        tap.waiter = asyncio.get_running_loop().create_future()
        await asyncio.wait([tap.waiter], timeout=seconds)

    def unsent_in_kernel(self) -> int:
        """Return the bytes that the kernel has and the peer has not acknowledged, where known."""
        raw = self._transport.get_extra_info("socket")
        if raw is None or raw.fileno() < 0:
            return 0
        size = _kernel_queue(raw.fileno())
        return size if size > KERNEL_IDLE_BYTES else 0

    async def drained(self) -> None:
        """Wait until the outbox is handed over, or the connection is lost."""
        if self._pump is not None:
            await asyncio.wait([self._pump])

    async def ended(self) -> None:
        """Wait until no task of this connection is left; call it after `abort` or a full close."""
        if self._pump is not None:
            await self._pump

    async def _run_pump(self) -> None:
        try:
            while (data := self.connection.take()) is not None:
                self._append(data)
                await self._writer.drain()
        except ConnectionError:
            self.connection.drop_outbox()


def plain_socket(transport: asyncio.Transport | None) -> socket.socket | None:
    """Return the socket on which whole frames may be written, or None: not under TLS."""
    if transport is None or sys.platform == "win32":
        return None
    if transport.get_extra_info("sslcontext") is not None:
        return None
    found: socket.socket | None = transport.get_extra_info("socket")
    return found
