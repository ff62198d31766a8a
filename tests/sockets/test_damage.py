"""A message that is damaged under a running server: nobody gets it, and everybody is told once."""

from typing import Any

from serving import Device, Peer, Server

from app.keys import DATABASE, NODE, STREAMS
from app.storage.database import Database

Message = dict[str, Any]


async def store(peer: Peer, number: int) -> int:
    """Keep a message for all devices of the user, and return its offset."""
    payload = {"to": "user", "type": "note.text", "payload": {"n": number}, "store": "log"}
    await peer.send("device.send", payload, id="ask")
    while (answer := await peer.receive()).get("reply_to") != "ask":
        pass
    assert answer["type"] == "ok", answer
    return int(answer["payload"]["offset"])


async def damage(database: Database, offset: int) -> None:
    """Change a message and not its checksum."""
    statement = "UPDATE messages SET payload = x'37' WHERE \"offset\" = ?"
    await database.transact(lambda one: one.exec_driver_sql(statement, (offset,)) and None)


async def test_a_device_that_needs_a_damaged_message_is_closed_and_reset_once(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender = await server.connect(phone)
    first, second, third = [await store(sender, number) for number in range(3)]
    text = server.app[NODE].log.numbering.text
    await damage(server.app[DATABASE], second)
    away = await server.open(laptop, f"?epoch={text}&offset={first - 1}")
    code, reason = await away.closed()
    assert (code, reason) == (1011, "internal")

    again = await server.open(laptop, f"?epoch={text}&offset={first}")
    assert (await again.receive())["payload"]["resume"]["outcome"] == "reset"
    position: Message = {"type": ""}
    while position["type"] != "position":
        position = await again.receive()
        assert position.get("offset") != second
    assert position["payload"]["offset"] >= second
    told = position["payload"]
    await again.close()

    # Once: from where it was put it is resumed, and who had all the time more notices nothing.
    once = await server.open(laptop, f"?epoch={told['epoch']}&offset={told['offset']}")
    assert (await once.receive())["payload"]["resume"]["outcome"] == "resumed"
    assert await store(sender, 3) == third + 1


async def test_a_server_whose_database_is_damaged_is_alive_and_not_ready(
    server: Server, phone: Device
) -> None:
    sender = await server.connect(phone)
    server.app[STREAMS].suspicions.damage = "Page 7 is never used"
    await sender.send("device.send", {"to": "user", "type": "note.text", "store": "log"}, id="ask")
    answer = await sender.receive()
    assert (answer["type"], answer["payload"]["code"]) == ("error", "storage_unavailable")
    await sender.send("device.send", {"to": "others", "type": "note.text"}, id="now")
    assert (await sender.receive())["type"] == "ok", "what is not kept goes on"
