"""What arrives on a socket, seen as frames: is a message unfinished, and in how many pieces.

aiohttp shows whole messages only, so a message dribbled byte by byte, or one of endless empty
fragments, would be invisible. This follows the frame headers (RFC 6455, section 5.2) beside it and
keeps no payload.
"""

from typing import Final

OPCODE_TEXT: Final = 0x1
OPCODE_PING: Final = 0x9
OPCODE_PONG: Final = 0xA

_SHORT: Final = [[bytes((0x80 | opcode, size)) for size in range(126)] for opcode in range(16)]
"""Headers of frames without a mask, by opcode and size of the payload."""

TEXT_FRAME: Final = 0x81
"""The first byte of a whole text message, without extensions."""

_FIN: Final = 0x80
_CONTROL: Final = 0x08
_MASKED: Final = 0x80


def frame(payload: bytes, opcode: int = OPCODE_TEXT) -> bytes:
    """Return one final, unmasked frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return _SHORT[opcode][size] + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def text_of(data: bytes) -> str | None:
    """Return the text of one whole masked frame of up to 64 KiB; None if it is not UTF-8.

    All bytes are unmasked at once, as two large numbers (RFC 6455, section 5.3).
    """
    at = 2 if data[1] & 0x7F < 126 else 4
    masked = data[at + 4 :]
    size = len(masked)
    mask = (data[at : at + 4] * (size // 4 + 1))[:size]
    number = int.from_bytes(masked, "little") ^ int.from_bytes(mask, "little")
    try:
        return number.to_bytes(size, "little").decode()
    except UnicodeDecodeError:
        return None


def is_one_frame(data: bytes) -> bool:
    """Tell whether the bytes are exactly one final, masked frame of up to 64 KiB, as nearly always.

    Nothing of a message is unfinished before or after it.
    """
    size = len(data)
    if size < 6 or data[0] <= _FIN:
        # Not final, or the rest of a message.
        return False
    short = data[1]
    if short < _MASKED + 126:
        return short == _MASKED + size - 6
    return short == _MASKED + 126 and int.from_bytes(data[2:4], "big") == size - 8


class FrameMeter:
    """Follows one direction of a WebSocket; errors of the protocol are left to aiohttp."""

    __slots__ = ("_header", "_open", "_remaining", "begun", "fragments", "unmasked")

    def __init__(self) -> None:
        self._header = b""
        self._remaining = 0
        self._open = False
        self.begun = 0
        self.fragments = 0
        self.unmasked = False

    @property
    def partial(self) -> bool:
        """True while a frame or a message of several frames has begun and not ended."""
        return self._open or self._remaining > 0 or bool(self._header)

    def feed(self, data: bytes) -> None:
        """Take the bytes that came in; `partial` and `fragments` are true of all so far.

        `begun` counts messages that did not come whole in one piece, `fragments` the data frames
        of the unfinished message; `unmasked` is set by the
        first frame without a mask, which a server must not accept (section 5.1).
        """
        if self.partial or not is_one_frame(data):
            self._walk(data)

    def _walk(self, data: bytes) -> None:
        at = 0
        size = len(data)
        while at < size:
            if self._remaining:
                step = min(self._remaining, size - at)
                self._remaining -= step
                at += step
                continue
            # A header is up to 14 bytes; what is kept of it came in earlier pieces.
            kept = len(self._header)
            header = self._header + data[at : at + 14 - kept]
            length = _header_length(header)
            if length > len(header):
                self._header = header
                return
            self._header = b""
            at += length - kept
            self._begin(header)

    def _begin(self, header: bytes) -> None:
        if not header[1] & _MASKED:
            self.unmasked = True
        short = header[1] & 0x7F
        if short < 126:
            self._remaining = short
        else:
            self._remaining = int.from_bytes(header[2 : 4 if short == 126 else 10], "big")
        if header[0] & _CONTROL:
            return
        if not self._open:
            self.begun += 1
        if header[0] & _FIN:
            self._open = False
            self.fragments = 0
        else:
            self._open = True
            self.fragments += 1


def _header_length(header: bytes) -> int:
    """Return how long the header is, or more than there is when that is not known yet."""
    if len(header) < 2:
        return 2
    short = header[1] & 0x7F
    extended = 0 if short < 126 else 2 if short == 126 else 8
    return 2 + extended + (4 if header[1] & _MASKED else 0)
