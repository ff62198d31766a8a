"""How connections live beside each other, and how they end."""

import asyncio
import logging
import time

import jwt
import pytest
from serving import NO_LIMITS, PASSWORD, Device, Peer, RawPeer, Server, masked
from websockets.exceptions import ConnectionClosed

from app.base.errors import Problem
from app.keys import ACCOUNTS, METRICS, NODE, SESSIONS
from app.protocol.close import SHUTTING_DOWN, Selector


async def fill(sender: Peer) -> int:
    """Send to the others until none of them can take any more; return how many were taken."""
    taken = 0
    while True:
        answer = await sender.ask(
            "device.send", {"to": "others", "type": "n.x", "payload": "x" * 30_000}
        )
        if not answer["payload"]["delivered"]:
            return taken
        taken += 1


async def test_a_close_without_a_code_is_counted_by_the_number_that_says_so(
    server: Server, phone: Device
) -> None:
    peer = await RawPeer.upgrade(server, phone)
    peer.write(masked(b"", opcode=8))
    await peer.ended()
    await server.until(lambda: server.app[METRICS].closed)
    assert dict(server.app[METRICS].closed) == {"1005": 1}


async def test_the_same_instance_again_replaces_the_old_one(server: Server, phone: Device) -> None:
    old = await server.connect(phone)
    new = await server.connect(phone)
    assert await old.closed() == (1000, "replaced")
    await new.silence()
    assert server.manager.connection_count == 1


async def test_the_end_of_a_replaced_connection_leaves_its_successor(
    server: Server, phone: Device, laptop: Device
) -> None:
    old = await RawPeer.upgrade(server, phone)
    new = await server.connect(phone)
    await old.ended()
    await server.until(lambda: len(server.app[NODE].live) == 1)
    sender = await server.connect(laptop)
    answer = await sender.ask(
        "device.send", {"to": phone.device_id, "type": "note.text", "payload": 1}
    )
    assert answer["payload"] == {"delivered": [phone.device_id]}
    assert (await new.receive())["payload"] == 1


async def test_a_replaced_connection_acts_no_more(
    server: Server, phone: Device, laptop: Device
) -> None:
    receiver = await server.connect(laptop)
    old = await RawPeer.upgrade(server, phone)
    new = await server.connect(phone)
    # It has not answered the close frame, so its socket is still there.
    old.write(
        masked(b'{"type":"device.send","payload":{"to":"others","type":"old.x","payload":1}}')
    )
    await old.ended()
    await new.send("device.send", {"to": "others", "type": "new.x"})
    assert (await receiver.receive())["type"] == "new.x"


async def test_tabs_of_a_browser_live_side_by_side(server: Server, phone: Device) -> None:
    origin = {"Origin": f"http://{server.host}"}
    tabs = [await server.open(phone, headers=origin) for _ in range(3)]
    instances = {(await tab.receive())["payload"]["instance"] for tab in tabs}
    assert len(instances) == 3
    for tab in tabs:
        await tab.silence()


async def test_a_tab_takes_its_place_again_with_its_instance(server: Server, phone: Device) -> None:
    origin = {"Origin": f"http://{server.host}"}
    tab = await server.open(phone, headers=origin)
    instance = (await tab.receive())["payload"]["instance"]
    again = await server.open(phone, f"?instance={instance}", headers=origin)
    assert (await again.receive())["payload"]["instance"] == instance
    assert await tab.closed() == (1000, "replaced")


async def test_the_17th_connection_closes_the_one_quiet_longest(
    server: Server, phone: Device
) -> None:
    peers = [await server.connect(phone, f"?instance=i{number}") for number in range(16)]
    await peers[0].silence()
    await server.connect(phone, "?instance=one_more")
    assert await peers[1].closed() == (1000, "too_many")
    await peers[0].silence()
    assert server.manager.connection_count == 16


async def test_a_device_that_leaves_is_gone_and_disturbs_nobody(
    server: Server, phone: Device, laptop: Device
) -> None:
    leaving, staying = await server.connect(phone), await server.connect(laptop)
    await leaving.close()
    await server.until(lambda: not server.manager.is_device_connected(1, phone.device_id))
    assert server.manager.get_connected_devices(phone.user_id) == [laptop.device_id]
    await staying.silence()


async def test_a_peer_that_drops_its_connection_is_gone(server: Server, phone: Device) -> None:
    peer = await RawPeer.upgrade(server, phone)
    peer.abort()
    await server.until(lambda: server.manager.connection_count == 0)


async def test_a_peer_that_vanished_while_idle_is_ended(serve, caplog) -> None:
    caplog.set_level(logging.INFO)
    server = await serve(heartbeat_seconds=0.2)
    phone = await server.device()
    peer = await RawPeer.upgrade(server, phone)
    # Like a stopped process: the system acknowledges bytes, nobody answers pings.
    await server.until(lambda: server.manager.connection_count == 0)
    assert await peer.close_code() == 4001
    peer.abort()


async def test_a_peer_that_vanished_with_unsent_data_is_ended(serve) -> None:
    server = await serve(heartbeat_seconds=0.2, stall_seconds=1, **NO_LIMITS)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    stalled = await RawPeer.upgrade(server, phone)
    sender = await server.connect(laptop)
    stalled.writer.transport.pause_reading()
    while server.manager.is_device_connected(1, phone.device_id):
        await sender.ask("device.send", {"to": "others", "type": "n.x", "payload": "x" * 30_000})
    await server.until(lambda: len(server.app[NODE].live) == 1)
    assert not server.app[NODE].outgoing.slow
    stalled.abort()


async def test_silence_of_the_application_never_closes(serve) -> None:
    # A pong has half of it: if the machine stops the loop that long, the server closes for nothing.
    server = await serve(heartbeat_seconds=0.5)
    peer = await server.connect(await server.device())
    [connection] = server.manager.connections()
    for _ in range(3):
        await server.until(lambda: connection.pulse.awaited_pong is not None)
        await server.until(lambda: connection.pulse.awaited_pong is None)
    assert server.manager.connections() == [connection]
    await peer.silence()


async def test_only_the_answer_to_our_own_ping_counts_as_life(serve) -> None:
    server = await serve(heartbeat_seconds=0.2)
    phone = await server.device()
    peer = await RawPeer.upgrade(server, phone)

    async def chatter() -> None:
        while True:
            peer.write(masked(b"wrong!!!", opcode=10) + masked(b"", opcode=9))
            await peer.writer.drain()
            await asyncio.sleep(0.01)

    chatting = asyncio.create_task(chatter())
    assert await peer.close_code() == 4001
    chatting.cancel()
    peer.abort()


async def test_a_slow_reader_does_not_delay_the_others(
    server: Server, phone: Device, laptop: Device
) -> None:
    slow = await RawPeer.upgrade(server, await server.device("tv"))
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    slow.writer.transport.pause_reading()
    for number in range(100):
        await sender.send(
            "device.send", {"to": "others", "type": "n.x", "payload": [number, "x" * 2000]}
        )
        assert (await receiver.receive())["payload"][0] == number
    slow.abort()


async def test_what_waits_for_a_slow_reader_is_bounded_and_arrives_in_order(serve) -> None:
    server = await serve(**NO_LIMITS, max_outbox_bytes=100_000)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    slow = await RawPeer.upgrade(server, laptop)
    await slow.frame()
    slow.writer.transport.pause_reading()
    sender = await server.connect(phone)
    delivered = 0
    for number in range(400):
        answer = await sender.ask(
            "device.send", {"to": "others", "type": "n.x", "payload": [number, "x" * 30_000]}
        )
        delivered += len(answer["payload"]["delivered"])
    connection = server.manager.connections(Selector(device_id=laptop.device_id))[0]
    assert 0 < delivered < 400
    assert connection.dropped == 400 - delivered
    assert connection.backlog_bytes <= 100_000
    slow.writer.transport.resume_reading()
    import json

    numbers = []
    while len(numbers) < delivered:
        opcode, payload = await slow.frame()
        if opcode == 1:
            numbers.append(json.loads(payload)["payload"][0])
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    slow.abort()


async def test_a_peer_that_does_not_read_its_own_answers_is_not_read_either(serve) -> None:
    server = await serve(**NO_LIMITS, max_outbox_frames=4, heartbeat_seconds=60)
    phone = await server.device()
    peer = await RawPeer.upgrade(server, phone)
    peer.writer.transport.pause_reading()
    (connection,) = server.manager.connections()
    ping = masked(b"x" * 100, opcode=9)
    sent = 0
    while not connection.full:
        peer.write(ping * 1000)
        sent += 1000
        await asyncio.sleep(0)
    frames = connection.inflow.frames
    assert frames < sent
    assert connection.backlog <= 5
    peer.abort()


async def test_a_peer_that_does_not_answer_a_close_is_dropped(
    server: Server, phone: Device
) -> None:
    peer = await RawPeer.upgrade(server, phone)
    await server.connect(phone)
    assert await peer.close_code() == 1000
    await peer.ended()
    await server.until(lambda: len(server.app[NODE].live) == 1)


async def test_a_peer_that_reads_nothing_does_not_hold_its_close(serve) -> None:
    server = await serve(**NO_LIMITS)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    stuck = await RawPeer.upgrade(server, laptop)
    stuck.writer.transport.pause_reading()
    sender = await server.connect(phone)
    await fill(sender)
    server.end(await server.app[ACCOUNTS].revoke_device(laptop.device_id))
    await server.until(lambda: len(server.app[NODE].live) == 1)
    stuck.abort()


async def test_the_peers_close_is_answered(server: Server, phone: Device) -> None:
    peer = await RawPeer.upgrade(server, phone)
    await peer.frame()
    peer.write(masked((1000).to_bytes(2, "big"), opcode=8))
    assert (await peer.frame())[0] == 8
    await peer.ended()


async def test_goaway_is_for_those_who_gave_a_parameter(server: Server, phone: Device) -> None:
    positioned = await server.connect(phone, "?instance=a")
    plain = await server.connect(phone)
    closing = asyncio.ensure_future(server.app[NODE].close_all(5))
    farewell = await positioned.receive()
    assert farewell["type"] == "goaway"
    assert farewell["payload"]["reason"] == "shutting_down"
    assert farewell["payload"]["reconnect"] is True
    with pytest.raises(ConnectionClosed):
        await plain.receive()
    assert await positioned.closed() == (1001, "shutting_down")
    await closing


async def test_at_a_stop_what_waits_is_sent_first(serve) -> None:
    server = await serve(**NO_LIMITS, heartbeat_seconds=60)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    slow = await RawPeer.upgrade(server, laptop)
    slow.writer.transport.pause_reading()
    sender = await server.connect(phone)
    (connection,) = server.manager.connections(Selector(device_id=laptop.device_id))
    delivered = await fill(sender)
    closing = asyncio.ensure_future(server.app[NODE].close_all(5))
    slow.writer.transport.resume_reading()
    received = 0
    while (frame := await slow.frame())[0] != 8:
        received += b'"n.x"' in frame[1]
    assert int.from_bytes(frame[1][:2], "big") == SHUTTING_DOWN.code
    assert received == delivered
    assert connection.dropped == 1
    slow.abort()
    await closing


async def test_signing_out_closes_the_sockets_of_this_session_only(server: Server) -> None:
    one, two = await server.device("phone"), await server.device("phone")
    assert one.device_id == two.device_id
    ended, stays = (
        await server.connect(one, "?instance=a"),
        await server.connect(two, "?instance=b"),
    )
    identity = await server.app[SESSIONS].resolve(one.token, "header")
    server.end(await server.app[ACCOUNTS].sign_out(identity))
    assert await ended.closed() == (1000, "signed_out")
    await stays.silence()


async def test_revoking_a_device_closes_all_its_sockets(
    server: Server, phone: Device, laptop: Device
) -> None:
    tabs = [await server.connect(phone, f"?instance={name}") for name in "ab"]
    other = await server.connect(laptop)
    server.end(await server.app[ACCOUNTS].revoke_device(phone.device_id))
    for tab in tabs:
        assert await tab.closed() == (4502, "revoked")
    await other.silence()


async def test_disabling_a_user_closes_everything_of_theirs(server: Server, phone: Device) -> None:
    bob = await server.connect(await server.device("x", handle="bob"))
    mine = await server.connect(phone)
    server.end(await server.app[ACCOUNTS].disable_user(phone.user_id))
    assert await mine.closed() == (4502, "revoked")
    await bob.silence()


async def test_a_changed_password_closes_all_but_the_session_that_changed_it(
    server: Server, phone: Device, laptop: Device
) -> None:
    mine, other = await server.connect(phone), await server.connect(laptop)
    identity = await server.app[SESSIONS].resolve(phone.token, "header")
    accounts = server.app[ACCOUNTS]
    server.end(await accounts.change_password(identity, PASSWORD, "another good one"))
    assert await other.closed() == (4502, "revoked")
    await mine.silence()


async def test_at_the_limit_of_sessions_one_without_a_connection_goes_first(serve) -> None:
    server = await serve(max_sessions_per_user=2)
    oldest = await server.connect(await server.device("one"))
    away = await server.device("two")
    third = await server.device("three")
    await oldest.silence()
    with pytest.raises(Problem):
        await server.app[SESSIONS].resolve(away.token, "header")
    stays = await server.connect(third)
    await server.device("four")
    assert await oldest.closed() == (4502, "revoked")
    await stays.silence()


async def test_the_device_pruned_at_the_limit_is_closed(serve) -> None:
    server = await serve(max_devices_per_user=2)
    oldest = await server.connect(await server.device("one"))
    stays = await server.connect(await server.device("two"))
    await stays.silence()
    await server.device("three")
    assert await oldest.closed() == (4502, "revoked")
    await stays.silence()


async def test_at_the_device_limit_a_device_that_is_away_goes_first(serve) -> None:
    server = await serve(max_devices_per_user=2)
    stays = await server.connect(await server.device("one"))
    away = await server.device("two")
    await server.device("three")
    with pytest.raises(Problem):
        await server.app[SESSIONS].resolve(away.token, "header")
    await stays.silence()


async def test_a_session_that_ended_during_the_upgrade_is_closed_at_once(
    server: Server, phone: Device, monkeypatch
) -> None:
    sessions = server.app[SESSIONS]
    resolve = sessions.resolve

    async def and_then_it_ends(token, via):
        identity = await resolve(token, via)
        server.end(await server.app[ACCOUNTS].revoke_device(phone.device_id))
        return identity

    monkeypatch.setattr(sessions, "resolve", and_then_it_ends)
    peer = await server.open(phone)
    assert await peer.closed() == (4502, "revoked")
    assert server.manager.connection_count == 0


async def test_a_jwt_lets_in_and_its_expiry_lets_out(serve) -> None:
    secret = "s" * 32
    server = await serve(
        jwt_algorithm="HS256", jwt_secret=secret, jwt_issuer="app", jwt_audience="us"
    )
    now = time.time()
    claims = {"iss": "app", "aud": "us", "sub": "u1", "iat": int(now), "exp": int(now) + 2}
    token = jwt.encode({**claims, "device_id": "phone-0001"}, secret, "HS256")
    peer = await server.open(headers={"Authorization": f"Bearer {token}"})
    assert (await peer.receive())["type"] == "connected"
    assert await peer.closed() == (4501, "session_expired")
    assert time.time() >= int(now) + 2


async def test_each_connection_has_one_line_at_its_start_and_one_at_its_end(
    server: Server, phone: Device, caplog
) -> None:
    caplog.set_level(logging.DEBUG, logger="app")
    peer = await server.connect(phone)
    await peer.send("ping", "the payload")
    await peer.receive()
    await peer.close()
    await server.until(lambda: not server.app[NODE].live)
    lines = [record for record in caplog.records if record.name == "app.websocket.handler"]
    assert [line.getMessage() for line in lines] == ["connected", "disconnected"]
    who = {"user": 1, "device": phone.device_id, "instance": "default", "address": "127.0.0.1"}
    assert who.items() <= lines[0].fields.items()
    end = lines[1].fields
    assert who.items() <= end.items()
    assert (end["frames_in"], end["frames_out"], end["code"]) == (1, 2, 1000)
    assert not [record for record in caplog.records if phone.token in str(record.__dict__)]
    assert not [record for record in caplog.records if "the payload" in str(record.__dict__)]
