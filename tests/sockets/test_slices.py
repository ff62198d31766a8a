"""What one read brings is taken in slices: all of it, in order, and with others in between."""

import asyncio
from itertools import pairwise

import pytest
from serving import NO_LIMITS, RawPeer, Server, masked

from app.protocol.close import RATE_LIMIT
from app.websocket.tap import SLICE_BYTES

OFF = NO_LIMITS
MANY = 12_000
"""Messages of one write, which comes in a few reads of up to 256 KiB."""


def ask(number: int) -> bytes:
    return masked(b'{"type":"ping","id":"%d"}' % number)


async def answers(peer: RawPeer, count: int) -> list[bytes]:
    """Return the payloads of so many answers, without what else the server says."""
    found: list[bytes] = []
    while len(found) < count:
        opcode, payload = await peer.frame()
        if opcode == 1 and b'"reply_to"' in payload:
            found.append(payload)
    return found


def numbered(numbers: range) -> list[bytes]:
    return [b'{"type":"pong","payload":null,"reply_to":"%d"}' % number for number in numbers]


async def test_many_messages_and_one_in_pieces_are_answered_in_order(serve) -> None:
    server: Server = await serve(**OFF)
    peer = await RawPeer.upgrade(server, await server.device())
    pieces = masked(b'{"type":"ping",', fin=False) + masked(b'"id":"500"}', opcode=0)
    peer.write(b"".join(map(ask, range(500))) + pieces + ask(501))
    assert await answers(peer, 502) == numbered(range(502))


async def test_somebody_else_has_an_answer_before_a_long_read_is_through(serve) -> None:
    server: Server = await serve(**OFF)
    phone, laptop = await server.device(), await server.device("laptop", "bob")
    flooding = await RawPeer.upgrade(server, phone)
    other = await server.connect(laptop)
    (connection,) = server.manager.of_user(phone.user_id)
    before = connection.inflow.frames
    flooding.write(b"".join(map(ask, range(MANY))))
    # So that the flood has arrived, in part at least.
    assert await answers(flooding, 1) == numbered(range(1))
    assert (await other.ask("ping"))["type"] == "pong"
    assert connection.inflow.frames - before < MANY / 4
    assert await answers(flooding, MANY - 1) == numbered(range(1, MANY))


@pytest.mark.parametrize("size", [SLICE_BYTES // 2, 40_000], ids=["small reads", "long reads"])
async def test_all_connections_of_a_user_together_have_one_slice_in_a_turn(serve, size) -> None:
    server: Server = await serve(**OFF)
    phone = await server.device()
    peers = [await RawPeer.upgrade(server, phone, query=f"?instance=i{n}") for n in range(12)]
    each = size // len(ask(1000))
    asked = range(1000, 1000 + each)
    connections = server.manager.of_user(phone.user_id)
    turns: list[int] = [sum(one.inflow.frames for one in connections)]
    expected = turns[0] + each * len(peers)
    for peer in peers:
        peer.write(b"".join(map(ask, asked)))
    while turns[-1] < expected:
        await asyncio.sleep(0)
        turns.append(sum(one.inflow.frames for one in connections))
    # What is taken in one turn may be handled in the next, before another slice is.
    slice_frames = SLICE_BYTES / len(ask(1000)) + 1
    assert max(b - a for a, b in pairwise(turns)) <= 2 * slice_frames
    for peer in peers:
        assert await answers(peer, each) == numbered(asked)


async def test_a_long_message_behind_small_ones_is_whole(serve) -> None:
    server: Server = await serve(**OFF)
    peer = await RawPeer.upgrade(server, await server.device())
    long = masked(b'{"type":"ping","id":"300","payload":"%s"}' % (b"x" * 60_000))
    peer.write(b"".join(map(ask, range(300))) + long + ask(301))
    assert await answers(peer, 302) == numbered(range(302))


async def test_who_floods_is_closed_in_the_middle_of_what_it_has_sent(serve) -> None:
    server: Server = await serve(messages_per_second=1, messages_burst=10)
    peer = await RawPeer.upgrade(server, await server.device())
    peer.write(b"".join(map(ask, range(MANY))))
    assert await peer.close_code() == RATE_LIMIT.code
    await server.until(lambda: not server.manager.connections())


async def test_who_leaves_behind_many_messages_leaves_nothing(serve) -> None:
    server: Server = await serve(**OFF)
    peer = await RawPeer.upgrade(server, await server.device())
    peer.write(b"".join(map(ask, range(MANY))))
    peer.abort()
    await server.until(lambda: not server.manager.connections())


async def test_who_sends_byte_by_byte_is_charged_for_its_reads(serve) -> None:
    server: Server = await serve(messages_per_second=1, messages_burst=10)
    peer = await RawPeer.upgrade(server, await server.device())
    header = masked(b"x" * 60_000)[:8]
    peer.write(header)
    closed = asyncio.create_task(peer.close_code())
    while not closed.done():
        peer.write(b"x")
        await asyncio.sleep(0)
    assert closed.result() == RATE_LIMIT.code


async def test_a_message_in_a_few_pieces_costs_no_more_than_whole(serve) -> None:
    server: Server = await serve(messages_per_second=0.001, messages_burst=2)
    peer = await RawPeer.upgrade(server, await server.device())
    for piece in (ask(0)[:2], ask(0)[2:], ask(1)):
        peer.write(piece)
        await asyncio.sleep(0)
    assert await answers(peer, 2) == numbered(range(2))
