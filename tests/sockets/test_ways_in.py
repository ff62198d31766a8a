"""The short way of a message, past aiohttp, and the long way: no answer shows which it took."""

import json
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from serving import NO_LIMITS, Device, RawPeer, Server, masked

from app.websocket.tap import Tap

TEXTS = [
    b'{"type":"ping"}',
    b'{"type":"ping","id":"7"}',
    b'{"type":"ping","id":7}',
    b'{"type":"sync.x","id":"7"}',
    b'{"type":"unknown.x","id":"7"}',
    b'{"type":"presence.watch","id":"7"}',
    b'{"type":"ack","id":"7","payload":{"offset":99}}',
    b'{"type":"device.send","id":"7","payload":{"to":"user","type":"note.x"}}',
    b'{"type":"device.send","id":"7","payload":{"to":999,"type":"note.x"}}',
    b'{"type":"device.send","id":"7","payload":{"to":"user","type":"device.x"}}',
    b'{"type":"device.send","id":"7","payload":{"to":"others","type":"note.x","store":"log"}}',
    b'{"type":"note","payload":18446744073709551616}',
    '{"type":"ping","id":"ä€😀"}'.encode(),
    b"{",
    b"[]",
    b"",
]


async def hello(server: Server, device: Device) -> RawPeer:
    peer = await RawPeer.upgrade(server, device)
    assert json.loads((await peer.frame())[1])["type"] == "connected"
    return peer


def tap_of(server: Server) -> Tap:
    [connection] = server.manager.connections()
    wire: Any = connection.wire
    assert isinstance(wire.tap, Tap)
    return wire.tap


async def enter(server: Server, device: Device) -> tuple[RawPeer, Tap]:
    """Return a peer, and its tap once that takes the short way."""
    peer = await hello(server, device)
    tap = tap_of(server)
    await server.until(lambda: tap.prompt)
    return peer, tap


async def answers(peer: RawPeer, data: bytes) -> list[Any]:
    """Return what comes back until the answer to a ping behind the message."""
    peer.write(data)
    peer.write(masked(b'{"type":"ping","id":"last"}'))
    found: list[Any] = []
    while not found or found[-1].get("reply_to") != "last":
        found.append(json.loads((await peer.frame())[1]))
    return [without_place(one) for one in found]


def without_place(message: dict[str, Any]) -> dict[str, Any]:
    payload = message.get("payload")
    if isinstance(payload, dict):
        payload.pop("offset", None)
    return message


@pytest.mark.parametrize("text", TEXTS)
async def test_both_ways_give_the_same_answers(server: Server, phone: Device, text: bytes) -> None:
    peer = await hello(server, phone)
    tap = tap_of(server)
    seen = []
    for data in (masked(text), masked(text[:3], fin=False) + masked(text[3:], opcode=0)):
        await server.until(lambda: tap.prompt)
        seen.append(await answers(peer, data))
    assert seen[0] == seen[1]


def cut(data: bytes, random: Random) -> list[bytes]:
    """Return the bytes as some reads could bring them."""
    edges = sorted({0, len(data), *(random.randrange(len(data)) for _ in range(4))})
    return [data[start:end] for start, end in pairwise(edges)]


def in_fragments(text: bytes, random: Random) -> bytes:
    """Return the message in up to five frames, with a ping of the protocol between some."""
    parts = cut(text, random)
    data = b""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        data += masked(part, 0 if number else 1, fin=last)
        if not last and random.random() < 0.3:
            data += masked(b"between", opcode=10)
    return data


async def test_fragments_cut_anywhere_give_the_answers_of_whole_messages(serve) -> None:
    server = await serve(**NO_LIMITS)
    peer = await hello(server, await server.device())
    tap, random = tap_of(server), Random(1)
    # Without those whose answer waits for the database, which a ping may overtake.
    for text in [text for text in TEXTS if text and b"store" not in text and b"999" not in text]:
        await server.until(lambda: tap.prompt)
        whole = await answers(peer, masked(text))
        for _ in range(10):
            for part in cut(in_fragments(text, random), random):
                tap.data_received(part)
            assert await answers(peer, b"") == whole


def away(number: int) -> bytes:
    """Return a message to a device that is unknown, so that the database is asked."""
    text = '{"type":"device.send","id":"%d","payload":{"to":%d,"type":"note.x"}}'
    return masked((text % (number, 900 + number)).encode())


def ping(number: int) -> bytes:
    return masked(b'{"type":"ping","id":"%d"}' % number)


def together(message: Callable[[int], bytes]) -> bytes:
    """Return the first three messages, as one read may bring them."""
    return b"".join(map(message, range(3)))


async def replies(peer: RawPeer, count: int) -> list[str]:
    return [json.loads((await peer.frame())[1])["reply_to"] for _ in range(count)]


async def test_messages_of_one_feature_keep_their_order_and_a_ping_goes_past(
    server: Server, phone: Device
) -> None:
    peer, tap = await enter(server, phone)
    for number in range(4):
        tap.data_received(away(number))
    tap.data_received(ping(4))
    assert await replies(peer, 5) == ["4", "0", "1", "2", "3"]
    assert tap.prompt


@pytest.mark.parametrize("message", [away, ping], ids=["that waits", "that does not wait"])
async def test_what_came_together_is_answered_before_what_comes_next(
    server: Server, phone: Device, message: Callable[[int], bytes]
) -> None:
    peer, tap = await enter(server, phone)
    tap.data_received(together(message))
    tap.data_received(message(3))
    assert await replies(peer, 4) == ["0", "1", "2", "3"]


async def test_the_answer_to_a_dropped_message_overtakes_none_before_it(
    server: Server, phone: Device
) -> None:
    peer, tap = await enter(server, phone)
    tap.data_received(together(ping))
    tap.data_received(masked(b"", opcode=2))
    assert await replies(peer, 3) == ["0", "1", "2"]
    assert json.loads((await peer.frame())[1])["payload"]["code"] == "invalid_message"


async def test_the_short_way_needs_no_turn_of_the_loop(server: Server, phone: Device) -> None:
    peer, tap = await enter(server, phone)
    [connection] = server.manager.connections()
    before = connection.frames_out
    tap.data_received(masked(b'{"type":"ping"}'))
    assert connection.frames_out == before + 1
    assert json.loads((await peer.frame())[1])["type"] == "pong"


async def test_a_long_way_that_is_not_at_its_end_keeps_the_short_one_closed(
    server: Server, phone: Device
) -> None:
    peer, tap = await enter(server, phone)
    begun = masked(b'{"type":"ping",', fin=False)
    tap.data_received(begun)
    # A message in pieces may have a ping of the protocol in between, but no other message.
    tap.data_received(masked(b"x", opcode=9))
    assert await peer.frame() == (10, b"x")
    tap.data_received(masked(b'"id":"1"}', opcode=0))
    assert json.loads((await peer.frame())[1])["reply_to"] == "1"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(b"\xc3\x28"), 1007),
        (masked(b"x" * 4097), 1009),
        (masked(b"\x03\xe8", opcode=8), 1000),
        (b"\xc1" + masked(b"{}")[1:], 1002),
    ],
    ids=["not UTF-8", "too long", "close", "an extension"],
)
async def test_what_is_for_aiohttp_to_answer_it_answers(serve, data: bytes, code: int) -> None:
    server = await serve(max_message_bytes=1024)
    peer, _ = await enter(server, await server.device())
    peer.write(data)
    assert await peer.close_code() == code
