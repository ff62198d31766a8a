"""How the server answers what a peer sends, and that nothing that it sends harms the server."""

import json

import pytest
from serving import Device, RawPeer, Server, masked

from app.base.version import VERSION
from app.keys import METRICS, NODE


async def test_connected_comes_first_and_says_who_and_where(server: Server, phone: Device) -> None:
    peer = await server.open(phone)
    first = await peer.receive()
    connection = server.manager.connections()[0]
    epoch = first["payload"]["resume"]["epoch"]
    assert epoch
    life, expires_in = server.settings.session_max_days * 86_400, first["payload"]["expires_in"]
    assert life - 120 < expires_in < life
    assert first == {
        "type": "connected",
        "payload": {
            "device_id": phone.device_id,
            "server_version": VERSION,
            "user_id": phone.user_id,
            "connection_id": connection.connection_id,
            "instance": "default",
            "heartbeat_seconds": 25,
            "max_message_bytes": 65536,
            "expires_in": expires_in,
            "resume": {"outcome": "live", "epoch": epoch, "offset": 0, "head": 0},
        },
    }


async def test_numbers_in_connected_are_whole(server: Server, phone: Device) -> None:
    peer = await server.open(phone)
    text = await peer.ws.recv()
    assert ".0," not in text.replace(VERSION, "")
    assert "null" not in text


async def test_ping_is_answered(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    await peer.send("ping")
    assert await peer.receive() == {"type": "pong", "payload": None}
    assert await peer.ask("ping") == {"type": "pong", "payload": None, "reply_to": "ask"}


async def test_a_protocol_ping_gets_its_own_payload_back(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    await (await peer.ws.ping(b"thirty seconds"))


BAD_TEXTS = {
    "not json": ("{", "parse_error"),
    "empty": ("", "parse_error"),
    "nan": ('{"type":"ping","payload":NaN}', "parse_error"),
    "lone surrogate": ('{"type":"ping","payload":"\\ud800"}', "parse_error"),
    "deep": ('{"type":"ping","payload":' + "[" * 30_000 + "]" * 30_000 + "}", "parse_error"),
    "array": ("[1]", "invalid_message"),
    "type missing": ('{"payload":1}', "invalid_message"),
    "type number": ('{"type":1}', "invalid_message"),
    "type long": ('{"type":"' + "a" * 129 + '"}', "invalid_message"),
    "id number": ('{"type":"ping","id":1}', "invalid_message"),
    "huge number": ('{"type":"sync.x","payload":1' + "0" * 40 + "}", "invalid_message"),
    "float overflow": ('{"type":"sync.x","payload":1e999}', "parse_error"),
    "unknown": ('{"type":"nonsense.x"}', "unknown_type"),
    "servers own": ('{"type":"connected"}', "unknown_type"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
async def test_a_bad_message_is_answered_and_closes_nothing(
    server: Server, phone: Device, name: str
) -> None:
    text, code = BAD_TEXTS[name]
    peer = await server.connect(phone)
    await peer.ws.send(text)
    answer = await peer.receive()
    assert (answer["type"], answer["payload"]["code"]) == ("error", code)
    await peer.silence()


async def test_a_binary_frame_is_an_invalid_message(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    await peer.ws.send(b"\x00")
    assert (await peer.receive())["payload"]["code"] == "invalid_message"
    await peer.silence()


@pytest.mark.parametrize("type_", ["sync.hello", "playback.hello", "sync"])
async def test_features_of_older_clients_are_accepted(
    server: Server, phone: Device, type_: str
) -> None:
    peer = await server.connect(phone)
    await peer.send(type_, {"device_name": "x"})
    await peer.silence()
    assert (await peer.ask(type_))["type"] == "ok"


async def test_invalid_utf8_closes_with_1007(server: Server, phone: Device) -> None:
    peer = await RawPeer.upgrade(server, phone)
    peer.write(masked(b'{"type":"\xff"}'))
    assert await peer.close_code() == 1007


def ping_of(size: int) -> str:
    """Return a ping with an id behind its payload, of so many bytes."""
    text = '{"type":"ping","payload":"%s","id":"7"}'
    return text % ("x" * (size - len(text) + 2))


async def test_the_largest_message_is_taken_and_one_byte_more_is_too_large(serve) -> None:
    server = await serve(max_message_bytes=2048)
    peer = await server.connect(await server.device())
    await peer.ws.send(ping_of(2048))
    assert (await peer.receive()) == {"type": "pong", "payload": None, "reply_to": "7"}
    for size in (2049, 4 * 2048):
        await peer.ws.send(ping_of(size))
        assert (await peer.receive()) == {
            "type": "error",
            "payload": {"code": "too_large", "message": "a message may have 2048 bytes"},
            "reply_to": "7",
        }
        await peer.silence()
    await peer.ws.send(ping_of(4 * 2048 + 1))
    assert (await peer.closed())[0] == 1009


async def test_too_large_is_told_also_in_fragments_and_when_the_bytes_are_used_up(serve) -> None:
    server = await serve(max_message_bytes=2048, bytes_per_second=1)
    peer = await server.connect(await server.device())
    text = ping_of(4 * 2048)
    # The library sends each of these as a fragment.
    for parts in ([text], [text[:3000], text[3000:]], [text], [text]):
        await peer.ws.send(parts)
        answer = await peer.receive()
        assert (answer["payload"]["code"], answer["reply_to"]) == ("too_large", "7")


async def test_a_binary_message_above_the_limit_closes_with_1009(serve) -> None:
    server = await serve(max_message_bytes=2048)
    peer = await server.connect(await server.device())
    await peer.ws.send(b"x" * 2048)
    assert (await peer.receive())["payload"]["code"] == "invalid_message"
    await peer.ws.send(b"x" * 2049)
    assert (await peer.closed())[0] == 1009


async def test_messages_that_are_too_large_stay_in_order_and_count_as_received(serve) -> None:
    server = await serve(max_message_bytes=2048)
    peer = await server.connect(await server.device())
    await peer.send("ping", id="before")
    await peer.ws.send(ping_of(2049))
    await peer.send("ping", id="after")
    assert [(await peer.receive())["reply_to"] for _ in range(3)] == ["before", "7", "after"]
    assert dict(server.app[METRICS].received.items()) == {"ping": 3}


async def test_a_frame_that_claims_to_be_huge_closes_with_1009(
    server: Server, phone: Device
) -> None:
    peer = await RawPeer.upgrade(server, phone)
    peer.write(bytes((0x81, 0xFF)) + (1 << 62).to_bytes(8, "big") + b"\0\0\0\0")
    assert await peer.close_code() == 1009


async def test_reserved_bits_close_with_1002(server: Server, phone: Device) -> None:
    peer = await RawPeer.upgrade(server, phone)
    peer.write(b"\xf1\x80\0\0\0\0")
    assert await peer.close_code() == 1002


async def test_a_message_in_fragments_with_a_ping_between_is_one_message(
    server: Server, phone: Device
) -> None:
    peer = await RawPeer.upgrade(server, phone)
    await peer.frame()
    peer.write(masked(b'{"type":', fin=False))
    peer.write(masked(b"between", opcode=9))
    peer.write(masked(b'"ping"}', opcode=0))
    assert await peer.frame() == (10, b"between")
    opcode, payload = await peer.frame()
    assert (opcode, json.loads(payload)["type"]) == (1, "pong")


async def test_an_unmasked_frame_is_abuse(server: Server, phone: Device) -> None:
    peer = await RawPeer.upgrade(server, phone)
    peer.write(b'\x81\x0f{"type":"ping"}')
    assert await peer.close_code() == 4503


async def codes(peer: RawPeer) -> list[str | None]:
    """Return the codes of the errors until the server closes, and that of the close."""
    found: list[str | None] = []
    while True:
        opcode, payload = await peer.frame()
        if opcode == 8:
            return [*found, str(int.from_bytes(payload[:2], "big"))]
        found.append(json.loads(payload)["payload"].get("code"))


ENDLESS = masked(b'{"id":"7",', fin=False) + masked(b"", opcode=0, fin=False) * 3000


@pytest.mark.parametrize(
    ("options", "code"), [({}, "4003"), ({"messages_per_second": 0}, "4503")], ids=str
)
async def test_endless_empty_fragments_drop_the_message_and_then_close(
    serve, options: dict[str, int], code: str
) -> None:
    server = await serve(**options)
    peer = await RawPeer.upgrade(server, await server.device())
    await peer.frame()
    peer.write(ENDLESS)
    assert await codes(peer) == ["invalid_message", code]
    await peer.ended()


async def test_every_fragment_is_a_message_for_the_limits(serve) -> None:
    server = await serve(messages_per_second=0.001, messages_burst=10)
    peer = await RawPeer.upgrade(server, await server.device())
    await peer.frame()
    in_five = [masked(b"{", fin=False), *[masked(b"", opcode=0, fin=False)] * 3]
    in_five.append(masked(b'"type":"ping"}', opcode=0))
    whole = b"".join(in_five)
    peer.write(whole * 3)
    kinds = [json.loads((await peer.frame())[1]) for _ in range(3)]
    assert [one["type"] for one in kinds] == ["pong", "pong", "error"]
    assert kinds[2]["payload"]["code"] == "rate_limited"
    # A whole burst more; the rest of the dropped message counts.
    peer.write(whole)
    assert json.loads((await peer.frame())[1])["payload"]["code"] == "rate_limited"
    peer.write(whole)
    assert await codes(peer) == ["4003"]


async def test_fragments_after_the_close_are_not_read(serve) -> None:
    server = await serve(messages_per_second=0.001, messages_burst=50)
    peer = await RawPeer.upgrade(server, await server.device())
    await peer.frame()
    [connection] = server.manager.connections()
    flood = (masked(b"{", fin=False) + masked(b"", opcode=0)) * 300
    peer.write(flood)
    await server.until(lambda: connection.is_closing())
    counted = connection.inflow.frames
    assert counted == 101
    peer.write(flood)
    await peer.ended()
    assert connection.inflow.frames == counted


async def test_a_message_in_as_many_fragments_as_a_library_makes_is_one_message(
    server: Server, phone: Device
) -> None:
    peer = await server.connect(phone)
    text = ping_of(65_536)
    await peer.ws.send([text[at : at + 1024] for at in range(0, len(text), 1024)])
    assert (await peer.receive())["type"] == "pong"
    await peer.silence()


async def test_text_in_fragments_that_is_not_utf8_closes_with_1007(
    server: Server, phone: Device
) -> None:
    peer = await RawPeer.upgrade(server, phone)
    # A character may be cut in two; the second one is none.
    peer.write(masked(b'{"type":"\xc3', fin=False) + masked(b'\xa4"}', opcode=0))
    peer.write(masked(b'{"type":"\xc3', fin=False) + masked(b'\x28"}', opcode=0))
    assert await peer.close_code() == 1007


UNFINISHED = masked(b"x" * 60_000)[:-1]


async def test_unfinished_bytes_of_a_user_are_limited_over_all_connections(serve) -> None:
    server = await serve(unfinished_bytes_per_user=150_000)
    ada = [await server.device(name) for name in ("phone", "laptop", "tv")]
    peers = [await RawPeer.upgrade(server, device) for device in ada]
    bob = await RawPeer.upgrade(server, await server.device(handle="bob"))
    arrivals = server.app[NODE].deadlines.arrivals
    for number, peer in enumerate([bob, *peers[:2]]):
        peer.write(UNFINISHED)
        await server.until(lambda number=number: arrivals.held >= 59_999 * (number + 1))
    peers[2].write(UNFINISHED)
    assert await peers[2].close_code() == 1009
    peers[2].abort()
    # It was the last straw; the others go on, and what ends makes room.
    for peer in (bob, *peers[:2]):
        peer.write(b"x")
        while b"parse_error" not in (await peer.frame())[1]:
            pass
    assert arrivals.held == 0
    again = await RawPeer.upgrade(server, ada[2])
    again.write(UNFINISHED + b"x")
    while b"parse_error" not in (await again.frame())[1]:
        pass


async def test_what_a_lost_connection_held_is_free_again(serve) -> None:
    server = await serve(unfinished_bytes_per_user=0)
    peer = await RawPeer.upgrade(server, await server.device())
    arrivals = server.app[NODE].deadlines.arrivals
    peer.write(masked(b"x" * 60_000, fin=False))
    await server.until(lambda: arrivals.held == 60_000)
    peer.abort()
    await server.until(lambda: not arrivals.held)
    assert arrivals.since == {}


async def test_one_message_is_allowed_to_be_as_large_as_it_may(serve) -> None:
    server = await serve(max_message_bytes=65_536, unfinished_bytes_per_user=1)
    peer = await server.connect(await server.device())
    text = ping_of(65_536)
    await peer.ws.send([text[:40_000], text[40_000:]])
    assert (await peer.receive())["type"] == "pong"


@pytest.mark.parametrize("start", [masked(b"{", fin=False), masked(b"hello")[:-1]])
async def test_a_message_that_never_ends_is_closed(serve, start: bytes) -> None:
    server = await serve(message_seconds=0.2)
    phone = await server.device()
    peer = await RawPeer.upgrade(server, phone)
    peer.write(start)
    assert await peer.close_code() == 4002


async def test_too_many_messages_are_refused_and_then_the_connection_ends(serve) -> None:
    server = await serve(messages_per_second=1, messages_burst=5)
    phone = await server.device()
    peer = await server.connect(phone)
    for number in range(6):
        await peer.send("ping", id=f"p{number}")
    kinds = [(await peer.receive()) for _ in range(6)]
    assert [kind["type"] for kind in kinds] == ["pong"] * 5 + ["error"]
    assert [kind["reply_to"] for kind in kinds] == [f"p{number}" for number in range(6)]
    assert kinds[-1]["payload"]["code"] == "rate_limited"
    for _ in range(6):
        await peer.send("ping")
    assert await peer.closed() == (4003, "rate_limit")


async def test_protocol_pings_count_as_messages(serve) -> None:
    server = await serve(messages_per_second=1, messages_burst=5)
    phone = await server.device()
    peer = await RawPeer.upgrade(server, phone)
    peer.write(masked(b"", opcode=9) * 100_000)
    assert await peer.close_code() == 4003


async def test_too_many_bytes_are_refused(serve) -> None:
    server = await serve(bytes_per_second=100, max_message_bytes=1024)
    phone = await server.device()
    peer = await server.connect(phone)
    for _ in range(3):
        await peer.send("ping", "x" * 900)
    kinds = [(await peer.receive())["type"] for _ in range(3)]
    assert kinds == ["pong", "pong", "error"]


async def test_a_flood_of_pings_does_not_delay_another(
    server: Server, phone: Device, laptop
) -> None:
    flood = await RawPeer.upgrade(server, phone)
    other = await server.connect(laptop)
    flood.write(masked(b"", opcode=9) * 200_000)
    for _ in range(20):
        await other.silence()
    flood.abort()
