"""A device that does its worst to what the backend keeps for its user, over real sockets."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from delivery_peers import append
from serving import Device, Peer, Server

from app.features import Keep, Node, Publication, Storing, ToDevice, ToUser
from app.keys import NODE
from app.streams.base import Append, ReadLimits, Row

ALL = ReadLimits(rows=100_000, bytes=1 << 30)
VALUE = {"to": "user", "type": "security.alert", "payload": 2, "store": "latest", "key": "main"}


class Todo:
    """A feature that keeps whatever a device asks it to."""

    prefix = "todo"

    def __init__(self, node: Node) -> None:
        self._node = node

    def handle(self, connection: Any, message: Any) -> Storing:
        keep = Keep("latest", message.payload) if message.payload else Keep("log")
        added = Publication(ToUser(connection.user_id), "todo.added", {}, keep)
        return Storing(partial(self._node.append, added))


def alert(device: Device, keep: Keep | None = None) -> Publication:
    latest = keep or Keep("latest", VALUE["key"])
    return Publication(ToUser(device.user_id), "security.alert", 1, latest)


async def kept(server: Server, device: Device) -> list[Row]:
    return list((await server.app[NODE].log.read(device.user_id, 0, ALL)).rows)


async def prune(server: Server) -> None:
    while (await server.app[NODE].log.prune()).more:
        pass


async def answer_to(peer: Peer, id_: str) -> dict[str, Any]:
    while (message := await peer.receive()).get("reply_to") != id_:
        pass
    return message


async def tell(peer: Peer, type_: str, payload: Any) -> tuple[Any, ...]:
    """Return the code of the error that this is answered with, and its text."""
    await peer.send(type_, payload, id="ask")
    answer = (await answer_to(peer, "ask"))["payload"]
    return (answer.get("code"), answer.get("message"))


async def test_sixteen_sockets_of_a_device_evict_nothing_of_the_backend(serve) -> None:
    server = await serve(retention_rows=50, durable_per_second=0)
    phone = await server.device("phone")
    await append(server.app[NODE], alert(phone, Keep("log")))

    async def flood(instance: int) -> None:
        peer = await server.open(phone, f"?instance={instance}&resume=live")
        for number in range(20):
            note = {"to": "others", "type": "note.text", "payload": number, "store": "log"}
            await peer.send("device.send", note, id=str(number))
        await answer_to(peer, "19")

    await asyncio.gather(*map(flood, range(16)))
    assert server.app[NODE].log.last == 1 + 16 * 20
    await prune(server)
    rows = await kept(server, phone)
    assert (rows[0].type, rows[0].source_device) == ("security.alert", 0)
    assert len(rows) == 1 + 50


@pytest.mark.parametrize(
    "more",
    [{}, {"to": "others"}, {"ttl": 1}, {"message_id": "m"}],
    ids=lambda more: "-".join(more) or "as it is",
)
async def test_a_device_cannot_put_its_value_in_the_place_of_the_backends(
    server: Server, phone: Device, laptop: Device, more: dict[str, Any]
) -> None:
    for publication in (alert(phone), alert(laptop)):
        await append(server.app[NODE], publication)
    before = await kept(server, phone)
    sender = await server.connect(phone)
    receiver = await server.connect(laptop)
    assert await tell(sender, "device.send", VALUE | more) == (
        "forbidden",
        "The backend keeps a value of this type and key; no device may change it.",
    )
    await receiver.silence()
    assert await kept(server, phone) == before


async def test_what_the_backend_holds_for_one_device_no_other_may_set(
    server: Server, phone: Device, laptop: Device
) -> None:
    to_laptop = replace(alert(laptop), to=ToDevice(laptop.user_id, laptop.device_id))
    await append(server.app[NODE], to_laptop)
    sender = await server.connect(phone)
    for to in ("user", "others", phone.device_id, laptop.device_id):
        assert (await tell(sender, "device.send", VALUE | {"to": to}))[0] == "forbidden"


async def test_the_devices_keys_are_not_the_backends(serve) -> None:
    server = await serve(max_keys_per_user=3)
    phone = await server.device("phone")
    sender = await server.connect(phone)
    codes = [await tell(sender, "device.send", VALUE | {"key": key}) for key in "abcd"]
    assert codes == [
        *[(None, None)] * 3,
        (
            "too_many_keys",
            "The devices of this user have as many keys as are kept for them; "
            "use one that is there.",
        ),
    ]
    for key in "xyz":
        await append(server.app[NODE], alert(phone, Keep("latest", key)))


async def test_a_live_device_learns_that_the_backend_has_removed_its_value(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    assert (await tell(sender, "device.send", VALUE | {"to": "others"}))[0] is None
    assert (await receiver.receive())["payload"] == 2
    to_phone = replace(alert(phone), to=ToDevice(phone.user_id, phone.device_id))
    stored = await append(server.app[NODE], to_phone)
    assert stored.delivered == [phone.device_id]
    told = await receiver.receive()
    assert (told["type"], told["payload"], told["offset"]) == (
        "security.alert",
        None,
        stored.offset - 1,
    )
    assert "from" not in told


async def test_what_a_feature_keeps_for_a_device_evicts_nothing_of_the_backend(serve) -> None:
    server = await serve(features="tests.sockets.test_budgets:Todo", retention_rows=10)
    phone = await server.device("phone")
    node = server.app[NODE]
    await append(node, alert(phone, Keep("log")))
    held = Publication(ToUser(phone.user_id), "todo.added", 1, Keep("latest", "held"))
    await append(node, held)
    peer = await server.connect(phone)
    assert (await tell(peer, "todo.add", "held"))[0] == "forbidden"
    for _ in range(25):
        await tell(peer, "todo.add", None)
    await prune(server)
    rows = await kept(server, phone)
    assert [row.type for row in rows[:2]] == ["security.alert", "todo.added"]
    assert [row.source_device for row in rows] == [0, 0, *[phone.device_id] * 10]
    listener = await server.open(phone, "?resume=live&instance=other")
    while (await listener.receive())["type"] != "position":
        pass
    await tell(peer, "todo.add", None)
    assert "from" not in await listener.receive(), "no instance of the device has sent it"


async def test_who_missed_a_deletion_that_a_device_has_replaced_fetches_its_state(
    server: Server, phone: Device, laptop: Device
) -> None:
    node = server.app[NODE]
    stored = await append(node, alert(phone))
    deletion = Append(phone.user_id, "security.alert", b"null", key="main", deleted=True)
    done = asyncio.get_running_loop().create_future()
    node.committer.submit(deletion, done.set_result)
    deleted_at = (await done).offset
    sender = await server.connect(phone)
    # The standing of the user is in memory by now.
    assert (await tell(sender, "device.send", VALUE | {"ttl": 1}))[0] is None
    outcomes = []
    for offset in (stored.offset, deleted_at):
        query = f"?epoch={node.log.numbering.text}&offset={offset}&instance=i{offset}"
        peer = await server.open(laptop, query)
        outcomes.append((await peer.receive())["payload"]["resume"]["outcome"])
    assert outcomes == ["reset", "resumed"]
