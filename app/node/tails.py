"""What operators follow: the messages that go in and out of some connections, as they pass.

It costs nothing while nobody follows. A connection that somebody follows takes another class, which
tells of every frame (`TailedConnection`), and the door takes another way in. What an operator's
terminal cannot take is counted and told; nobody waits for it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from app.node.connection import Connection, TailedConnection
from app.node.registry import matches
from app.protocol.close import Selector
from app.protocol.frames import OPCODE_TEXT, opcode_of, payload_of

WAITING_LINES: Final = 2000
"""That wait for one terminal: a second of a busy connection, some 1.5 MB without payloads."""

WAITING_BYTES: Final = 4_194_304
"""Of payloads that wait for one terminal."""

LINES_AT_ONCE: Final = 100
"""That are made for one terminal before others have their turn: some 2 ms."""

What = Literal["connected", "in", "out", "refused", "closed", "lost"]
"""`refused` is a message that an outbox was too full for; `lost` tells of lines that are left out.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Something that happened on a connection; `size` is the bytes of a message's JSON.

    `at` is in seconds since 1970. Of `lost` only `count` means something.
    """

    what: What
    at: float
    connection_id: str = ""
    user_id: int = 0
    device_id: int = 0
    instance: str = ""
    type: str | None = None
    id: str | None = None
    """The message's own, or of the message that it answers."""
    offset: int | None = None
    size: int | None = None
    payload: Any = None
    code: int | None = None
    reason: str | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Types:
    """Which messages are shown: all without any type; `note.*` has all that begin with `note.`."""

    whole: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Types":
        """Return what the texts say: whole types, and prefixes that end with `.*`."""
        given = list(texts)
        prefixes = tuple(text[:-1] for text in given if text.endswith(".*"))
        return cls(frozenset(text for text in given if not text.endswith(".*")), prefixes)

    def has(self, type_: str) -> bool:
        """Tell whether a message of this type is shown."""
        every = not self.whole and not self.prefixes
        return every or type_ in self.whole or type_.startswith(self.prefixes)


class Tail:
    """What one operator follows, and what waits for their terminal."""

    def __init__(self, selector: Selector, types: Types, *, payloads: bool = False) -> None:
        self.selector = selector
        self.payloads = payloads
        self.lines = 0
        """Lines that were handed to the operator."""
        self.lost = 0
        """Lines that the terminal was too slow for, in all."""
        self._types = types
        self._waiting: deque[Passage] = deque()
        self._bytes = 0
        self._untold = 0
        self._some = asyncio.Event()

    def add(self, passage: Passage) -> None:
        """Have a line wait for the terminal, or count it as lost."""
        if passage.type is not None and not self._types.has(passage.type):
            return
        size = passage.size or 0 if self.payloads else 0
        if len(self._waiting) >= WAITING_LINES or self._bytes + size > WAITING_BYTES:
            self.lost += 1
            self._untold += 1
            return
        if not self.payloads and passage.payload is not None:
            passage = _without_payload(passage)
        self._waiting.append(passage)
        self._bytes += size
        self._some.set()

    async def take(self, seconds: float) -> list[Passage]:
        """Wait for lines and return the oldest; none if nothing passes for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._some.wait()
        except TimeoutError:
            return []
        taken = [self._next() for _ in range(min(LINES_AT_ONCE, len(self._waiting)))]
        if not self._waiting:
            self._some.clear()
            if self._untold:
                # They were lost after all that waited.
                taken.append(Passage(what="lost", at=taken[-1].at, count=self._untold))
                self._untold = 0
        self.lines += len(taken)
        return taken

    def _next(self) -> Passage:
        passage = self._waiting.popleft()
        self._bytes -= passage.size or 0 if self.payloads else 0
        return passage


class Tails:
    """The tails of a node; `on_switch` is called with True when the first begins, and with False
    when the last has ended."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since 1970."""
        self._clock = clock
        self._open: list[Tail] = []
        self._last: tuple[bytes, Any] = (b"", None)
        self.on_switch: Callable[[bool], None] = lambda tailing: None
        self.active = False
        """True while somebody follows."""

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, tail: Tail) -> None:
        """Have the tail follow what comes from now on, and what `follow` is called with."""
        self._open.append(tail)
        self._switch()

    def end(self, tail: Tail) -> None:
        """Have the tail follow nobody any more; `unfollow` then frees its connections."""
        self._open.remove(tail)
        self._last = (b"", None)
        self._switch()

    def follow(self, connections: Iterable[Connection]) -> None:
        """Follow these connections, if a tail means them."""
        for connection in connections:
            if self._means(connection):
                TailedConnection.begin(connection, self.outgoing)

    def unfollow(self, connections: Iterable[Connection]) -> None:
        """Follow those of the connections no more that no tail means."""
        for connection in connections:
            if connection.tailed and not self._means(connection):
                TailedConnection.end(connection)

    def connected(self, connection: Connection) -> None:
        """Follow a connection that has come, if anybody wants to."""
        self.follow((connection,))
        if connection.tailed:
            self._add(connection, what="connected")

    def closed(self, connection: Connection) -> None:
        """Tell that the connection has ended, and follow it no more."""
        close = connection.closing.close if connection.closing is not None else None
        self._add(
            connection,
            what="closed",
            code=close.code if close is not None else None,
            reason=close.reason if close is not None else None,
        )
        TailedConnection.end(connection)

    def incoming(self, connection: Connection, text: str) -> None:
        """Tell of a message of the peer, before it is handled."""
        data = text.encode()
        self._add(connection, what="in", size=len(data), **_told(_parsed(data)))

    def dropped(self, connection: Connection, type_: str | None, id_: str | None, why: str) -> None:
        """Tell of a message of the peer that was dropped unread."""
        self._add(connection, what="in", type=type_ or "", id=id_, reason=why)

    def outgoing(self, connection: Connection, frame: bytes, taken: bool) -> None:
        """Tell of a frame that the connection took or refused; what is no text is no message."""
        if opcode_of(frame) != OPCODE_TEXT:
            return
        if self._last[0] is not frame:
            # Of a message to many, one frame is parsed once.
            self._last = (frame, _parsed(payload_of(frame)))
        size = len(payload_of(frame))
        what: What = "out" if taken else "refused"
        self._add(connection, what=what, size=size, **_told(self._last[1]))

    def _add(self, connection: Connection, **about: Any) -> None:
        passage = Passage(
            at=self._clock(),
            connection_id=connection.connection_id,
            user_id=connection.user_id,
            device_id=connection.device_id,
            instance=connection.instance,
            **about,
        )
        for tail in self._open:
            if matches(connection, tail.selector):
                tail.add(passage)

    def _means(self, connection: Connection) -> bool:
        return any(matches(connection, tail.selector) for tail in self._open)

    def _switch(self) -> None:
        if self.active != bool(self._open):
            self.active = bool(self._open)
            self.on_switch(self.active)


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _told(message: Any) -> dict[str, Any]:
    """Return what a line tells of a message; a peer may send anything."""
    if not isinstance(message, dict):
        return {"type": ""}
    type_, offset = message.get("type"), message.get("offset")
    answered = message.get("reply_to", message.get("id"))
    payload = message.get("payload")
    if offset is None and type_ == "ack" and isinstance(payload, dict):
        offset = payload.get("offset")
    return {
        "type": type_ if isinstance(type_, str) else "",
        "id": answered if isinstance(answered, str) else None,
        "offset": offset if isinstance(offset, int) else None,
        "payload": payload,
    }


def _without_payload(passage: Passage) -> Passage:
    fields = {name: getattr(passage, name) for name in Passage.__slots__ if name != "payload"}
    return Passage(**fields)
