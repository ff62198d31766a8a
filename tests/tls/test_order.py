"""Frames arrive whole and in order, and nothing follows a close frame."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from serving import NO_LIMITS, PATIENCE, RawPeer, Server, masked

from app.keys import NODE
from app.node.connection import Connection
from app.protocol.close import REVOKED, SHUTTING_DOWN, Selector
from app.protocol.frames import frame

ROUNDS = 8
CLOSE = 8


@dataclass
class Senders:
    """Tasks that send numbered frames to one connection, and go on after its end."""

    connection: Connection
    random: random.Random
    size: int
    taken: list[int] = field(default_factory=list)
    _next: int = 0

    async def run(self, count: int) -> None:
        for _ in range(count):
            number, self._next = self._next, self._next + 1
            payload = b"%d " % number + bytes(self.random.randrange(self.size))
            if self.connection.send(frame(payload)):
                self.taken.append(number)
            for _ in range(self.random.choice((0, 0, 0, 1, 2))):
                await asyncio.sleep(0)


async def all_frames(peer: RawPeer) -> list[tuple[int, bytes]]:
    """Return every frame up to the end of the stream, answering a close frame."""
    frames = []
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            frames.append(await peer.frame())
            if frames[-1][0] == CLOSE:
                peer.write(masked(frames[-1][1], opcode=CLOSE))
                async with asyncio.timeout(PATIENCE):
                    assert await peer.reader.read() == b"", "something follows the close frame"
    return frames


async def revoke(server: Server, connection: Connection, peer: RawPeer) -> None:
    server.app[NODE].disconnect(Selector(connection_id=connection.connection_id), REVOKED)


async def stop(server: Server, connection: Connection, peer: RawPeer) -> None:
    """Close it as a stop does; what waits is sent first."""
    server.manager.unregister(connection)
    connection.disconnect(SHUTTING_DOWN, keep_outbox=True)


async def leave(server: Server, connection: Connection, peer: RawPeer) -> None:
    peer.write(masked((1000).to_bytes(2, "big"), opcode=CLOSE))


async def break_the_protocol(server: Server, connection: Connection, peer: RawPeer) -> None:
    peer.write(b"\xf1\x80\0\0\0\0")


async def leave_and_be_revoked(server: Server, connection: Connection, peer: RawPeer) -> None:
    await leave(server, connection, peer)
    for _ in range(random.randrange(4)):
        await asyncio.sleep(0)
    await revoke(server, connection, peer)


CODES = {
    revoke: {4502},
    stop: {1001},
    leave: {1000},
    break_the_protocol: {1002},
    leave_and_be_revoked: {1000, 4502},
}


@pytest.mark.parametrize("serve", ["plain", "tls"], indirect=True)
@pytest.mark.parametrize("end", CODES, ids=lambda end: end.__name__)
async def test_nothing_follows_the_close_frame_and_nothing_is_out_of_order(serve, end) -> None:
    server: Server = await serve(close_seconds=2, **NO_LIMITS)
    device = await server.device()
    for round_ in range(ROUNDS):
        peer = await RawPeer.upgrade(server, device)
        [connection] = server.manager.connections()
        # Small frames are joined by tick; large ones fill the transport and then the outbox.
        senders = Senders(connection, random.Random(round_), size=(100, 40_000)[round_ % 2])
        if round_ % 4 == 3:
            peer.writer.transport.pause_reading()
        sending = [asyncio.ensure_future(senders.run(150)) for _ in range(3)]
        for _ in range(10 * round_):
            await asyncio.sleep(0)
        ending = asyncio.ensure_future(end(server, connection, peer))
        await asyncio.sleep(0)
        peer.writer.transport.resume_reading()
        frames = await all_frames(peer)
        await asyncio.gather(ending, *sending)
        await server.until(lambda: not server.app[NODE].live)
        check(frames, senders.taken, CODES[end], whole=end is stop)


def check(
    frames: list[tuple[int, bytes]], taken: list[int], codes: set[int], *, whole: bool
) -> None:
    assert frames[-1][0] == CLOSE
    assert int.from_bytes(frames[-1][1][:2], "big") in codes
    assert frames[0][1].startswith(b'{"type":"connected"')
    received = [int(payload.split()[0]) for opcode, payload in frames[1:-1] if opcode == 1]
    assert received == (taken if whole else taken[: len(received)])
