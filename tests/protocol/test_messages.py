"""The wire format."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocol import messages
from app.protocol.frames import frame, text_of
from app.protocol.messages import (
    STEP_LENGTH,
    ClientMessage,
    Connected,
    MessageError,
    Resume,
    ServerMessage,
    Source,
    decode,
    encode,
    feature_of,
    has_wide_integer,
    is_type,
    wide_integers,
)


def as_json(message: ServerMessage) -> dict[str, object]:
    record = json.loads(encode(message))
    assert isinstance(record, dict)
    return record


def test_the_names_that_are_the_servers_own_are_fixed() -> None:
    # Clients of ours and of others, and applications, count on them.
    system = {"connected", "position", "ping", "pong", "ok", "ack", "error", "goaway"}
    assert system == messages.SYSTEM_TYPES
    assert system | {"device", "presence", "token"} == messages.SERVER_PREFIXES
    assert {"sync", "playback", "notification"} == messages.RESERVED_PREFIXES
    assert (messages.MAX_TYPE_LENGTH, messages.MAX_ID_LENGTH) == (128, 64)


def test_a_message_without_payload_is_sent_with_null() -> None:
    assert as_json(ServerMessage("note.text")) == {"type": "note.text", "payload": None}


def test_optional_keys_are_left_out_and_never_null() -> None:
    assert set(as_json(messages.pong())) == {"type", "payload"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (messages.ping(), {"type": "ping", "payload": None}),
        (messages.pong("7"), {"type": "pong", "payload": None, "reply_to": "7"}),
        (messages.ok("7", [3]), {"type": "ok", "payload": {"delivered": [3]}, "reply_to": "7"}),
        (
            messages.error("parse_error", "no", "7"),
            {"type": "error", "payload": {"code": "parse_error", "message": "no"}, "reply_to": "7"},
        ),
        (
            messages.goaway("replaced", reconnect=False, after_ms=0),
            {
                "type": "goaway",
                "payload": {"reason": "replaced", "reconnect": False, "after_ms": 0},
            },
        ),
        (
            ServerMessage("note.text", 1, source=Source(4, "tab")),
            {"type": "note.text", "payload": 1, "from": {"device_id": 4, "instance": "tab"}},
        ),
    ],
    ids=lambda value: value.type if isinstance(value, ServerMessage) else "",
)
def test_system_messages_look_as_specified(
    message: ServerMessage, expected: dict[str, object]
) -> None:
    assert as_json(message) == expected


def test_connected_has_whole_numbers_and_every_key() -> None:
    payload = Connected(1, "0.1.0", 2, "c1", "default", 25, 65536, Resume("live", "e", 0, 0))
    text = encode(messages.connected(payload)).decode()
    assert json.loads(text)["type"] == "connected"
    assert json.loads(text)["payload"] == {
        "device_id": 1,
        "server_version": "0.1.0",
        "user_id": 2,
        "connection_id": "c1",
        "instance": "default",
        "heartbeat_seconds": 25,
        "max_message_bytes": 65536,
        "resume": {"outcome": "live", "epoch": "e", "offset": 0, "head": 0},
    }
    assert ".0," not in text


def test_the_frame_of_a_message_is_built_once() -> None:
    message = ServerMessage("note.text", [1])
    assert message.frame is message.frame


def test_payload_may_be_left_out_and_unknown_keys_are_ignored() -> None:
    assert decode('{"type": "ping", "colour": "red"}') == ClientMessage("ping")


def test_null_payload_is_a_payload_left_out() -> None:
    assert decode('{"type": "a.b", "payload": null}').payload is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "nul", '{"type": "a", }', '{"type": NaN}', '"\\ud800"', "[" * 2000, "{}{}"],
)
def test_what_is_not_json_is_a_parse_error(text: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode(text)
    assert caught.value.code == "parse_error"


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        '"ping"',
        "{}",
        '{"type": 1}',
        '{"type": ""}',
        '{"type": "Ping"}',
        '{"type": "a..b"}',
        '{"type": ".a"}',
        '{"type": "a."}',
        '{"type": "a b"}',
        '{"type": "a\\n"}',
        '{"type": "' + "a" * 129 + '"}',
        '{"type": "ping", "id": 1}',
        '{"type": "ping", "id": ""}',
        '{"type": "ping", "id": "' + "x" * 65 + '"}',
    ],
)
def test_what_is_no_message_is_invalid(text: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode(text)
    assert caught.value.code == "invalid_message"


def test_a_refused_message_keeps_its_id() -> None:
    with pytest.raises(MessageError) as caught:
        decode('{"id": "7", "type": 5}')
    assert caught.value.reply_to == "7"


@pytest.mark.parametrize(
    "number", ["18446744073709551616", "-9223372036854775809", "1" + "0" * 5000]
)
def test_an_integer_that_a_relay_would_change_is_refused(number: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode(f'{{"type": "a.b", "payload": [{number}], "id": "7"}}')
    assert caught.value.code in ("invalid_message", "parse_error")


@pytest.mark.parametrize("place", range(19))
def test_such_an_integer_is_seen_wherever_it_is(place: int) -> None:
    with pytest.raises(MessageError) as caught:
        decode(" " * place + '{"type": "a.b", "payload": [-9223372036854775809]}')
    assert caught.value.code == "invalid_message"


@pytest.mark.parametrize("number", ["18446744073709551615", "-9223372036854775808"])
def test_the_largest_integers_arrive_unchanged(number: str) -> None:
    assert decode(f'{{"type": "a.b", "payload": {number}}}').payload == int(number)


def test_digits_inside_a_string_are_no_integer() -> None:
    assert decode('{"type": "a.b", "payload": "99999999999999999999"}').payload == "9" * 20


@pytest.mark.parametrize("type_", ["a", "catalog_invalidation", "sync.x.y_1", "a" * 128])
def test_well_formed_types(type_: str) -> None:
    assert is_type(type_)


def test_the_feature_is_the_text_before_the_first_dot() -> None:
    assert feature_of("playback.queue.x") == "playback"
    assert feature_of("sync") == "sync"


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_frames_have_the_shortest_length_field(size: int) -> None:
    data = frame(b"x" * size)
    head = 2 if size < 126 else 4 if size < 65_536 else 10
    assert data[0] == 0x81
    assert len(data) == head + size
    assert data[1] & 0x80 == 0


payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(payloads)
def test_a_payload_is_the_same_after_decode_and_encode(payload: object) -> None:
    text = json.dumps({"type": "a.b", "payload": payload}, ensure_ascii=False)
    try:
        message = decode(text)
    except MessageError:
        # Only text that UTF-8 cannot hold is refused.
        with pytest.raises(UnicodeEncodeError):
            text.encode()
        return
    assert as_json(ServerMessage(message.type, message.payload))["payload"] == payload


@given(st.text(max_size=400), st.binary(min_size=4, max_size=4))
def test_a_masked_text_is_what_it_was(text: str, mask: bytes) -> None:
    payload = text.encode()
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    assert text_of(head + mask + masked) == text


@pytest.mark.parametrize("payload", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80"])
def test_what_is_not_utf_8_is_no_text(payload: bytes) -> None:
    assert text_of(bytes((0x81, 0x80 | len(payload))) + b"\0\0\0\0" + payload) is None


def _json_texts() -> st.SearchStrategy[str]:
    """JSON whose integers and strings are near the limits of 64 bits, and look alike."""
    edges = st.sampled_from([0, 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1])
    near = st.builds(int.__add__, edges, st.integers(-2, 2)) | st.integers(-(10**22), 10**22)
    odd = st.sampled_from(['"', "\\", ",", "[", "-", ".", "e", " ", "é", "\x00"])
    strings = st.lists(odd | near.map(str), max_size=6).map("".join)
    numbers = near | near.map(lambda one: one / 3) | st.floats(allow_nan=False)
    values = st.recursive(
        numbers | strings | st.none(),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(strings, inner, max_size=3),
        max_leaves=12,
    )
    spaced = st.sampled_from([(",", ":"), (", ", " : ")])
    return st.builds(
        lambda value, separators, plain: json.dumps(
            {"payload": value}, separators=separators, ensure_ascii=plain
        ),
        values,
        spaced,
        st.booleans(),
    )


def _integers(value: object) -> Iterator[int]:
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        yield value
    for inner in value.values() if isinstance(value, dict) else ():
        yield from _integers(inner)
    for inner in value if isinstance(value, list) else ():
        yield from _integers(inner)


@given(_json_texts(), st.integers(0, 3))
def test_an_integer_is_wide_as_arithmetic_says_wherever_it_stands(text: str, times: int) -> None:
    # Beside so much else that the search takes several steps.
    text = f'["{"1234567890" * (times * 5000)}", {text}]'
    wide = any(not -(2**63) <= one < 2**64 for one in _integers(json.loads(text)))
    assert has_wide_integer(text) is wide


def test_a_long_text_is_searched_in_steps() -> None:
    text = json.dumps(["-1234567890123456789"] * 20_000)
    assert len(list(wide_integers(text))) == len(text) // STEP_LENGTH + 1
