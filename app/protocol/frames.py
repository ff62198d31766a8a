"""Frames as they are on the wire (RFC 6455, section 5.2): made, recognised, unmasked."""

from typing import Final

OPCODE_TEXT: Final = 0x1
OPCODE_BINARY: Final = 0x2
OPCODE_PING: Final = 0x9
OPCODE_PONG: Final = 0xA

_SHORT: Final = [[bytes((0x80 | opcode, size)) for size in range(126)] for opcode in range(16)]
"""Headers of frames without a mask, by opcode and size of the payload."""

TEXT_FRAME: Final = 0x81
"""The first byte of a whole text message, without extensions."""

BINARY_FRAME: Final = 0x82
"""The first byte of a whole binary message, without extensions."""

CLOSE_FRAME: Final = 0x88
"""The first byte of a close frame."""

_FIN: Final = 0x80
_MASKED: Final = 0x80


def frame(payload: bytes, opcode: int = OPCODE_TEXT) -> bytes:
    """Return one final, unmasked frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return _SHORT[opcode][size] + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


def opcode_of(frame: bytes) -> int:
    """Return the opcode of one frame."""
    return frame[0] & 0x0F


def payload_of(frame: bytes) -> bytes:
    """Return the payload of one whole frame without a mask, as `frame` makes it."""
    size = frame[1]
    return frame[2 if size < 126 else 4 if size == 126 else 10 :]


def masked_frame(payload: bytes, opcode: int) -> bytes:
    """Return one final frame as a client sends it, with a mask of zeros, which changes nothing."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, _MASKED | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Return the payload of a frame without its mask, all at once (RFC 6455, section 5.3)."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return number.to_bytes(size, "little")


def wire_size(size: int) -> int:
    """Return how many bytes a peer's frame with a payload of `size` bytes has on the wire."""
    return size + (6 if size < 126 else 8 if size < 65_536 else 14)


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


def header_length(header: bytes) -> int:
    """Return how long the header is, or more than there is when that is not known yet."""
    if len(header) < 2:
        return 2
    short = header[1] & 0x7F
    extended = 0 if short < 126 else 2 if short == 126 else 8
    return 2 + extended + (4 if header[1] & _MASKED else 0)
