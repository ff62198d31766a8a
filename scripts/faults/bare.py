"""A peer on bare sockets, which can do what no WebSocket library does: die in every way."""

import asyncio
import base64
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any, Final

import orjson

from scripts.faults.link import NO_CLOSE_FRAME

TEXT: Final = 1
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

PATIENCE_SECONDS: Final = 40
"""How long the server may take for what a peer waits for: thousands may come at the same time."""

_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a whole frame of a client (RFC 6455, section 5.2); its mask changes nothing."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


def message(type_: str, payload: Any = None, **more: Any) -> bytes:
    """Return the frame of a message."""
    return frame(orjson.dumps({"type": type_, "payload": payload, **more}))


def request(
    path: str, token: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> bytes:
    """Return the head of an HTTP request, which has no body."""
    lines = {"Host": "127.0.0.1", "Authorization": f"Bearer {token}", **(headers or {})}
    told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{told}\r\n".encode()


def upgrade(token: str, query: str = "", headers: Mapping[str, str] | None = None) -> bytes:
    """Return the request that opens a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }
    return request(f"/v1/ws{query}", token, headers={**asked, **(headers or {})})


class Bare:
    """One connection, which answers pings while it waits for its end, unless it is mute."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.mute = False
        self.patience: float | None = PATIENCE_SECONDS
        """Seconds after which any wait is a TimeoutError; None: never."""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(
        cls,
        port: int,
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> "Bare":
        """Connect, from this address if one is given; raises OSError."""
        local = None if source is None else (source, 0)
        return cls(*await asyncio.open_connection(host, port, local_addr=local, ssl=tls))

    def write(self, data: bytes) -> None:
        """Write these bytes."""
        self._writer.write(data)

    async def status(self) -> int:
        """Return the status of the answer to a request."""
        head = await self._within(self._reader.readuntil(b"\r\n\r\n"))
        return int(head.split(maxsplit=2)[1])

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame; raises EOFError or OSError at the end."""
        first, size = await self._within(self._reader.readexactly(2))
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._reader.readexactly(8), "big")
        return first & 0x0F, await self._within(self._reader.readexactly(size))

    async def code(self) -> int:
        """Read up to the close frame, or to the end without one, and return the code.

        Meanwhile it answers pings, and drops messages.
        """
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == PING and not self.mute:
                    self.write(frame(payload, PONG))
                elif opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big")
        except (EOFError, OSError):
            return NO_CLOSE_FRAME

    async def ended(self) -> None:
        """Wait until the server has ended the connection."""
        try:
            while await self._within(self._reader.read(65_536)):
                pass
        except OSError:
            pass

    def pause_reading(self) -> None:
        """Read nothing more from the socket."""
        reading: Any = self._writer.transport
        reading.pause_reading()

    def finish(self) -> None:
        """End the writing half: a FIN, over TLS an abort without close_notify."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.transport.abort()

    def reset(self) -> None:
        """End it with a RST."""
        found: socket.socket | None = self._writer.get_extra_info("socket")
        if found is not None and found.fileno() >= 0:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self._writer.transport.abort()

    def abort(self) -> None:
        """End it at once, in the way of the system's close(2)."""
        self._writer.transport.abort()

    async def _within(self, waiting: Any) -> Any:
        async with asyncio.timeout(self.patience):
            return await waiting
