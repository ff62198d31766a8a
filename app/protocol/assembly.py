"""Makes whole frames of what a peer sends in pieces, and finds what breaks the protocol.

Pure: bytes in, bytes out. What comes out is for aiohttp: whole frames only, no fragments, no text
above the limit, and no binary frame of a peer. So a binary frame there is a `Note` of ours.
RFC 6455, sections 5.2 and 5.4.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from app.protocol.frames import OPCODE_TEXT, header_length, masked_frame, unmask
from app.protocol.notes import PAID, Note, noted
from app.protocol.scanning import WINDOW_BYTES, type_and_id_in

LARGEST: Final = 4
"""A text of up to so many times the limit is refused by an answer; a longer one closes."""

FREE_FRAGMENTS: Final = 64
"""Fragments that any message may have: a browser sends one, a library that streams some dozens."""

FRAGMENT_BYTES: Final = 256
"""A message of more fragments has as many bytes for each of them, on average, or is dropped."""

ABUSIVE_FRAGMENTS: Final = 1024
"""A dropped message that goes on in small fragments beyond so many closes."""

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_CONTROL: Final = 0x08
_MASKED: Final = 0x80
_CONTINUATION: Final = 0x0
_HIGHEST_OPCODE: Final = 2
_LONGEST_CONTROL: Final = 125

_ALONE: Final = frozenset({0x81, 0x88, 0x89, 0x8A})
_BETWEEN_FRAGMENTS: Final = frozenset({0x88, 0x89, 0x8A})

_PROTOCOL_ERROR: Final = b"\xf0\x80"
"""Has aiohttp close with 1002: reserved bits are set."""

_TOO_BIG: Final = bytes((0x82, 0xFF)) + (1 << 62).to_bytes(8, "big")
"""Has aiohttp close with 1009: the frame claims to be that long."""


class AbuseError(Exception):
    """The peer breaks the protocol on purpose: no mask, or fragments without end."""


RATE_LIMITED: Final = Note("rate_limited", "too many messages; this one is dropped")
_FRAGMENTED: Final = Note("invalid_message", "the message has too many fragments for its size")
_BINARY: Final = Note("invalid_message", "messages are text frames")


class EndedError(Exception):
    """The connection ends, so that what follows is not worth reading; `charge` raises it."""


class _BreachError(Exception):
    """The peer breaks the protocol; `poison` has aiohttp close with the right code."""

    def __init__(self, poison: bytes) -> None:
        self.poison = poison


class _Fate(Enum):
    """What becomes of a message."""

    JOINED = auto()
    TOO_LARGE = auto()
    """Its ends are kept until it is complete, to tell which one is refused."""
    DROPPED = auto()


class _Message:
    """A message that is not one whole text, and has not ended."""

    __slots__ = ("fate", "fragments", "joined", "received", "text")

    def __init__(self, *, text: bool) -> None:
        self.text = text
        self.fate = _Fate.JOINED
        self.fragments = 0
        self.received = 0
        """Bytes of its payload, as its headers say."""
        self.joined = bytearray()

    def add(self, payload: bytes) -> None:
        """Keep what comes next of it."""
        self.joined += payload
        if self.fate is _Fate.TOO_LARGE:
            del self.joined[WINDOW_BYTES:-WINDOW_BYTES]

    @property
    def allowed_fragments(self) -> int:
        """How many it may have, being as long as it is."""
        return max(FREE_FRAGMENTS, self.received // FRAGMENT_BYTES)


class _Frame:
    """A frame of which the header has come, and the payload has not all come."""

    __slots__ = ("_mask", "final", "header", "length", "message", "opcode", "raw", "remaining")

    def __init__(self, header: bytes) -> None:
        first, second = header[0], header[1]
        if not second & _MASKED:
            raise AbuseError
        if first & _RESERVED or first & 7 > _HIGHEST_OPCODE:
            raise _BreachError(_PROTOCOL_ERROR)
        self.header = header
        self.final = bool(first & _FIN)
        self.opcode = first & 0x0F
        self.length = int.from_bytes(header[2:-4] or bytes((second & 0x7F,)), "big")
        self.remaining = self.length
        self.message: _Message | None = None
        """What it is a part of; None if it goes to aiohttp as it is."""
        self.raw = bytearray()
        self._mask = header[-4:]

    def take(self, piece: bytes) -> None:
        """Take the next bytes of the payload."""
        self.remaining -= len(piece)
        fate = _Fate.JOINED if self.message is None else self.message.fate
        if fate is not _Fate.DROPPED:
            self.raw += piece
        if fate is _Fate.TOO_LARGE:
            # By a multiple of the mask's length, so that it still fits.
            more = max(0, len(self.raw) - 2 * WINDOW_BYTES) & ~3
            del self.raw[WINDOW_BYTES : WINDOW_BYTES + more]

    def unmasked(self) -> bytes:
        """Return what is kept of the payload, as the peer meant it."""
        return unmask(bytes(self.raw), self._mask)


class Assembly:
    """Follows one direction of a WebSocket, of which a text may have `max_bytes`.

    `charge` is called with the size of each data frame that is not a whole text, as its header
    arrives, and returns whether it is within the limits, or raises EndedError. `tell` is called
    with a note that nothing in the same bytes precedes, and returns whether it was told; else the
    note goes to aiohttp.
    """

    __slots__ = (
        "_charge",
        "_frame",
        "_header",
        "_max",
        "_message",
        "_tell",
        "begun",
        "crumbs",
        "over",
    )

    def __init__(
        self, max_bytes: int, charge: Callable[[int], bool], tell: Callable[[Note], bool]
    ) -> None:
        self._max = max_bytes
        self._charge = charge
        self._tell = tell
        self._header = b""
        self._frame: _Frame | None = None
        self._message: _Message | None = None
        self.begun = 0
        """Grows as messages begin."""
        self.crumbs = 0
        """Reads that brought little and ended nothing; the caller counts them."""
        self.over = False
        """True once the connection ends for what came; what follows is dropped."""

    @property
    def partial(self) -> bool:
        """True while a frame, or a message of several frames, has begun and not ended."""
        return self._message is not None or self._frame is not None or bool(self._header)

    @property
    def remaining(self) -> int:
        """Bytes that are still to come of the frame that has begun, after its header."""
        return self._frame.remaining if self._frame is not None else 0

    @property
    def held(self) -> int:
        """Bytes that are kept of what has not ended."""
        frame, message = self._frame, self._message
        return (len(frame.raw) if frame else 0) + (len(message.joined) if message else 0)

    def feed(self, data: bytes) -> bytes:
        """Take bytes that came in, and return whole frames for aiohttp.

        Raises AbuseError when the connection is to be closed for it.
        """
        found: list[bytes] = []
        at = 0
        try:
            while at < len(data) and not self.over:
                end = at if self._frame or self._header else self._run(data, at)
                if end > at:
                    found.append(data[at:end])
                    at = end
                else:
                    at = self._step(data, at, found)
        except _BreachError as breach:
            found.append(self._give_up(breach.poison))
        except EndedError:
            self._give_up(b"")
        return b"".join(found)

    def refuse(self) -> bytes:
        """Drop what is held and what follows; return what has aiohttp close with 1009."""
        return self._give_up(_TOO_BIG)

    def _give_up(self, poison: bytes) -> bytes:
        self.over = True
        self._header, self._frame, self._message = b"", None, None
        return poison

    def _run(self, data: bytes, at: int) -> int:
        """Return where the whole short frames end that begin here and go to aiohttp as they are."""
        firsts = _ALONE if self._message is None else _BETWEEN_FRAGMENTS
        begin, last, most = at, len(data) - 6, self._max
        while at <= last and data[at] in firsts:
            short = data[at + 1]
            if _MASKED <= short < _MASKED + 126:
                end = at + 6 + short - _MASKED
            elif short == _MASKED + 126:
                end = at + 8 + (data[at + 2] << 8 | data[at + 3])
            else:
                break
            if end > last + 6 or end - at > most:
                break
            at = end
        if at > begin and self._message is None:
            self.begun += 1
        return at

    def _step(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Take the header or more of one frame, and return where what follows begins."""
        frame = self._frame
        if frame is None:
            at, header = self._read_header(data, at)
            if header is None:
                return at
            frame = self._frame = _Frame(header)
            note = self._judge(frame)
            if note is not None and (any(found) or not self._tell(note)):
                found.append(noted(note))
        end = min(len(data), at + frame.remaining)
        frame.take(data[at:end])
        if not frame.remaining:
            self._frame = None
            found.append(self._ended(frame))
        return end

    def _read_header(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Return where the payload begins, and the header, None if it is not complete."""
        kept = len(self._header)
        header = self._header + data[at : at + 14 - kept]
        length = header_length(header)
        if length > len(header):
            self._header = header
            return len(data), None
        self._header = b""
        return at + length - kept, header[:length]

    def _judge(self, frame: _Frame) -> Note | None:
        """Decide what becomes of a frame; return the note that tells, if its message is dropped."""
        message = self._message
        if frame.opcode & _CONTROL:
            if not frame.final or frame.length > _LONGEST_CONTROL:
                raise _BreachError(_PROTOCOL_ERROR)
            return None
        if (frame.opcode == _CONTINUATION) is (message is None):
            raise _BreachError(_PROTOCOL_ERROR)
        if message is None:
            self.begun += 1
            text = frame.opcode == OPCODE_TEXT
            if text and frame.final and frame.length <= self._max:
                return None
            message = self._message = _Message(text=text)
        frame.message = message
        return self._admit(message, frame)

    def _admit(self, message: _Message, frame: _Frame) -> Note | None:
        """Charge a frame of a message; return the note that tells, if that is dropped for it."""
        message.fragments += 1
        message.received += frame.length
        if message.received > self._max * (LARGEST if message.text else 1):
            raise _BreachError(_TOO_BIG)
        paid = self._charge(len(frame.header) + frame.length)
        too_many = message.fragments > message.allowed_fragments
        if message.fate is _Fate.DROPPED:
            if too_many and message.fragments > ABUSIVE_FRAGMENTS:
                raise AbuseError
            return None
        if too_many:
            return self._drop(message, _FRAGMENTED)
        if message.text and message.received > self._max:
            message.fate = _Fate.TOO_LARGE
            return None
        if not paid:
            return self._drop(message, RATE_LIMITED)
        return None if message.text else self._drop(message, _BINARY)

    @staticmethod
    def _drop(message: _Message, note: Note) -> Note | None:
        """Keep no more of the message; return the note that tells, with the id if that has come."""
        if message.text:
            note = note._replace(id=type_and_id_in(bytes(message.joined))[1])
        message.fate = _Fate.DROPPED
        message.joined.clear()
        return note

    def _ended(self, frame: _Frame) -> bytes:
        """Return what a frame that is complete has for aiohttp."""
        message = frame.message
        if message is None:
            return frame.header + bytes(frame.raw)
        message.add(frame.unmasked())
        if not frame.final:
            return b""
        self._message = None
        match message.fate:
            case _Fate.JOINED:
                return PAID + masked_frame(bytes(message.joined), OPCODE_TEXT)
            case _Fate.TOO_LARGE:
                return noted(self._too_large(bytes(message.joined)))
            case _Fate.DROPPED:
                return b""

    def _too_large(self, ends: bytes) -> Note:
        return Note(
            "too_large", f"a message may have {self._max} bytes", *type_and_id_in(ends, ends)
        )
