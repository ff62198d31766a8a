"""One end of a WebSocket that sends any bytes, and keeps account of all that it gets."""

import asyncio
import base64
import json
from collections import Counter
from typing import Any, Final, cast

from scripts.fuzzing.grammar import CLOSE, Grammar, Owed, Piece
from scripts.fuzzing.house import Faults

OWN_TYPES: Final = frozenset({"connected", "position", "pong", "ok", "error", "goaway"})

SECONDS: Final = 60
"""After which an answer does not come any more; the machine may have other work."""


class Peer(asyncio.Protocol):
    """Writes pieces; counts answers by `id`, pongs by payload."""

    def __init__(self, codes: frozenset[str], faults: Faults, label: str) -> None:
        self._codes = codes
        self._faults = faults
        self._label = label
        self._buffer = b""
        self._head: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._room.set()
        self.transport: asyncio.Transport
        self.owed: set[str] = set()
        self.answered: Counter[str] = Counter()
        self.doubtful: set[str] = set()
        """Ids of messages that may be answered once, or not at all."""
        self.limited = False
        """True where the server's limits hold."""
        self.nameless = False
        """True once something was sent whose answer may name any id."""
        self.pings: Counter[bytes] = Counter()
        self.close_code: int | None = None
        self.epoch = ""
        self.lost = False

    # asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # What every loop gives for TCP; uvloop's is no subclass.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take the answer to the upgrade, then frames."""
        self._buffer += data
        if not self._head.done():
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if found and (head.startswith(b"HTTP/1.1 101") or b"\r\n\r\n" in self._buffer):
                self._buffer = rest
                self._head.set_result(head)
            else:
                return
        if self._head.result().startswith(b"HTTP/1.1 101"):
            self._read()
        self._news.set()

    def eof_received(self) -> bool:
        """Close, as the server does."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake who waits."""
        self.lost = True
        if not self._head.done():
            self._head.set_result(b"")
        self._room.set()
        self._news.set()

    def pause_writing(self) -> None:
        """Have `send` wait."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Let `send` go on."""
        self._room.set()

    # What comes

    def _read(self) -> None:
        buffer, at = self._buffer, 0
        while (size := len(buffer) - at) >= 2:
            first, short = buffer[at], buffer[at + 1]
            head, length = 2, short
            if short & 0x80 or not first & 0x80 or first & 0x70:
                self.fault(f"a frame of the server begins with {buffer[at : at + 2].hex()}")
            if short == 126:
                head, length = 4, int.from_bytes(buffer[at + 2 : at + 4], "big")
            elif short == 127:
                head, length = 10, int.from_bytes(buffer[at + 2 : at + 10], "big")
            if size < head or size < head + length:
                break
            self._take(first & 0x0F, buffer[at + head : at + head + length])
            at += head + length
        self._buffer = buffer[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if self.close_code is not None:
            self.fault(f"opcode {opcode} after the close frame")
        match opcode:
            case 1:
                self._take_text(payload)
            case 8:
                self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
            case 10:
                self.pings[payload] -= 1
            case _:
                self.fault(f"opcode {opcode}")

    def _take_text(self, payload: bytes) -> None:
        try:
            message: dict[str, Any] = json.loads(payload)
            type_ = message["type"]
            body = message["payload"]
        except (ValueError, KeyError, TypeError, RecursionError):
            # Python nests less deep than the server.
            if payload.count(b"[") + payload.count(b"{") < 200:
                self.fault(f"no message: {payload[:200]!r}")
            return
        if type_ == "connected":
            self.epoch = body["resume"]["epoch"]
        elif type_ == "error" and body["code"] not in self._codes:
            self.fault(f"error code {body['code']!r} is in no table")
        relayed = "from" in message or "offset" in message
        if not relayed and type_ not in OWN_TYPES and not type_.startswith("presence."):
            self.fault(f"type {type_!r} of the server's own")
        reply_to = message.get("reply_to")
        if reply_to is not None:
            self.answered[reply_to] += 1
            known = reply_to in self.owed or reply_to in self.doubtful
            if not known and not self.nameless:
                self.fault(f"an answer to {reply_to!r}, which nobody asked")
            if known and self.answered[reply_to] > 1:
                self.fault(f"{self.answered[reply_to]} answers to {reply_to!r}")

    def fault(self, what: str) -> None:
        """Note a fault, with where to find it."""
        self._faults.add(f"{self._label}: {what}")

    # What goes

    async def upgrade(self, port: int, query: str, token: str, more: str = "") -> bytes:
        """Ask for the upgrade; return the head of the answer."""
        key = base64.b64encode(b"0123456789abcdef").decode()
        self.transport.write(
            f"GET /v1/ws{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: Bearer {token}\r\n{more}\r\n".encode()
        )
        return await asyncio.wait_for(self._head, SECONDS)

    def note(self, piece: Piece) -> None:
        """Keep account of what the piece is owed; what follows unlawful bytes is owed nothing."""
        text = piece.text
        if text is not None and text.id is not None:
            # Of fragments that are dropped for a limit, the server may not have seen the id.
            if text.owed is Owed.ONE and not (self.limited and piece.frames > 1):
                self.owed.add(text.id)
            else:
                self.doubtful.add(text.id)
        if not piece.lawful or (text is not None and text.owed is Owed.UNKNOWN):
            self.nameless = True
        if piece.ping is not None:
            self.pings[piece.ping] += 1

    async def write(self, data: bytes) -> None:
        """Write bytes, and wait while the server does not take them."""
        if self.transport.is_closing():
            return
        self.transport.write(data)
        await asyncio.wait_for(self._room.wait(), SECONDS)

    def unanswered(self) -> list[str]:
        """Return the ids, and pings, that have no answer yet."""
        left = [one for one in self.owed if not self.answered[one]]
        return left + [f"ping {one!r}" for one, count in self.pings.items() if count > 0]

    async def until_answered(self) -> None:
        """Wait until all that is owed has come, or the connection is closed."""
        while not self.lost and self.close_code is None and self.unanswered():
            self._news.clear()
            await self._news.wait()

    async def until_lost(self) -> None:
        """Wait until the connection has ended."""
        while not self.lost:
            self._news.clear()
            await self._news.wait()

    def say_goodbye(self, code: int = 1000) -> None:
        """Send a close frame."""
        self.transport.write(Grammar.bare(code.to_bytes(2, "big"), CLOSE))
