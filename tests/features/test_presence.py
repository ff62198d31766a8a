"""Presence on a node without sockets: what is told, to whom, and what is left behind."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from serving import PATIENCE

from app.features.feature import Outcome, Reply
from app.features.presence import PresenceFeature
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.close import REVOKED, Selector
from app.protocol.messages import ClientMessage, MessageError
from tests.features.conftest import Member


@pytest.fixture
async def presence(node: Node) -> AsyncIterator[PresenceFeature]:
    feature = PresenceFeature(node, retry_seconds=0.001)
    yield feature
    feature.close()


async def watch(presence: PresenceFeature, member: Member) -> dict[int, int]:
    """Return the connections of each device, as the answer has them."""
    outcome = await handle(presence, member, "presence.watch")
    assert isinstance(outcome, Reply)
    assert outcome.type == "presence.devices"
    return {one["device_id"]: one["connections"] for one in outcome.payload["devices"]}


async def handle(presence: PresenceFeature, member: Member, type_: str) -> Outcome:
    return presence.handle(member.connection, ClientMessage(type_))


def changed(device_id: int, connections: int) -> dict[str, Any]:
    payload = {"device_id": device_id, "connections": connections}
    return {"type": "presence.changed", "payload": payload}


LIST_CHANGED = {"type": "presence.list_changed", "payload": None}


async def tick() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_who_watches_is_told_of_each_connection_that_comes_and_goes(
    node: Node, presence: PresenceFeature
) -> None:
    phone = Member(node, 1, 1)
    assert await watch(presence, phone) == {1: 1}
    laptop = Member(node, 1, 2)
    await tick()
    assert phone.heard() == [changed(2, 1)]
    laptop.leave()
    await tick()
    assert phone.heard() == [changed(2, 0)]


async def test_the_answer_has_what_is_about_to_be_told(
    node: Node, presence: PresenceFeature
) -> None:
    phone = Member(node, 1, 1)
    await watch(presence, phone)
    tab = Member(node, 1, 1, "tab")
    assert await watch(presence, tab) == {1: 2}
    await tick()
    assert tab.heard() == []
    assert phone.heard() == [changed(1, 2)]


async def test_all_changes_of_a_tick_are_told_once(node: Node, presence: PresenceFeature) -> None:
    phone = Member(node, 1, 1)
    await watch(presence, phone)
    for name in "abc":
        Member(node, 1, 2, name)
    Member(node, 1, 3).leave()
    await tick()
    assert phone.heard() == [changed(2, 3)]


async def test_a_replaced_connection_changes_no_number(
    node: Node, presence: PresenceFeature
) -> None:
    phone, old = Member(node, 1, 1), Member(node, 1, 2)
    await watch(presence, phone)
    Member(node, 1, 2)
    old.leave()
    await tick()
    assert phone.heard() == []


async def test_one_connection_too_many_changes_no_number(
    node: Node, presence: PresenceFeature
) -> None:
    phone = Member(node, 1, 1)
    for name in "abc":
        Member(node, 1, 2, name)
    await watch(presence, phone)
    Member(node, 1, 2, "d")
    await tick()
    assert phone.heard() == []


async def test_a_revoked_device_goes_at_once_and_only_once(
    node: Node, presence: PresenceFeature
) -> None:
    phone, lost = Member(node, 1, 1), Member(node, 1, 2)
    await watch(presence, phone)
    node.disconnect(Selector(user_id=1, device_id=2), REVOKED)
    await tick()
    assert phone.heard() == [changed(2, 0)]
    lost.leave()
    await tick()
    assert phone.heard() == []


async def test_nobody_is_told_of_another_user(node: Node, presence: PresenceFeature) -> None:
    ada, bob = Member(node, 1, 1), Member(node, 2, 5)
    assert await watch(presence, ada) == {1: 1}
    assert await watch(presence, bob) == {5: 1}
    Member(node, 2, 6)
    presence.list_changed(2)
    await tick()
    assert ada.heard() == []
    assert bob.heard() == [LIST_CHANGED, changed(6, 1)]


async def test_who_does_not_watch_any_more_is_told_nothing(
    node: Node, presence: PresenceFeature
) -> None:
    phone = Member(node, 1, 1)
    await watch(presence, phone)
    assert await handle(presence, phone, "presence.unwatch") is None
    assert node.manager.watcher is None
    Member(node, 1, 2)
    presence.list_changed(1)
    await tick()
    assert phone.heard() == []


async def test_other_types_are_unknown(node: Node, presence: PresenceFeature) -> None:
    with pytest.raises(MessageError) as caught:
        await handle(presence, Member(node, 1, 1), "presence.changed")
    assert caught.value.code == "unknown_type"


async def test_who_could_take_nothing_is_told_everything_later(
    node: Node, presence: PresenceFeature
) -> None:
    phone = Member(node, 1, 1)
    await watch(presence, phone)
    phone.clog()
    Member(node, 1, 2)
    await tick()
    presence.list_changed(1)
    laptop = Member(node, 1, 3)
    await tick()
    laptop.leave()
    await tick()
    phone.unclog()
    assert phone.heard() == []
    async with asyncio.timeout(PATIENCE):
        while not (heard := phone.heard()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    devices = [{"device_id": 1, "connections": 1}, {"device_id": 2, "connections": 1}]
    assert heard == [{"type": "presence.devices", "payload": {"devices": devices}}, LIST_CHANGED]
    Member(node, 1, 4)
    await tick()
    assert phone.heard() == [changed(4, 1)]


async def test_a_slow_connection_holds_up_no_other(node: Node, presence: PresenceFeature) -> None:
    slow, quick = Member(node, 1, 1), Member(node, 1, 2)
    await watch(presence, slow)
    await watch(presence, quick)
    slow.clog()
    Member(node, 1, 3)
    await tick()
    assert quick.heard() == [changed(3, 1)]


async def test_nothing_is_kept_of_a_connection_that_has_ended(
    node: Node, presence: PresenceFeature
) -> None:
    user = 4711
    phone, slow = Member(node, user, 1), Member(node, user, 2)
    for member in (phone, slow):
        await watch(presence, member)
    slow.clog()
    Member(node, user, 3).leave()
    other = Member(node, user, 4)
    await tick()
    for member in (phone, slow, other):
        member.leave()
    assert node.manager.watcher is None
    await tick()
    del phone, slow, other, member
    gc.collect()
    alive = [one for one in gc.get_objects() if isinstance(one, Connection)]
    assert [one for one in alive if one.user_id == user] == []


async def test_who_has_gone_already_cannot_begin_to_watch(
    node: Node, presence: PresenceFeature
) -> None:
    phone = Member(node, 1, 1)
    phone.leave()
    assert await watch(presence, phone) == {}
    assert node.manager.watcher is None


async def test_after_the_end_nobody_is_told_anything(node: Node, presence: PresenceFeature) -> None:
    phone = Member(node, 1, 1)
    await watch(presence, phone)
    Member(node, 1, 2)
    presence.close()
    presence.list_changed(1)
    await tick()
    assert phone.heard() == []
