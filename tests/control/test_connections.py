"""What operators see of live connections, and how they close and follow them."""

import logging
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.base.errors import NoServer, Problem
from app.control import connections, tokens, users
from app.control.actions.connections import STEP
from app.control.actions.table import act, begin
from app.control.command import Feed
from app.control.connections import (
    KICKS,
    ConnectionView,
    Kick,
    Kicked,
    TailLine,
    WhatToTail,
    WhichConnections,
)
from app.control.operations import Operations
from app.control.tokens import NewToken
from app.control.users import NewUser
from app.protocol.messages import ServerMessage
from tests.control.conftest import Connect


async def add(operations: Operations, handle: str) -> tuple[int, int]:
    """Return the ids of a new user and of their device."""
    await act(operations, users.ADD, NewUser(handle=handle, password="correct horse"))
    made = NewToken(
        user=handle, device_uuid="device-0001", device_type="web", device_name=f"{handle}'s"
    )
    issued = await act(operations, tokens.ISSUE, made)
    assert issued.device_id is not None
    return issued.user_id, issued.device_id


async def listed(operations: Operations, **which: Any) -> list[ConnectionView]:
    batches = begin(operations, connections.LIST, WhichConnections(**which))
    return [one async for batch in batches for one in batch]


async def kick(operations: Operations, **which: Any) -> Kicked:
    return await act(operations, connections.KICK, Kick(**which))


async def test_a_connection_is_listed_with_whose_it_is_and_how_it_does(
    operations: Operations, connect: Connect
) -> None:
    ada, phone = await add(operations, "ada")
    connect(ada, phone, address="192.0.2.7", connected_at=1_790_000_000.0)
    [one] = await listed(operations)
    assert (one.user_id, one.user_handle, one.device_id, one.device_name) == (
        *(ada, "ada", phone, "ada's"),
    )
    assert (one.address, one.device_type, one.connected_at) == (
        *("192.0.2.7", "web", 1_790_000_000_000),
    )
    assert (one.slow, one.behind, one.tailed, one.lag, one.queue_bytes) == (
        *(False, False, False, 0, 0),
    )
    assert (one.messages_in, one.messages_out, one.dropped) == (0, 1, 0)


async def test_a_slow_one_shows_what_waits_for_it(operations: Operations, connect: Connect) -> None:
    ada, phone = await add(operations, "ada")
    connection = connect(ada, phone)
    connection.flush()
    connection.wire.unread = 1  # type: ignore[attr-defined]
    connection.send(ServerMessage("note.text").frame)
    [one] = await listed(operations)
    assert (one.slow, one.queue_frames, one.queue_bytes) == (True, 1, connection.backlog_bytes)


async def test_those_that_match_all_that_is_given_are_listed(
    operations: Operations, connect: Connect
) -> None:
    ada, phone = await add(operations, "ada")
    bob, tablet = await add(operations, "bob")
    connect(ada, phone, address="192.0.2.7")
    connect(ada, phone + 100, address="192.0.2.8")
    last = connect(bob, tablet, address="2001:db8::1")

    async def devices(**which: Any) -> list[int]:
        return [one.device_id for one in await listed(operations, **which)]

    assert await devices() == [phone, phone + 100, tablet]
    assert await devices(user="ADA") == [phone, phone + 100]
    assert await devices(user=f"id={bob}") == [tablet]
    assert await devices(device_id=tablet) == [tablet]
    assert await devices(user="ada", device_id=tablet) == []
    assert await devices(address="192.0.2.8") == [phone + 100]
    assert await devices(address="192.0.2.0/24") == [phone, phone + 100]
    assert await devices(address="2001:DB8:0::1") == [tablet]
    assert await devices(connection_id=last.connection_id) == [tablet]


@pytest.mark.parametrize("address", ["", "nowhere", "192.0.2.0/33", "192.0.2.7; DROP"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Problem) as caught:
        connections.LIST.read_arguments({"address": address})
    assert caught.value.code == "invalid_arguments"


async def test_a_long_list_comes_in_steps_and_without_those_that_end_meanwhile(
    operations: Operations, connect: Connect
) -> None:
    everybody = [connect(user, user) for user in range(1, 3 * STEP)]
    batches = begin(operations, connections.LIST, WhichConnections())
    sizes = []
    async for batch in batches:
        sizes.append(len(batch))
        operations.running_node().manager.unregister(everybody[-1])
    assert sizes == [STEP, STEP, STEP - 2]


async def test_a_kick_closes_those_that_match_and_no_other(
    operations: Operations, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    ada, phone = await add(operations, "ada")
    bob, tablet = await add(operations, "bob")
    here, there, other = (
        connect(ada, phone),
        connect(ada, phone, instance="tab"),
        connect(bob, tablet),
    )
    with caplog.at_level(logging.INFO):
        kicked = await kick(operations, user="ada")
    assert (kicked.matched, kicked.closed, kicked.code, kicked.reconnect) == (2, 2, 4004, True)
    assert [one.is_closing() for one in (here, there, other)] == [True, True, False]
    assert operations.running_node().manager.connections() == [other]
    assert "connections kicked" in caplog.messages


@pytest.mark.parametrize("code", KICKS)
async def test_a_kick_closes_with_the_code_that_was_asked_for(
    operations: Operations, connect: Connect, code: int
) -> None:
    ada, phone = await add(operations, "ada")
    connection = connect(ada, phone)
    kicked = await kick(operations, device_id=phone, code=code)
    assert connection.closing is not None
    assert connection.closing.close is KICKS[code]
    assert (kicked.reason, kicked.reconnect) == (KICKS[code].reason, KICKS[code].reconnect)


async def test_many_are_asked_to_come_back_one_after_the_other(
    operations: Operations, connect: Connect
) -> None:
    ada, _ = await add(operations, "ada")
    several = [connect(ada, 100 + number) for number in range(5)]
    await kick(operations, user="ada")
    waits = [one.closing.after_ms for one in several if one.closing is not None]
    assert waits == [0, 1000, 2000, 3000, 4000]


async def test_a_dry_run_counts_and_closes_nothing(
    operations: Operations, connect: Connect
) -> None:
    ada, phone = await add(operations, "ada")
    connection = connect(ada, phone)
    kicked = await kick(operations, user="ada", dry_run=True)
    assert (kicked.matched, kicked.closed, connection.is_closing()) == (1, 0, False)


async def test_a_kick_of_nobody_in_particular_is_refused(
    operations: Operations, connect: Connect
) -> None:
    connection = connect(1, 1)
    with pytest.raises(Problem) as caught:
        await kick(operations)
    assert (caught.value.code, connection.is_closing()) == ("invalid_arguments", False)


class Follower:
    """An operator who follows connections."""

    def __init__(self, operations: Operations, **what: Any) -> None:
        feed: Feed[WhatToTail, TailLine] = connections.TAIL
        self._batches: AsyncGenerator[Sequence[TailLine], None] = begin(
            operations, feed, WhatToTail(**what)
        )

    async def batch(self) -> list[TailLine]:
        return list(await anext(self._batches))

    async def leave(self) -> None:
        await self._batches.aclose()


async def test_a_tail_tells_how_many_it_follows_and_then_what_passes(
    operations: Operations, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    ada, phone = await add(operations, "ada")
    connection = connect(ada, phone)
    caplog.set_level(logging.INFO)
    follower = Follower(operations, user="ada")
    [began] = await follower.batch()
    assert (began.what, began.count) == ("began", 1)
    connection.send(ServerMessage("note.text", {"secret": 1}).frame)
    [line] = await follower.batch()
    assert (line.what, line.type, line.device_id, line.payload) == ("out", "note.text", phone, None)
    await follower.leave()
    assert [one for one in caplog.messages if one.startswith("tail")] == [
        "tail began",
        "tail ended",
    ]
    assert "secret" not in caplog.text
    assert not connection.tailed


async def test_a_tail_of_one_connection_ends_with_it(
    operations: Operations, connect: Connect
) -> None:
    ada, phone = await add(operations, "ada")
    connection = connect(ada, phone)
    follower = Follower(operations, connection_id=connection.connection_id)
    await follower.batch()
    node = operations.running_node()
    node.leave(connection)
    node.retire(connection)
    assert [one.what for one in await follower.batch()] == ["closed"]
    with pytest.raises(StopAsyncIteration):
        await follower.batch()


async def test_a_tail_of_a_connection_that_is_not_there_is_refused(operations: Operations) -> None:
    with pytest.raises(Problem) as caught:
        await Follower(operations, connection_id="gone").batch()
    assert caught.value.code == "connection_not_found"


async def test_without_a_server_nobody_is_connected(operations: Operations) -> None:
    offline = replace(operations, node=None, url=None)
    with pytest.raises(NoServer):
        await listed(offline)
    with pytest.raises(NoServer):
        await kick(offline, user="ada")
    with pytest.raises(NoServer):
        await Follower(offline).batch()
