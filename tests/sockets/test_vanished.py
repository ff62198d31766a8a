"""What sockets see while the database is gone, and when it is back."""

import shutil
from pathlib import Path

import pytest
from serving import Device, Server
from websockets.exceptions import InvalidStatus

from app.keys import DATABASE, NODE
from app.storage.database import DATABASE_NAME
from tests.sockets.test_streams import answer_to, note, resume, store, upto_position


def take_away(server: Server) -> Path:
    """Put a copy in the database's place; return where the database is now."""
    path = server.settings.data_dir / DATABASE_NAME
    aside = path.with_name("aside.db")
    path.rename(aside)
    shutil.copy(aside, path)
    return aside


def put_back(server: Server, aside: Path) -> None:
    aside.replace(server.settings.data_dir / DATABASE_NAME)


async def test_messages_are_refused_and_the_same_connection_stores_again_when_it_is_back(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender = await server.connect(phone)
    reader = await server.connect(laptop, "?instance=a")
    await store(sender, 1)
    assert (await reader.receive())["payload"] == {"n": 1}
    aside = take_away(server)
    for number in range(2, 5):
        await sender.send("device.send", note(number, message_id=f"m{number}"), id="ask")
        answer = await answer_to(sender)
        assert answer["payload"]["code"] == "storage_unavailable"
    put_back(server, aside)
    for number in range(2, 5):
        await store(sender, number, message_id=f"m{number}")
    got = [(await reader.receive())["payload"]["n"] for _ in range(2, 5)]
    assert got == [2, 3, 4]


async def test_a_device_that_missed_nothing_comes_back_and_one_that_did_is_not_let_in(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender = await server.connect(phone)
    told = await store(sender, 1)
    epoch = server.app[NODE].log.numbering.text
    aside = take_away(server)
    _, outcome = await resume(server, phone, epoch, told["offset"])
    assert outcome["outcome"] == "resumed"
    # Memory does not know where this one stands.
    with pytest.raises(InvalidStatus) as refused:
        await server.open(laptop)
    assert refused.value.response.status_code == 503
    put_back(server, aside)
    peer, outcome = await resume(server, laptop, epoch, 0)
    assert outcome["outcome"] == "resumed"
    messages, _ = await upto_position(peer)
    assert [one["payload"]["n"] for one in messages] == [1]


async def test_the_server_stops_in_order_without_its_database(
    server: Server, phone: Device
) -> None:
    sender = await server.connect(phone)
    await store(sender, 1)
    take_away(server)
    await sender.send("ack", {"offset": 1})
    await sender.silence()
    await server.until(lambda: server.app[DATABASE].fault)
