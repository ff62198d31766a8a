"""`latest` values and their deletion over real sockets, and the time of each message."""

import time
from typing import Any

import pytest
from serving import Device, Peer, Server

from app.keys import NODE
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToUser
from tests.sockets.test_streams import answer_to, resume, upto_position

Message = dict[str, Any]
VOLUME = {"to": "user", "type": "audio.volume", "payload": 30, "store": "latest", "key": "kitchen"}
DELETION = {"to": "user", "type": "audio.volume", "key": "kitchen", "delete": True}


async def send(peer: Peer, body: Message) -> int:
    """Send what is accepted, and return its offset."""
    await peer.send("device.send", body, id="ask")
    answer = await answer_to(peer)
    assert answer["type"] == "ok", answer
    return int(answer["payload"]["offset"])


async def arrivals(server: Server, device: Device, query: str) -> list[Message]:
    """Return what comes to a new connection before its first `position`."""
    peer = await server.open(device, query)
    assert (await peer.receive())["type"] == "connected"
    return (await upto_position(peer))[0]


async def test_a_deletion_reaches_who_is_connected_and_who_comes_back(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    first = await send(sender, VOLUME)
    value = await receiver.receive()
    assert (value["payload"], value["key"], "deleted" in value) == (30, "kitchen", False)
    offset = await send(sender, DELETION)
    deletion = await receiver.receive()
    assert deletion == {
        "type": "audio.volume",
        "payload": None,
        "offset": offset,
        "time": deletion["time"],
        "key": "kitchen",
        "deleted": True,
        "from": {"device_id": phone.device_id, "instance": "default"},
    }
    text = server.app[NODE].log.numbering.text
    back, _ = await resume(server, laptop, text, first)
    assert (await upto_position(back))[0] == [deletion]


async def test_no_snapshot_has_a_deleted_value(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender = await server.connect(phone)
    await send(sender, VOLUME)
    await send(sender, {**VOLUME, "key": "hall"})
    await send(sender, DELETION)
    [value] = await arrivals(server, laptop, "?resume=live")
    assert (value["key"], value["snapshot"]) == ("hall", True)
    await send(sender, {**DELETION, "key": "hall"})
    assert await arrivals(server, laptop, "?resume=live") == []
    await send(sender, VOLUME)
    [value] = await arrivals(server, laptop, "?resume=live")
    assert (value["key"], value["payload"]) == ("kitchen", 30)


async def test_a_message_has_one_time_however_it_comes(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    before = int(time.time() * 1000)
    await send(sender, {"to": "user", "type": "note.text", "store": "log"})
    await send(sender, VOLUME)
    pushed = [await receiver.receive() for _ in range(2)]
    assert all(before <= one["time"] <= time.time() * 1000 for one in pushed)
    text = server.app[NODE].log.numbering.text
    assert await arrivals(server, laptop, f"?epoch={text}&offset=0") == pushed
    [value] = await arrivals(server, laptop, "?resume=live")
    assert value == {**pushed[1], "snapshot": True}


async def test_a_message_that_is_not_kept_has_no_time(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    await sender.send("device.send", {"to": "others", "type": "note.text"})
    assert (await receiver.receive()).keys() == {"type", "payload", "from"}


async def test_a_deletion_can_be_repeated_without_harm(server: Server, phone: Device) -> None:
    sender = await server.connect(phone)
    offset = await send(sender, {**DELETION, "to": "others", "message_id": "m"})
    await send(sender, {**VOLUME, "to": "others"})
    await sender.send("device.send", {**DELETION, "to": "others", "message_id": "m"}, id="ask")
    again = (await answer_to(sender))["payload"]
    assert (again["offset"], again["duplicate"]) == (offset, True)
    value = {**VOLUME, "to": "others", "payload": None, "message_id": "m"}
    await sender.send("device.send", value, id="ask")
    assert (await answer_to(sender))["payload"]["code"] == "id_conflict"


async def test_a_device_that_may_keep_no_message_may_delete_no_value(serve) -> None:
    server = await serve(durable_prefixes="chat")
    sender = await server.connect(await server.device("phone"))
    await sender.send("device.send", DELETION, id="ask")
    assert (await answer_to(sender))["payload"]["code"] == "forbidden"


@pytest.mark.parametrize("more", [{"payload": 1}, {"ttl": 5}, {"key": None}, {"store": "log"}])
async def test_a_deletion_that_asks_for_more_is_refused(
    server: Server, phone: Device, more: Message
) -> None:
    sender = await server.connect(phone)
    await sender.send("device.send", {**DELETION, **more}, id="ask")
    assert (await answer_to(sender))["payload"]["code"] == "invalid_message"


async def test_a_feature_deletes_a_value_and_its_payload_does_not_count(
    server: Server, phone: Device
) -> None:
    receiver = await server.connect(phone)
    keep = Keep("latest", "kitchen", delete=True)
    deletion = Publication(ToUser(phone.user_id), "audio.volume", 30, keep)
    server.app[NODE].append(deletion, lambda _: None)
    heard = await receiver.receive()
    assert (heard["payload"], heard["key"], heard["deleted"]) == (None, "kitchen", True)
