"""From the names that people give to the ids that messages go to, and on to the node."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from delivery_peers import Peer, make_node
from memory_log import MemoryLog

from app.auth.addressees import Addressees
from app.base.errors import Problem
from app.node.node import Node
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToDevice, ToEveryone, ToOthers, ToUser
from app.publishing.publisher import (
    DeviceTarget,
    Draft,
    EveryoneTarget,
    OthersTarget,
    Publisher,
    UserTarget,
    sent,
)
from tests.auth.house import House


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = make_node(MemoryLog())
    task = asyncio.create_task(node.committer.run())
    yield node
    task.cancel()
    await asyncio.wait([task])
    await node.delivery.close()


@pytest.fixture
async def people(house: House, node: Node) -> AsyncIterator[Any]:
    """Ada and Bob, each with a device, and a publisher of messages of 100 bytes."""
    addressees = Addressees(house.database, house.sessions.owners)
    ada, bob = await house.user("ada"), await house.user("bob")
    devices = [(await house.sign_in(name)).device for name in ("ada", "bob")]
    yield SimpleNamespace(
        publisher=Publisher(node, addressees, 100),
        ada=ada.id,
        bob=bob.id,
        adas=devices[0].id,
        bobs=devices[1].id,
    )
    await addressees.close()


async def address(people: Any, target: Any) -> Any:
    draft = Draft(target, "note.x", 1, Keep(), "key:1")
    return (await people.publisher.address(draft)).to


async def test_each_target_has_its_address(people: Any) -> None:
    ada, adas = people.ada, people.adas
    assert await address(people, EveryoneTarget()) == ToEveryone()
    assert await address(people, UserTarget("Ada")) == ToUser(ada)
    assert await address(people, UserTarget(ada)) == ToUser(ada)
    assert await address(people, UserTarget(ada, adas)) == ToOthers(ada, adas)
    assert await address(people, DeviceTarget(adas)) == ToDevice(ada, adas)
    assert await address(people, OthersTarget(adas)) == ToOthers(ada, adas)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (lambda it: UserTarget("eve"), "user_not_found"),
        (lambda it: UserTarget(99), "user_not_found"),
        (lambda it: DeviceTarget(99), "device_not_found"),
        (lambda it: UserTarget(it.ada, it.bobs), "device_not_found"),
    ],
)
async def test_who_is_not_there_is_told_by_a_code(people: Any, target: Any, code: str) -> None:
    with pytest.raises(Problem) as refusal:
        await address(people, target(people))
    assert (refusal.value.status, refusal.value.code) == (404, code)


async def test_what_is_handed_over_is_delivered_or_stored(people: Any, node: Node) -> None:
    phone = Peer(node, people.adas, user=people.ada)
    await phone.connect()
    now = Publication(ToUser(people.ada), "note.x", 1)
    assert (await sent(people.publisher.hand_over(now))).delivered == [people.adas]
    kept = Publication(ToUser(people.ada), "note.x", 1, Keep("log"))
    outcome = await sent(people.publisher.hand_over(kept))
    assert outcome.stored is not None
    assert (outcome.delivered, outcome.stored.offset) == ([people.adas], 1)


async def test_a_message_that_is_too_large_or_too_deep_is_refused(people: Any) -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    for payload, code in (("x" * 100, "too_large"), (deep, "invalid_message")):
        with pytest.raises(Problem) as refusal:
            people.publisher.check("note.x", payload)
        assert refusal.value.code == code


async def test_one_connection_gets_what_is_sent_to_it_alone(people: Any, node: Node) -> None:
    phone, laptop = Peer(node, 1), Peer(node, 2)
    for peer in (phone, laptop):
        await peer.connect()
    assert people.publisher.send_to_connection(phone.connection.connection_id, "note.x", 1)
    for peer in (phone, laptop):
        await peer.settle()
    assert [one["type"] for one in phone.messages()][-1] == "note.x"
    assert "note.x" not in [one["type"] for one in laptop.messages()]
    with pytest.raises(Problem) as refusal:
        people.publisher.send_to_connection("nobody", "note.x", 1)
    assert refusal.value.code == "connection_not_found"
