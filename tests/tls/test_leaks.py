"""Connections that have ended leave nothing behind, in whatever way they ended."""

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from serving import Device, RawPeer, Server, masked
from websockets.exceptions import InvalidStatus

from app.keys import ADMISSION, NODE
from app.node.connection import Connection
from app.protocol.close import REVOKED, Selector
from app.websocket.tap import Tap
from app.websocket.wire import SocketWire

ROUND = 25
"""Connections that end in each way; all ways, twice, make more than 300."""

Way = Callable[[Server, Device], Awaitable[None]]


async def closed_by_the_peer(server: Server, device: Device) -> None:
    peers = [await server.connect(device, f"?instance=i{number}") for number in range(ROUND)]
    for peer in peers:
        await peer.close()


async def aborted(server: Server, device: Device) -> None:
    for _ in range(ROUND):
        peer = await RawPeer.upgrade(server, device)
        peer.write(masked(b'{"type":"ping"}', fin=False))
        peer.abort()


async def replaced(server: Server, device: Device) -> None:
    peers = [await server.connect(device) for _ in range(ROUND)]
    for peer in peers[:-1]:
        assert await peer.closed() == (1000, "replaced")
    await peers[-1].close()


async def rate_limited(server: Server, device: Device) -> None:
    for _ in range(ROUND):
        peer = await RawPeer.upgrade(server, device)
        peer.write(masked(b"", opcode=9) * 500)
        assert await peer.close_code() == 4003
        peer.abort()


async def refused(server: Server, device: Device) -> None:
    stranger = Device("x" * 43, device.user_id, device.device_id, 0)
    for _ in range(ROUND):
        with pytest.raises(InvalidStatus) as refusal:
            await server.open(stranger)
        assert refusal.value.response.status_code == 401


async def closed_while_data_waits(server: Server, device: Device) -> None:
    node = server.app[NODE]
    peers = []
    for number in range(ROUND):
        peer = await RawPeer.upgrade(server, await server.device(f"stuck-{number % 5}"))
        peer.writer.transport.pause_reading()
        peers.append(peer)
        [connection] = server.manager.connections()
        while connection.send(b"\x82\x7e\xff\xff" + bytes(65_535)):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert node.disconnect(Selector(connection_id=connection.connection_id), REVOKED) == 1
    for peer in peers:
        peer.abort()


WAYS: tuple[Way, ...] = (
    closed_by_the_peer,
    aborted,
    replaced,
    rate_limited,
    refused,
    closed_while_data_waits,
)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def state_of(server: Server) -> Counter[str]:
    """Return how much there is of everything that the server keeps for a connection."""
    node, admission = server.app[NODE], server.app[ADMISSION]
    return +Counter(
        {
            "tasks": len(asyncio.all_tasks()),
            "registered": server.manager.connection_count,
            "users": server.manager.user_count,
            "live": len(node.live),
            "arrivals": len(node.deadlines.arrivals.since),
            "unfinished": node.deadlines.arrivals.held,
            "slow": len(node.outgoing.slow),
            "dirty": len(node.outgoing.dirty),
            "admitted": admission.connections,
            "handshakes": admission.handshakes,
            "addresses": admission.addresses,
            "descriptors": descriptors(),
        }
    )


async def more_than(before: Counter[str], server: Server) -> Counter[str]:
    """Return what the server keeps beyond this once it has had time to let go of it."""
    with suppress(TimeoutError):
        await server.until(lambda: not state_of(server) - before)
    return state_of(server) - before


def left_alive() -> list[object]:
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, (Connection, SocketWire, Tap))]


async def go(server: Server, device: Device, ways: tuple[Way, ...]) -> None:
    """End connections in each of these ways, and forget the peers."""
    for way in ways:
        await way(server, device)
        await server.until(lambda: not server.app[NODE].live)
        await server.forget_peers()


@pytest.mark.parametrize("serve", ["plain", "tls"], indirect=True)
async def test_nothing_is_left_of_300_connections(serve) -> None:
    alive = left_alive()
    server = await serve(
        close_seconds=0.05,
        messages_per_second=0.001,
        messages_burst=50,
        max_connections_per_device=ROUND,
        heartbeat_seconds=1,
    )
    device = await server.device()
    own_tasks = len(asyncio.all_tasks())
    # The first round makes what is made once, such as the threads of the database.
    await go(server, device, WAYS)
    await server.until(lambda: len(asyncio.all_tasks()) == own_tasks)
    before = state_of(server)
    assert before.keys() == {"tasks", "descriptors"}
    await go(server, device, WAYS)
    assert await more_than(before, server) == Counter()
    assert left_alive() == alive
