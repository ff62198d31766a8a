"""Bad peers under TLS, where unsent bytes are in two transports."""

import json

from serving import NO_LIMITS, RawPeer, masked

from app.keys import ACCOUNTS, NODE
from app.protocol.close import Selector


def note(number: int) -> dict[str, object]:
    return {"to": "others", "type": "n.x", "payload": [number, "x" * 30_000]}


async def test_a_stalled_peer_is_aborted_and_others_are_not_delayed(serve) -> None:
    server = await serve(heartbeat_seconds=0.2, stall_seconds=1, **NO_LIMITS)
    phone, laptop, tv = [await server.device(name) for name in ("phone", "laptop", "tv")]
    stalled = await RawPeer.upgrade(server, tv)
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    stalled.writer.transport.pause_reading()
    number = 0
    while server.manager.is_device_connected(1, tv.device_id):
        await sender.ask("device.send", note(number))
        assert (await receiver.receive())["payload"][0] == number
        number += 1
    await server.until(lambda: len(server.app[NODE].deadlines.heartbeat) == 2)
    assert not server.app[NODE].outgoing.slow
    await receiver.silence()


async def test_a_peer_that_vanished_while_idle_is_ended(serve) -> None:
    server = await serve(heartbeat_seconds=0.2)
    peer = await RawPeer.upgrade(server, await server.device())
    assert await peer.close_code() == 4001
    await peer.ended()
    await server.until(lambda: not server.app[NODE].deadlines.heartbeat)


async def test_what_waits_for_a_slow_reader_is_bounded_and_arrives_in_order(serve) -> None:
    server = await serve(max_outbox_bytes=100_000, **NO_LIMITS)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    slow = await RawPeer.upgrade(server, laptop)
    slow.writer.transport.pause_reading()
    sender = await server.connect(phone)
    [connection] = server.manager.connections(Selector(device_id=laptop.device_id))
    delivered = 0
    for number in range(400):
        delivered += len((await sender.ask("device.send", note(number)))["payload"]["delivered"])
        assert connection.backlog_bytes <= 100_000
    assert 0 < delivered < 400
    assert connection.dropped == 400 - delivered
    slow.writer.transport.resume_reading()
    received = []
    while len(received) < delivered:
        opcode, payload = await slow.frame()
        if opcode == 1 and b'"n.x"' in payload[:20]:
            received.append(json.loads(payload)["payload"][0])
    assert received == sorted(received)
    assert received[0] == 0


async def test_a_peer_that_reads_nothing_does_not_hold_its_close(serve) -> None:
    server = await serve(**NO_LIMITS)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    stuck = await RawPeer.upgrade(server, laptop)
    stuck.writer.transport.pause_reading()
    sender = await server.connect(phone)
    while (await sender.ask("device.send", note(0)))["payload"]["delivered"]:
        pass
    server.end(await server.app[ACCOUNTS].revoke_device(laptop.device_id))
    await server.until(lambda: len(server.app[NODE].deadlines.heartbeat) == 1)


async def test_a_peer_that_answers_no_close_is_dropped(serve) -> None:
    server = await serve()
    phone = await server.device()
    peer = await RawPeer.upgrade(server, phone)
    await server.connect(phone)
    assert await peer.close_code() == 1000
    await peer.ended()
    await server.until(lambda: len(server.app[NODE].deadlines.heartbeat) == 1)


async def test_a_flood_ends_its_connection_and_delays_no_other(serve) -> None:
    server = await serve()
    phone, laptop = await server.device("phone"), await server.device("laptop")
    flood, other = await RawPeer.upgrade(server, phone), await server.connect(laptop)
    flood.write(masked(b"", opcode=9) * 200_000)
    for _ in range(20):
        await other.silence()
    await server.until(lambda: len(server.app[NODE].deadlines.heartbeat) == 1)
