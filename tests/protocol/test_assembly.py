"""What a peer sends in pieces, however the bytes are cut, becomes whole messages or is dropped."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import masked

from app.protocol.assembly import AbuseError, Assembly, EndedError
from app.protocol.notes import Note, note_in

MOST = 300
"""Bytes of a text in these tests."""

Found = list[tuple[int, Any]]

TOO_BIG = b"\x82\xff" + (1 << 62).to_bytes(8, "big")
"""A frame that claims to be that long, which aiohttp closes for."""

SAYS_TOO_LARGE = f"a message may have {MOST} bytes"


def free(size: int) -> bool:
    return True


def nobody(note: Note) -> bool:
    """Tell nothing, so that each note is among the frames."""
    return False


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


def fed(
    parts: Sequence[bytes], charge: Callable[[int], bool] = free, most: int = MOST
) -> tuple[Assembly, bytes]:
    assembly = Assembly(most, charge, nobody)
    return assembly, b"".join([assembly.feed(part) for part in parts])


def read(data: bytes) -> Found:
    """Return what aiohttp would: opcode and payload of whole frames, notes read."""
    found: Found = []
    while data:
        assert data[0] & 0x80, "a fragment"
        assert data[1] & 0x80, "no mask"
        short, at = data[1] & 0x7F, 2
        if short > 125:
            at = 4 if short == 126 else 10
            short = int.from_bytes(data[2:at], "big")
        mask, payload = data[at : at + 4], data[at + 4 : at + 4 + short]
        assert len(payload) == short, "half a frame"
        plain = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        opcode = data[0] & 0x7F
        found.append((opcode, note_in(plain) if opcode == 2 else plain))
        data = data[at + 4 + short :]
    return found


def hidden(payload: bytes, opcode: int = 1, *, fin: bool = True, mask: bytes = b"mask") -> bytes:
    """Return a frame with a mask that is not all zeros."""
    plain = masked(payload, opcode, fin)
    head = plain[: len(plain) - len(payload) - 4]
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def fragments(*payloads: bytes, opcode: int = 1) -> bytes:
    last = len(payloads) - 1
    return b"".join(
        masked(payload, 0 if number else opcode, fin=number == last)
        for number, payload in enumerate(payloads)
    )


# What is whole


@pytest.mark.parametrize("size", [0, 1, 125, 126, MOST])
def test_a_text_in_one_frame_passes_as_it_is(size: int) -> None:
    frame = masked(b"x" * size)
    assembly, out = fed([frame[:1], frame[1:4], frame[4:]])
    assert (out, assembly.partial, assembly.held) == (frame, False, 0)


def test_a_text_in_fragments_is_joined_behind_a_note_that_it_is_paid_for() -> None:
    paid: list[int] = []
    _, out = fed([fragments(b"ab", b"", b"c" * 200)], lambda size: not paid.append(size))
    assert read(out) == [(2, None), (1, b"ab" + b"c" * 200)]
    # Header and payload of each frame.
    assert paid == [8, 6, 208]


def test_control_frames_between_fragments_pass_before_the_message_ends() -> None:
    _, out = fed([masked(b"a", fin=False), masked(b"now", opcode=9), masked(b"b", opcode=0)])
    assert read(out) == [(9, b"now"), (2, None), (1, b"ab")]


def test_whole_frames_are_charged_by_nobody_here() -> None:
    def charge(size: int) -> bool:
        raise AssertionError("charged")

    data = masked(b"a") + masked(b"", opcode=9) + masked(b"b" * 200)
    assert fed([data[:5], data[5:20], data[20:]], charge)[1] == data


# What has not ended


@pytest.mark.parametrize("size", [0, 5, 200])
def test_a_frame_without_its_last_byte_is_partial_and_is_held(size: int) -> None:
    data = masked(b"x" * size)
    assembly, out = fed([data[:-1]])
    assert (assembly.partial, out) == (True, b"")
    assert assembly.held <= size
    assert (assembly.feed(data[-1:]), assembly.partial) == (data, False)


def test_a_message_of_fragments_is_partial_until_the_last_one() -> None:
    assembly, _ = fed([masked(b"abc", fin=False), masked(b"", opcode=0, fin=False)])
    assert (assembly.partial, assembly.held, assembly.begun) == (True, 3, 1)
    assembly.feed(masked(b"b", opcode=0))
    assert (assembly.partial, assembly.held) == (False, 0)


def test_a_ping_between_fragments_begins_nothing() -> None:
    assembly, _ = fed([masked(b"a", fin=False), masked(b"", opcode=9)])
    assert (assembly.partial, assembly.begun) == (True, 1)


def test_the_next_message_in_the_same_bytes_has_begun_anew() -> None:
    assembly, _ = fed([masked(b"abc")[:-1], b"c" + masked(b"def")[:-1]])
    assert (assembly.partial, assembly.begun) == (True, 2)


# What is dropped


def dropped(code: str, **more: str | None) -> tuple[int, Any]:
    told = {
        "too_large": SAYS_TOO_LARGE,
        "rate_limited": "too many messages; this one is dropped",
        "invalid_message": "the message has too many fragments for its size",
    }
    return (2, Note(code, told[code], **more))


def test_a_text_above_the_limit_is_dropped_and_its_type_and_id_are_told() -> None:
    for text in (
        b'{"type":"a.b","id":"7","payload":"%b"}' % (b"x" * MOST),
        b'{"payload":"%b","id":"7","type":"a.b"}' % (b"x" * MOST),
    ):
        for data in (masked(text), fragments(text[:200], text[200:])):
            assembly, out = fed([data])
            assert read(out) == [dropped("too_large", type="a.b", id="7")]
            assert not assembly.partial


def test_only_the_ends_of_a_long_text_are_held() -> None:
    most = 100_000
    text = b'{"type":"a.b","payload":"%b","id":"7"}' % (b"x" * 3 * most)
    half = len(text) // 2
    for data in (
        hidden(text),
        hidden(text[:half], fin=False) + hidden(text[half:], 0, mask=b"\0\1\2\3"),
        hidden(text[:-2], fin=False) + hidden(text[-2:], 0),
    ):
        assembly = Assembly(most, free, nobody)
        for begin in range(0, len(data), 4_999):
            out = assembly.feed(data[begin : begin + 4_999])
            assert assembly.held < 20_000
        [(_, note)] = read(out)
        assert (note.code, note.type, note.id) == ("too_large", "a.b", "7")


def test_nothing_is_held_of_a_message_that_is_dropped() -> None:
    refuse = charging({2})
    assembly, _ = fed([masked(b"abc", fin=False)], refuse)
    assert assembly.held == 3
    assembly.feed(masked(b"def" * 50, opcode=0, fin=False)[:-1])
    assert (assembly.partial, assembly.held) == (True, 0)


def test_a_text_of_four_times_the_limit_is_dropped_and_one_byte_more_closes_with_1009() -> None:
    largest = b"x" * 4 * MOST
    for data in (masked(largest), fragments(largest[:-1], b"x")):
        assert read(fed([data])[1]) == [dropped("too_large")]
    for data in (masked(largest + b"x"), fragments(largest, b"x")):
        assembly, out = fed([data, masked(b"more")])
        assert out == TOO_BIG
        assert (assembly.over, assembly.held, assembly.partial) == (True, 0, False)


@pytest.mark.parametrize("bytes_", [b"", b"x" * MOST])
def test_a_binary_message_is_invalid_whatever_is_in_it(bytes_: bytes) -> None:
    note = (2, Note("invalid_message", "messages are text frames"))
    for data in (masked(bytes_, opcode=2), fragments(b"", bytes_, opcode=2)):
        assert read(fed([data])[1]) == [note]


def test_a_binary_message_above_the_limit_closes_with_1009() -> None:
    assembly, _ = fed([masked(b"x" * (MOST + 1), opcode=2)])
    assert assembly.over


def test_a_message_of_too_many_fragments_for_its_size_is_dropped_once() -> None:
    id_ = b'{"id":"7",'
    assembly, out = fed([fragments(id_, *[b""] * 63)])
    assert read(out) == [(2, None), (1, id_)]
    assembly, out = fed([fragments(id_, *[b""] * 500)])
    assert read(out) == [dropped("invalid_message", id="7")]
    assert (assembly.partial, assembly.held) == (False, 0)


def test_a_long_message_may_have_more_fragments() -> None:
    many = [b"x" * 256] * 300
    assembly, out = fed([fragments(*many)], most=100_000)
    assert [opcode for opcode, _ in read(out)] == [2, 1]
    assembly, out = fed([fragments(*many, *[b""] * 2)], most=100_000)
    assert [note.code for _, note in read(out)] == ["invalid_message"]
    assert not assembly.partial


def test_a_bucket_that_is_empty_in_the_middle_drops_the_message_with_one_answer() -> None:
    left = [True, True, False, False, True]
    data = fragments(b'{"id":"7",', b"a", b"b", b"c", b"d") + masked(b"next")
    assert read(fed([data], lambda size: left.pop(0))[1]) == [
        dropped("rate_limited", id="7"),
        (1, b"next"),
    ]
    assert left == []


def test_size_is_judged_before_rate() -> None:
    text = b'{"id":"7","payload":"%b"}' % (b"x" * MOST)
    assert read(fed([masked(text)], lambda size: False)[1]) == [dropped("too_large", id="7")]


def test_a_dropped_message_that_goes_on_in_small_fragments_is_abuse() -> None:
    assembly = Assembly(MOST, free, nobody)
    assembly.feed(masked(b"", fin=False) + masked(b"", opcode=0, fin=False) * 1023)
    with pytest.raises(AbuseError):
        assembly.feed(masked(b"", opcode=0, fin=False))


def test_what_follows_the_end_of_the_connection_is_neither_read_nor_charged() -> None:
    charged: list[int] = []

    def charge(size: int) -> bool:
        charged.append(size)
        if len(charged) == 3:
            raise EndedError
        return True

    assembly, out = fed([masked(b"a") + fragments(*[b"b"] * 9), fragments(b"c", b"d")], charge)
    assert (out, len(charged)) == (masked(b"a"), 3)
    assert (assembly.over, assembly.held, assembly.partial) == (True, 0, False)


def test_a_note_is_told_at_once_unless_something_comes_before_it() -> None:
    told: list[Note] = []
    assembly = Assembly(MOST, free, lambda note: not told.append(note))
    assert assembly.feed(masked(b"", opcode=2)) == b""
    assert [note.code for note in told] == ["invalid_message"]
    found = read(assembly.feed(masked(b"", opcode=9) + masked(b"", opcode=2)))
    assert [opcode for opcode, _ in found] == [9, 2]
    assert len(told) == 1


# What breaks the protocol


@pytest.mark.parametrize("rest", [b"", b"more"])
def test_a_frame_without_a_mask_is_abuse(rest: bytes) -> None:
    for parts in ([b"\x81\x03abc" + rest], [b"\x81", b"\x09abcdefgh"]):
        with pytest.raises(AbuseError):
            fed(parts)


BREACHES = {
    "reserved bits": b"\xf1\x80\0\0\0\0",
    "an extension": b"\xc1\x80\0\0\0\0",
    "a reserved opcode": masked(b"", opcode=3),
    "a reserved control opcode": masked(b"", opcode=11),
    "a long ping": masked(b"x" * 126, opcode=9),
    "a ping in fragments": masked(b"", opcode=9, fin=False),
    "a continuation of nothing": masked(b"", opcode=0),
    "a message within another": masked(b"", fin=False) + masked(b"x"),
    "a binary message within another": masked(b"", fin=False) + masked(b"x", opcode=2, fin=False),
    "more of what has ended": fragments(b"a", b"b") + masked(b"c", opcode=0),
}


@pytest.mark.parametrize("data", BREACHES.values(), ids=BREACHES)
def test_a_breach_has_aiohttp_close_with_1002_and_nothing_after_it_counts(data: bytes) -> None:
    assembly, out = fed([data[:1], data[1:], masked(b"more")])
    assert out.endswith(b"\xf0\x80") or out == data
    assert b"more" not in out
    assert (assembly.over, assembly.held) == (True, 0)


# Any cuts


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames of messages that keep to the protocol, with control frames before any of them."""
    data = b""
    for _ in range(draw(st.integers(1, 5))):
        opcode = draw(st.sampled_from([1, 1, 1, 2]))
        payloads = draw(st.lists(st.binary(max_size=MOST), min_size=1, max_size=5))
        for number, payload in enumerate(payloads):
            if draw(st.booleans()):
                data += hidden(b"ping", 9)
            last = number == len(payloads) - 1
            mask = draw(st.binary(min_size=4, max_size=4))
            data += hidden(payload, 0 if number else opcode, fin=last, mask=mask)
    return data


CUTS = st.lists(st.integers(0, 3000))


def charging(refused: set[int]) -> Callable[[int], bool]:
    """Return a charge that refuses the frames of these numbers."""
    count = [0]

    def charge(size: int) -> bool:
        count[0] += 1
        return count[0] not in refused

    return charge


@given(frames(), CUTS, st.sets(st.integers(1, 20), max_size=3))
def test_how_the_bytes_are_cut_makes_no_difference(
    data: bytes, cuts: list[int], refused: set[int]
) -> None:
    uncut, whole = fed([data], charging(refused))
    cut, joined = fed(pieces(data, cuts), charging(refused))
    assert joined == whole
    assert (cut.over, cut.partial, cut.held) == (uncut.over, False, 0)


@given(st.lists(st.lists(st.binary(max_size=60), min_size=1, max_size=4)), CUTS)
def test_fragments_are_the_same_messages_as_without(
    messages: list[list[bytes]], cuts: list[int]
) -> None:
    whole = b"".join(masked(b"".join(parts)) for parts in messages)
    cut = pieces(b"".join(fragments(*parts) for parts in messages), cuts)
    texts = [one for one in read(fed(cut)[1]) if one[0] == 1]
    assert texts == read(fed([whole])[1])


@given(st.lists(st.one_of(frames(), st.binary(max_size=40), st.sampled_from([*BREACHES.values()]))))
def test_no_binary_frame_of_a_peer_passes(parts: list[bytes]) -> None:
    assembly = Assembly(MOST, free, nobody)
    out = b""
    try:
        for part in parts:
            out += assembly.feed(part)
    except AbuseError:
        pass
    if assembly.over:
        out = out.removesuffix(b"\xf0\x80").removesuffix(b"\x82\xff" + (1 << 62).to_bytes(8, "big"))
    before = None
    for opcode, payload in read(out):
        assert before != (2, None) or opcode == 1
        assert opcode != 2 or payload is None or payload.code in {"invalid_message", "too_large"}
        before = (opcode, payload)
