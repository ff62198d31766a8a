"""Frames seen from their headers, however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import masked

from app.protocol.frames import FrameMeter


def fed(*pieces: bytes) -> FrameMeter:
    meter = FrameMeter()
    for piece in pieces:
        meter.feed(piece)
    return meter


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_whole_frame_leaves_nothing_open(size: int) -> None:
    assert not fed(masked(b"x" * size)).partial


@pytest.mark.parametrize("size", [0, 5, 200, 70_000])
def test_a_frame_without_its_last_byte_is_partial(size: int) -> None:
    data = masked(b"x" * size)
    assert fed(data[:-1]).partial
    assert not fed(data[:-1], data[-1:]).partial


def test_a_message_of_fragments_is_partial_until_the_last_one() -> None:
    meter = fed(masked(b"a", fin=False))
    assert meter.partial
    meter.feed(masked(b"", opcode=0, fin=False))
    assert (meter.partial, meter.fragments, meter.begun) == (True, 2, 1)
    meter.feed(masked(b"b", opcode=0))
    assert (meter.partial, meter.fragments) == (False, 0)


def test_a_ping_between_fragments_ends_nothing_and_counts_for_nothing() -> None:
    meter = fed(masked(b"a", fin=False), masked(b"", opcode=9))
    assert (meter.partial, meter.fragments, meter.begun) == (True, 1, 1)


def test_the_next_message_in_the_same_bytes_has_begun_anew() -> None:
    meter = fed(masked(b"abc")[:-1])
    meter.feed(b"c" + masked(b"def")[:-1])
    assert (meter.partial, meter.begun) == (True, 2)


@pytest.mark.parametrize("rest", [b"", b"more"])
def test_a_frame_without_a_mask_is_noticed(rest: bytes) -> None:
    assert fed(b"\x81\x03abc" + rest).unmasked
    assert fed(b"\x81", b"\x09abcdefgh").unmasked
    assert not fed(masked(b"abc")).unmasked


frames = st.lists(
    st.tuples(st.binary(max_size=300), st.sampled_from([1, 2, 9, 10])), min_size=1, max_size=6
)


@given(frames, st.lists(st.integers(0, 2000)))
def test_how_the_bytes_are_cut_makes_no_difference(messages, cuts) -> None:
    data = b"".join(masked(payload[:125] if op > 8 else payload, op) for payload, op in messages)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    meter = FrameMeter()
    for start, end in pairwise(edges):
        meter.feed(data[start:end])
    assert not meter.partial
    assert not meter.unmasked
    assert meter.fragments == 0
