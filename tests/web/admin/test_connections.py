"""Live connections, as an administrator sees and ends them."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from delivery_peers import append
from serving import PATIENCE

from app.keys import ACCOUNTS, NODE
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToUser
from app.web.admin import page
from app.web.admin.connections import AdminConnectionPageAnswer, TakenAnswer
from tests.web.admins import Desk
from tests.web.api import SignedIn, Start
from tests.web.backend import receive


async def open_one(
    desk: Desk, device: SignedIn, instance: str = "default"
) -> tuple[ClientWebSocketResponse, str]:
    """Return a socket of the device, and its connection id."""
    socket = await desk.api.http.ws_connect(f"/v1/ws?instance={instance}", headers=device.by_header)
    connected = await receive(socket)
    assert (await receive(socket))["type"] == "position"
    return socket, str(connected["payload"]["connection_id"])


@asynccontextmanager
async def slow_one(desk: Desk, device: SignedIn) -> AsyncIterator[str]:
    """Give the connection id of a socket of the device whose peer reads nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.api.http.port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /v1/ws?instance=slow HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        f"Authorization: {device.token}\r\n\r\n".encode()
    )
    try:
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.transport.pause_reading()
        [shown] = (await desk.get("/connections?search=slow"))["connections"]
        yield str(shown["connection_id"])
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def fill(desk: Desk, connection_id: str) -> None:
    """Send messages to the connection until it can take no more."""
    path, body = f"/connections/{connection_id}/messages", {"payload": "x" * 60_000}
    while (await desk.do("POST", path, body))["taken"]:
        pass


async def user(desk: Desk, handle: str, **fields: Any) -> SignedIn:
    await desk.api.add_user(handle)
    return await desk.api.sign_in(user_handle=handle, **fields)


async def instances(desk: Desk, query: str = "") -> list[str]:
    found = await desk.get(f"/connections{query}")
    AdminConnectionPageAnswer.model_validate(found)
    return [one["instance"] for one in found["connections"]]


async def test_a_connection_is_shown_with_all_that_is_known_of_it(start: Start) -> None:
    # No ping of ours is among the frames that are counted, however slow the machine.
    api = await start(heartbeat_seconds=3600)
    desk = Desk(api, await api.sign_in())
    bob = await user(desk, "bob", device_name="Phone", device_type="android")
    _, connection_id = await open_one(desk, bob, "one")
    found = await desk.get("/connections")
    [one] = found["connections"]
    assert found["total"] == 1
    assert one == {
        "connection_id": connection_id,
        "user_id": bob.body["user_id"],
        "user_handle": "bob",
        "device_id": bob.device_id,
        "device_name": "Phone",
        "device_type": "android",
        "instance": "one",
        "address": "127.0.0.1",
        "positioned": True,
        "behind": False,
        "tailed": False,
        "queue_frames": 0,
        "queue_bytes": 0,
        "lag": 0,
        "connected_at": one["connected_at"],
        "heard_seconds": one["heard_seconds"],
        "frames_in": 0,
        "frames_out": 2,
        "dropped": 0,
    }
    # Whole seconds since it was last heard from: a busy machine may have let some pass.
    assert 0 <= one["heard_seconds"] < 60
    assert all(type(value) is not float for value in one.values())


async def test_a_search_finds_handle_device_name_instance_address_and_id(desk: Desk) -> None:
    bob = await user(desk, "Bob", device_name="Kitchen TV")
    eve = await user(desk, "eve")
    _, first = await open_one(desk, bob, "Tab-one")
    await open_one(desk, eve, "tab-two")
    assert await instances(desk, "?search=BOB") == ["Tab-one"]
    assert await instances(desk, "?search=kitchen") == ["Tab-one"]
    assert await instances(desk, "?search=TAB-TWO") == ["tab-two"]
    assert await instances(desk, f"?search={first}") == ["Tab-one"]
    assert len(await instances(desk, "?search=127.0.0.")) == 2
    assert await instances(desk, "?search=nothing") == []
    assert await instances(desk, f"?user={eve.body['user_id']}") == ["tab-two"]
    assert await instances(desk, f"?user={eve.body['user_id']}&search=bob") == []
    assert await instances(desk, "?user=4711") == []


async def test_pages_are_sorted_and_cut_on_the_server(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "STEP", 2)
    bob = await user(desk, "bob")
    for name in "abcde":
        await open_one(desk, bob, name)
    for connection in desk.api.app[NODE].manager.connections():
        # As if they had come within one step of the clock.
        connection.started_at = 1.0
    assert await instances(desk) == list("edcba")
    assert await instances(desk, "?sort=age&order=desc") == list("abcde")
    assert await instances(desk, "?order=desc&offset=1&limit=2") == ["b", "c"]
    assert await instances(desk, "?offset=99") == []
    assert (await desk.get("/connections?limit=2"))["total"] == 5


async def test_what_waits_and_what_is_lacking_comes_first_when_asked_for(desk: Desk) -> None:
    bob, eve = await user(desk, "bob"), await user(desk, "eve")
    await open_one(desk, bob, "quick")
    async with slow_one(desk, eve) as connection_id:
        await fill(desk, connection_id)
        node, user_id = desk.api.app[NODE], eve.body["user_id"]
        # As large as the messages before it, so that it finds no place either.
        large = Publication(ToUser(user_id), "n.x", "x" * 60_000, keep=Keep("log"))
        stored = await append(node, large)
        assert await instances(desk, "?sort=queue&order=desc") == ["slow", "quick"]
        assert await instances(desk, "?sort=lag") == ["quick", "slow"]
        assert await instances(desk, "?sort=user&order=desc") == ["slow", "quick"]
        assert len(await instances(desk, "?sort=address")) == 2
        shown = (await desk.get("/connections?search=slow"))["connections"][0]
        assert shown["queue_bytes"] >= 100
        assert shown["queue_frames"] >= 1
        assert shown["dropped"] >= 1
        assert shown["lag"] == stored.offset


@pytest.mark.parametrize(
    "query",
    [
        "sort=name",
        "order=up",
        "offset=-1",
        "offset=1000001",
        "limit=201",
        "user=x",
        "user=-1",
        f"search={'x' * 65}",
    ],
)
async def test_a_parameter_out_of_its_range_is_refused(desk: Desk, query: str) -> None:
    assert await desk.refused("GET", f"/connections?{query}") == (400, "invalid_parameter")


async def test_a_closed_connection_is_told_to_come_back(desk: Desk) -> None:
    bob = await user(desk, "bob")
    one, connection_id = await open_one(desk, bob, "one")
    two, _ = await open_one(desk, bob, "two")
    assert (await desk.ask("DELETE", f"/connections/{connection_id}")).status == 204
    goaway = await receive(one)
    assert (goaway["type"], goaway["payload"]["reconnect"]) == ("goaway", True)
    message = await one.receive(timeout=PATIENCE)
    assert (message.data, message.extra) == (4004, "closed_by_operator")
    await two.send_json({"type": "ping"})
    assert (await receive(two))["type"] == "pong"
    assert await desk.refused("DELETE", f"/connections/{connection_id}") == (
        404,
        "connection_not_found",
    )
    await open_one(desk, bob, "one")


async def test_a_test_message_comes_to_one_connection_alone(desk: Desk) -> None:
    bob = await user(desk, "bob")
    one, connection_id = await open_one(desk, bob, "one")
    two, _ = await open_one(desk, bob, "two")
    path = f"/connections/{connection_id}/messages"
    answer = await desk.do("POST", path, {})
    TakenAnswer.model_validate(answer)
    assert answer == {"taken": True}
    assert await receive(one) == {"type": "test.message", "payload": None}
    await desk.do("POST", path, {"type": "note.text", "payload": {"n": 1}})
    assert await receive(one) == {"type": "note.text", "payload": {"n": 1}}
    await two.send_json({"type": "ping"})
    assert (await receive(two))["type"] == "pong"


async def test_a_connection_that_can_take_no_message_does_not(desk: Desk) -> None:
    bob = await user(desk, "bob")
    async with slow_one(desk, bob) as connection_id:
        # Ends when the connection has refused one.
        async with asyncio.timeout(60):
            await fill(desk, connection_id)
        [shown] = (await desk.get("/connections"))["connections"]
        assert shown["dropped"] >= 1


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"type": "presence.changed"}, (403, "forbidden")),
        ({"type": "connected"}, (403, "forbidden")),
        ({"type": "Not a type"}, (400, "invalid_message")),
        ({"type": 7}, (400, "invalid_body")),
        ({"payload": "x" * 65_536}, (413, "too_large")),
        ({"payload": 1 << 70}, (400, "invalid_body")),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_a_message_is_refused(
    desk: Desk, body: Any, refusal: tuple[int, str]
) -> None:
    bob = await user(desk, "bob")
    _, connection_id = await open_one(desk, bob)
    path = f"/connections/{connection_id}/messages"
    assert await desk.refused("POST", path, body) == refusal


@pytest.mark.parametrize("name", ["x", "%00", "1%2F2", "x" * 500])
async def test_an_unknown_connection_is_not_found(desk: Desk, name: str) -> None:
    assert await desk.refused("DELETE", f"/connections/{name}") == (404, "connection_not_found")
    refusal = await desk.refused("POST", f"/connections/{name}/messages", {})
    assert refusal == (404, "connection_not_found")


async def test_connections_without_names_are_shown_without_them(desk: Desk) -> None:
    bob = await user(desk, "bob")
    await open_one(desk, bob)
    accounts = desk.api.app[ACCOUNTS]
    await accounts.rename_device(bob.body["user_id"], bob.device_id, None)
    [one] = (await desk.get("/connections"))["connections"]
    assert "device_name" not in one
