"""Presence over real sockets: the many ways in which connections and devices come and go."""

import time
from typing import Any

import jwt
import pytest
from serving import PASSWORD, Device, Peer, RawPeer, Server

from app.auth.accounts import SignIn
from app.keys import ACCOUNTS, SESSIONS

SECRET = "a secret of the application, long enough"


async def watch(peer: Peer) -> dict[int, int]:
    answer = await peer.ask("presence.watch")
    assert answer["type"] == "presence.devices"
    return {one["device_id"]: one["connections"] for one in answer["payload"]["devices"]}


async def told(peer: Peer) -> tuple[int, int]:
    """Return the device and its number of connections of the next message."""
    message = await peer.receive()
    assert message["type"] == "presence.changed"
    assert set(message) == {"type", "payload"}
    return message["payload"]["device_id"], message["payload"]["connections"]


async def list_changed(peer: Peer) -> None:
    assert await peer.receive() == {"type": "presence.list_changed", "payload": None}


async def test_devices_come_and_go_before_the_eyes_of_who_watches(
    server: Server, phone: Device, laptop: Device
) -> None:
    watching = await server.connect(phone)
    assert await watch(watching) == {phone.device_id: 1}
    one = await server.connect(laptop, "?instance=one")
    assert await told(watching) == (laptop.device_id, 1)
    two = await server.connect(laptop, "?instance=two")
    assert await told(watching) == (laptop.device_id, 2)
    await one.close()
    assert await told(watching) == (laptop.device_id, 1)
    await two.close()
    assert await told(watching) == (laptop.device_id, 0)
    await watching.silence()


async def test_a_connection_that_breaks_off_is_told_too(
    server: Server, phone: Device, laptop: Device
) -> None:
    watching = await server.connect(phone)
    raw = await RawPeer.upgrade(server, laptop)
    await server.until(lambda: server.manager.connection_count == 2)
    assert await watch(watching) == {phone.device_id: 1, laptop.device_id: 1}
    raw.abort()
    assert await told(watching) == (laptop.device_id, 0)


async def test_without_an_id_the_list_comes_too(server: Server, phone: Device) -> None:
    watching = await server.connect(phone)
    await watching.send("presence.watch")
    assert await watching.receive() == {
        "type": "presence.devices",
        "payload": {"devices": [{"device_id": phone.device_id, "connections": 1}]},
    }


async def test_the_next_connection_of_an_instance_begins_unwatched(
    server: Server, phone: Device, laptop: Device
) -> None:
    await watch(await server.connect(phone))
    again = await server.connect(phone)
    await server.connect(laptop)
    await again.silence()
    assert server.manager.watcher is None


async def test_unwatching_is_answered_and_ends_it(
    server: Server, phone: Device, laptop: Device
) -> None:
    peer = await server.connect(phone)
    await watch(peer)
    assert (await peer.ask("presence.unwatch"))["type"] == "ok"
    await server.connect(laptop)
    await peer.silence()


async def test_devices_added_renamed_and_removed_are_announced(
    server: Server, phone: Device, laptop: Device
) -> None:
    peer = await server.connect(phone)
    accounts = server.app[ACCOUNTS]
    await watch(peer)
    tv = await server.device("tv")
    await list_changed(peer)
    await server.device("tv")
    await peer.silence()
    await accounts.rename_device(phone.user_id, laptop.device_id, "Laptop")
    await list_changed(peer)
    form = SignIn("ada", PASSWORD, "uuid-tv-ada", "web", "Telly")
    await accounts.sign_in(form, "192.0.2.1")
    await list_changed(peer)
    server.end(await accounts.revoke_device(tv.device_id))
    await list_changed(peer)
    identity = await server.app[SESSIONS].resolve(phone.token, "header")
    revoked, ended = await accounts.revoke_other_devices(identity)
    server.end(ended)
    assert revoked == [laptop.device_id]
    await list_changed(peer)
    await peer.silence()


async def test_a_revoked_device_is_off_for_who_watches(
    server: Server, phone: Device, laptop: Device
) -> None:
    watching, lost = await server.connect(phone), await server.connect(laptop)
    await watch(watching)
    server.end(await server.app[ACCOUNTS].revoke_device(laptop.device_id))
    await list_changed(watching)
    assert await told(watching) == (laptop.device_id, 0)
    assert await lost.closed() == (4502, "revoked")


async def test_the_device_that_the_limit_removes_is_announced(serve: Any) -> None:
    server = await serve(max_devices_per_user=2)
    await server.device("old")
    phone = await server.device("phone")
    peer = await server.connect(phone)
    await watch(peer)
    await server.device("new")
    await list_changed(peer)


async def test_the_first_use_of_a_jwt_announces_its_device(serve: Any) -> None:
    server = await serve(
        jwt_algorithm="HS256", jwt_secret=SECRET, jwt_issuer="https://a.example", jwt_audience="sb"
    )

    now = int(time.time())

    def token(device: str) -> dict[str, str]:
        times = {"iat": now, "exp": now + 3600}
        claims = {"iss": "https://a.example", "aud": "sb", "sub": "7", "device_id": device}
        return {"Authorization": jwt.encode({**claims, **times}, SECRET, algorithm="HS256")}

    watching = await server.open(headers=token("outside-0001"))
    assert (await watching.receive())["type"] == "connected"
    await watch(watching)
    other = await server.open(headers=token("outside-0002"))
    device_id = (await other.receive())["payload"]["device_id"]
    await list_changed(watching)
    assert await told(watching) == (device_id, 1)


@pytest.mark.parametrize("type_", ["presence.changed", "presence.watch", "presence.x"])
async def test_no_device_sends_presence_to_others(
    server: Server, phone: Device, type_: str
) -> None:
    peer = await server.connect(phone)
    answer = await peer.ask("device.send", {"to": "user", "type": type_})
    assert (answer["type"], answer["payload"]["code"]) == ("error", "forbidden")


async def test_everything_ends_while_all_watch(serve: Any) -> None:
    server = await serve()
    peers = []
    for number in range(4):
        device = await server.device(f"d{number}")
        peers += [await server.connect(device, f"?instance={name}") for name in "ab"]
    for peer in peers:
        await peer.send("presence.watch")
    await server.until(lambda: sum(one.inflow.frames for one in server.manager.connections()) == 8)
    for peer in peers:
        await peer.close()
    await server.until(lambda: server.manager.watcher is None)
    assert server.manager.connection_count == 0
