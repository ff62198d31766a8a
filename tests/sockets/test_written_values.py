"""Numbers, names and JSON as clients write them, over real sockets."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from serving import Device, Peer, Server
from websockets.exceptions import InvalidStatus

BOM = "\ufeff"

NO_NUMBERS = ("2.0", "2.5", "1e2", "-1", "true", '"2"', "null", str(1 << 63), str((1 << 64) - 1))
"""JSON that is no whole number, or none that is in the range."""


async def told(peer: Peer, text: str) -> dict[str, Any]:
    """Send a text as it is, and return the next message."""
    await peer.ws.send(text)
    return await peer.receive()


def sending(fields: str) -> str:
    return f'{{"type":"device.send","id":"ask","payload":{{"type":"note.text",{fields}}}}}'


async def outcome(peer: Peer, text: str) -> str:
    """Return the type of the answer, or the code of the refusal; the connection goes on."""
    answer = await told(peer, text)
    await peer.silence()
    return str(answer["payload"]["code"] if answer["type"] == "error" else answer["type"])


async def test_what_is_no_device_id_is_refused_by_name(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    for number in (*NO_NUMBERS, "0", "-0"):
        answer = await told(peer, sending(f'"to":{number}'))
        assert (answer["payload"]["code"], answer["reply_to"]) == ("invalid_message", "ask"), number
        assert answer["payload"]["message"].startswith("to must be a device id"), number
    await peer.silence()


async def test_what_is_no_time_to_live_is_refused_by_name(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    for number in (*(one for one in NO_NUMBERS if one != "null"), "0", "-0"):
        answer = await told(peer, sending(f'"to":"user","store":"log","ttl":{number}'))
        assert answer["payload"]["code"] == "invalid_message", number
        assert answer["payload"]["message"].startswith("ttl is a whole number"), number
    await peer.silence()


async def test_what_is_no_offset_acknowledges_nothing(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    for number in NO_NUMBERS:
        text = f'{{"type":"ack","payload":{{"offset":{number}}}}}'
        assert await outcome(peer, text) == "invalid_message", number


async def test_minus_0_is_the_offset_0(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    await peer.ws.send('{"type":"ack","payload":{"offset":-0}}')
    await peer.silence()


NO_JSON = ("NaN", "Infinity", "+2", "02", "0x2", "2.", "1e400", "٣")

TOO_WIDE = (str(1 << 64), str(-(1 << 63) - 1), "9" * 40)


async def test_what_json_has_not_or_readers_would_change_is_refused_wherever_it_stands(
    server: Server, phone: Device
) -> None:
    peer = await server.connect(phone)
    for texts, code in ((NO_JSON, "parse_error"), (TOO_WIDE, "invalid_message")):
        for text in texts:
            for fields in (f'"to":{text}', f'"to":"user","payload":{text}'):
                assert await outcome(peer, sending(fields)) == code, text


ARRIVING: Mapping[str, float] = {
    "2.0": 2.0,
    "1e2": 100.0,
    str((1 << 53) + 1): (1 << 53) + 1,
    str((1 << 64) - 1): (1 << 64) - 1,
    str(-(1 << 63)): -(1 << 63),
    "true": True,
}


async def test_a_payload_arrives_as_the_number_that_it_is(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    for text, meant in ARRIVING.items():
        await sender.ws.send(sending(f'"to":"others","payload":{text}'))
        heard = (await receiver.receive())["payload"]
        assert (heard, type(heard)) == (meant, type(meant))


async def test_an_offset_of_a_query_is_digits_and_nothing_else(
    server: Server, phone: Device
) -> None:
    for text in (" 2", "+2", "2.0", "1e2", "-1", "-0", "0x2", "٣", "2_0", "", "9" * 20):
        with pytest.raises(InvalidStatus) as caught:
            await server.open(phone, f"?epoch=e&offset={quote(text)}")
        assert caught.value.response.status_code == 400, text


async def test_an_offset_of_up_to_19_digits_is_never_an_error(
    server: Server, phone: Device
) -> None:
    for text in ("007", str(1 << 53), str(1 << 63), "9" * 19):
        connected = await (await server.open(phone, f"?epoch=e&offset={text}")).receive()
        assert connected["payload"]["resume"]["outcome"] == "reset", text


MESSAGES: Mapping[str, str] = {
    "a ping": '{"type":"ping","id":"ask"}',
    "space before it": ' \r\n{"type":"ping","id":"ask"}',
    "a key twice": '{"type":"nothing.known","id":"x","type":"ping","id":"ask"}',
    "an escaped key": '{"\\u0074ype":"ping","id":"ask"}',
}


async def test_a_byte_order_mark_is_no_part_of_a_message_and_the_last_key_counts(
    server: Server, phone: Device
) -> None:
    peer = await server.connect(phone)
    for what, text in MESSAGES.items():
        for mark in ("", BOM):
            answer = await told(peer, mark + text)
            assert answer == {"type": "pong", "payload": None, "reply_to": "ask"}, what


async def test_any_other_byte_order_mark_is_no_json(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    ping = '{"type":"ping"}'
    for text in (BOM, BOM * 2 + ping, BOM * 20_000 + ping, ping + BOM, " " + BOM + ping):
        assert await outcome(peer, text) == "parse_error"


async def test_a_refused_message_with_a_mark_is_answered_by_its_id(serve) -> None:
    server = await serve(messages_per_second=0.001, messages_burst=1)
    peer = await server.connect(await server.device("phone"))
    for _ in range(2):
        await peer.ws.send(BOM + '{"type":"ping","id":"ask"}')
    assert (await peer.receive())["type"] == "pong"
    refused = await peer.receive()
    assert (refused["payload"]["code"], refused["reply_to"]) == ("rate_limited", "ask")


async def test_a_message_id_in_another_case_is_another_message(
    server: Server, phone: Device
) -> None:
    peer = await server.connect(phone)
    note = {"to": "others", "type": "note.text", "store": "log"}
    seen = []
    for id_ in ("move-A", "move-a", "move-A ", "mo\u0308ve", "m\u00f6ve", "move-A"):
        answer = await peer.ask("device.send", {**note, "message_id": id_})
        seen.append(answer["payload"].get("duplicate", False))
    assert seen == [False, False, False, False, False, True]


async def test_a_type_is_written_in_one_way(server: Server, phone: Device) -> None:
    peer = await server.connect(phone)
    for type_ in ("Note.text", "note.Text", " note.text", "note.text\n", "nöte", BOM + "note"):
        answer = await peer.ask("device.send", {"to": "user", "type": type_})
        assert answer["payload"]["code"] == "invalid_message", type_


async def test_instances_that_differ_in_case_live_side_by_side(
    server: Server, phone: Device
) -> None:
    lower = await server.connect(phone, "?instance=tab")
    await server.connect(phone, "?instance=Tab")
    await lower.silence()
