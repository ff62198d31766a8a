"""Frames have the bytes that RFC 6455 says, at every boundary of their lengths."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocol import frames
from app.protocol.frames import (
    frame,
    header_length,
    is_one_frame,
    masked_frame,
    text_of,
    unmask,
    wire_size,
)

MASK = b"\x01\xfe\x80\x7f"
SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 70_000)


def header(size: int, first: int, masked: int = 0) -> bytes:
    """Return a header as section 5.2 has it."""
    if size < 126:
        return bytes((first, masked | size))
    if size <= 0xFFFF:
        return struct.pack(">BBH", first, masked | 126, size)
    return struct.pack(">BBQ", first, masked | 127, size)


def masked(payload: bytes, first: int = 0x81) -> bytes:
    """Return a frame as a peer sends it, masked byte by byte (section 5.3)."""
    body = bytes(one ^ MASK[at % 4] for at, one in enumerate(payload))
    return header(len(payload), first, 0x80) + MASK + body


def test_the_opcodes_are_those_of_the_standard() -> None:
    # Section 5.2; the first bytes have the bit FIN.
    assert (frames.OPCODE_TEXT, frames.OPCODE_BINARY) == (1, 2)
    assert (frames.OPCODE_PING, frames.OPCODE_PONG) == (9, 10)
    assert (frames.TEXT_FRAME, frames.BINARY_FRAME, frames.CLOSE_FRAME) == (0x81, 0x82, 0x88)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [1, 2, 8, 9, 10, 15])
def test_a_frame_is_its_header_and_its_payload(size: int, opcode: int) -> None:
    payload = b"x" * size
    assert frame(payload, opcode) == header(size, 0x80 | opcode) + payload
    assert masked_frame(payload, opcode) == (header(size, 0x80 | opcode, 0x80) + bytes(4) + payload)


def test_a_frame_is_text_unless_it_says_otherwise() -> None:
    assert frame(b"{}") == b"\x81\x02{}"


@pytest.mark.parametrize("size", SIZES)
def test_the_size_on_the_wire_counts_header_and_mask(size: int) -> None:
    assert wire_size(size) == len(masked(b"x" * size))


@pytest.mark.parametrize("size", SIZES)
def test_the_length_of_a_header_is_known_from_its_first_two_bytes(size: int) -> None:
    assert header_length(masked(b"x" * size)[:2]) == wire_size(size) - size
    assert header_length(frame(b"x" * size)[:2]) == len(frame(b"x" * size)) - size


@pytest.mark.parametrize("begun", [b"", b"\x81"])
def test_of_less_than_two_bytes_more_is_wanted(begun: bytes) -> None:
    assert header_length(begun) > len(begun)


@given(st.binary(max_size=300))
def test_unmasking_undoes_the_mask(payload: bytes) -> None:
    assert unmask(masked(payload)[-len(payload) :] if payload else b"", MASK) == payload


@pytest.mark.parametrize("size", [size for size in SIZES if size < 65_536])
def test_the_text_of_a_whole_frame_is_read_at_every_length(size: int) -> None:
    data = masked(b"y" * size)
    assert text_of(data) == "y" * size
    assert is_one_frame(data)


@pytest.mark.parametrize("payload", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
def test_what_is_not_utf8_has_no_text(payload: bytes) -> None:
    assert text_of(masked(payload)) is None


@pytest.mark.parametrize(
    "data",
    [
        masked(b"ab")[:-1],
        masked(b"ab") + b"\x81",
        masked(b"x" * 126)[:-1],
        masked(b"x" * 126) + b"x",
        masked(b"x" * 70_000),
        # The first fragment of a message, the last one, and a frame without a mask.
        masked(b"ab", 0x01),
        masked(b"ab", 0x80),
        frame(b"abcdef"),
        masked(b"")[:5],
        b"",
    ],
    ids=[
        *("short", "and more", "long but short", "long and more", "too long"),
        *("not final", "continued", "unmasked", "half a mask", "nothing"),
    ],
)
def test_anything_else_is_not_one_frame(data: bytes) -> None:
    assert not is_one_frame(data)


def test_a_frame_without_a_payload_is_one_frame() -> None:
    assert is_one_frame(masked(b""))
    assert is_one_frame(masked(b"", 0x89))
