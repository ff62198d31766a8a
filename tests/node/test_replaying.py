"""After a `reset` for age: what is still kept follows, marked up to the head that was told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from delivery_peers import Peer, append, make_node
from memory_log import MemoryLog

from app.node.delivery import PAGE
from app.node.node import Node
from app.protocol.close import TOO_SLOW
from app.protocol.keep import Keep
from app.protocol.position import Position
from app.protocol.publication import Publication, ToDevice, ToEveryone, ToUser

LOG = Keep("log")


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def streams(clock: Clock) -> MemoryLog:
    return MemoryLog(clock=clock)


@pytest.fixture
async def node(streams: MemoryLog) -> AsyncIterator[Node]:
    node = make_node(streams)
    task = asyncio.create_task(node.committer.run())
    yield node
    task.cancel()
    await asyncio.wait([task])
    await node.delivery.close()


def note(number: int = 0, keep: Keep = LOG) -> Publication:
    return Publication(ToUser(1), "note.x", {"n": number}, keep)


async def fill(node: Node, number: int) -> None:
    """Store so many messages to the user."""
    for one in range(number):
        await append(node, note(one))


async def prune(node: Node, streams: MemoryLog, keep: int, *, told: bool = True) -> None:
    """Remove all but so many messages of each user; the node learns of it when it is `told`."""
    streams.retention_rows = keep
    pruned = await streams.prune()
    if told:
        node.delivery.standings.raise_floors(pruned.floors)


def marks(peer: Peer) -> list[tuple[int, str]]:
    """Return the offset of each durable message, and how it was marked."""
    return [
        (one["offset"], next((mark for mark in ("snapshot", "replayed") if mark in one), ""))
        for one in peer.messages()
        if "offset" in one
    ]


def here(offset: int) -> Position:
    return Position("epoch-1", offset)


async def test_what_is_still_kept_follows_from_the_own_position_on(
    node: Node, streams: MemoryLog
) -> None:
    await fill(node, 20)
    await prune(node, streams, 3)
    phone = Peer(node, 1)
    start = await phone.connect(here(5))
    assert (start.outcome, start.offset, start.head) == ("reset", 5, 20)
    await append(node, note())
    await phone.settle()
    assert marks(phone) == [(18, "replayed"), (19, "replayed"), (20, "replayed"), (21, "")]
    assert phone.positions() == [{"epoch": "epoch-1", "offset": 20, "live": True}]
    assert phone.connection.closing is None


async def test_what_is_stored_during_the_replay_is_new(node: Node, streams: MemoryLog) -> None:
    await fill(node, 2 * PAGE.rows)
    await prune(node, streams, 2 * PAGE.rows - 5)
    phone = Peer(node, 1)
    phone.stall()
    assert (await phone.connect(here(0))).head == 2 * PAGE.rows
    await fill(node, 3)
    await phone.go_on()
    found = marks(phone)
    assert [offset for offset, _ in found] == list(range(6, 2 * PAGE.rows + 4))
    new = [offset for offset, mark in found if not mark]
    assert new == [2 * PAGE.rows + number for number in (1, 2, 3)]


async def test_the_values_come_first_and_again_as_replayed_ones(
    node: Node, streams: MemoryLog
) -> None:
    await append(node, note(keep=Keep("latest", key="volume")))
    await fill(node, 5)
    await append(node, note(keep=Keep("latest", key="light")))
    await prune(node, streams, 2)
    phone = Peer(node, 1)
    await phone.connect(here(0))
    values = [(1, "snapshot"), (7, "snapshot")]
    again = [(offset, "replayed") for offset in (1, 5, 6, 7)]
    assert marks(phone) == values + again
    assert [one["type"] for one in phone.messages()][-1] == "position"


async def test_a_snapshot_moves_no_position_before_the_replay(
    node: Node, streams: MemoryLog
) -> None:
    await append(node, note(keep=Keep("latest", key="volume")))
    await fill(node, 5)
    await prune(node, streams, 2)
    phone = Peer(node, 1)
    phone.stall()
    await phone.connect(here(2))
    node.delivery.tell_if_moved(phone.connection)
    assert not node.delivery.acknowledge(phone.connection, 3)
    assert node.delivery.acknowledge(phone.connection, 2)
    await phone.go_on()
    assert phone.positions() == [{"epoch": "epoch-1", "offset": 6, "live": True}]


async def test_a_cursor_below_the_floor_is_a_reset_that_goes_on_from_it(
    node: Node, streams: MemoryLog
) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    await append(node, note())
    assert node.delivery.acknowledge(phone.connection, 1)
    node.retire(phone.connection)
    await fill(node, 9)
    await prune(node, streams, 2)
    back = Peer(node, 1)
    start = await back.connect()
    assert (start.outcome, start.offset, start.head) == ("reset", 1, 10)
    assert marks(back) == [(9, "replayed"), (10, "replayed")]
    assert node.delivery.acknowledge(back.connection, 10)
    node.retire(back.connection)
    assert (await Peer(node, 1).connect()).outcome == "resumed"


async def test_one_that_breaks_off_amid_the_replay_goes_on_where_it_was(
    node: Node, streams: MemoryLog
) -> None:
    await fill(node, 20)
    await prune(node, streams, 5)
    phone = Peer(node, 1)
    await phone.connect(here(3))
    node.retire(phone.connection)
    back = Peer(node, 1)
    # It had taken two of the five.
    assert (await back.connect(here(17))).outcome == "resumed"
    assert marks(back) == [(18, ""), (19, ""), (20, "")]


async def test_what_may_be_acknowledged_begins_at_the_own_position(
    node: Node, streams: MemoryLog
) -> None:
    await fill(node, 20)
    await prune(node, streams, 5)
    phone = Peer(node, 1)
    await node.delivery.standings.prepare(1, 1)
    phone.enter(here(3))
    assert not node.delivery.acknowledge(phone.connection, 4)
    assert not node.delivery.acknowledge(phone.connection, 20)
    await phone.settle()
    assert node.delivery.acknowledge(phone.connection, 17)
    assert node.delivery.standings.of(1, 1).cursor == here(17)
    assert not node.delivery.acknowledge(phone.connection, 21)


async def test_the_floor_of_everyone_resets_in_the_same_way(node: Node, streams: MemoryLog) -> None:
    await append(node, note())
    for _ in range(4):
        await append(node, Publication(ToEveryone(), "news.x", keep=LOG))
    await append(node, note())
    await prune(node, streams, 2)
    phone = Peer(node, 1)
    assert (await phone.connect(here(0))).outcome == "reset"
    # The user's own message below the floor of everyone is kept.
    assert marks(phone) == [(offset, "replayed") for offset in (1, 4, 5, 6)]


async def test_a_replay_has_only_what_is_for_the_device(node: Node, streams: MemoryLog) -> None:
    await fill(node, 5)
    await append(node, Publication(ToDevice(1, 2), "note.x", keep=LOG))
    await prune(node, streams, 2)
    phone = Peer(node, 1)
    await phone.connect(here(0))
    assert marks(phone) == [(5, "replayed")]
    assert phone.positions()[-1]["offset"] == 6


async def test_a_position_of_another_history_gets_nothing_of_what_is_kept(
    node: Node, streams: MemoryLog
) -> None:
    await fill(node, 20)
    await prune(node, streams, 5)
    for wanted in (Position("another", 3), here(21)):
        phone = Peer(node, 1)
        start = await phone.connect(wanted)
        assert (start.outcome, start.offset, start.head) == ("reset", 20, 20)
        assert marks(phone) == []
        node.retire(phone.connection)


async def test_with_nothing_left_the_position_is_told_at_the_head(
    node: Node, streams: MemoryLog, clock: Clock
) -> None:
    await append(node, note(keep=Keep("log", ttl=1)))
    await append(node, note(keep=Keep("log", ttl=1)))
    await prune(node, streams, 1)
    clock.seconds = 2
    phone = Peer(node, 1)
    assert (await phone.connect(here(0))).outcome == "reset"
    assert marks(phone) == []
    assert phone.positions() == [{"epoch": "epoch-1", "offset": 2, "live": True}]


# The floor rises


async def stalled(node: Node, streams: MemoryLog) -> Peer:
    """Return a connection that was handed the first page of a replay, and reads none of it."""
    await fill(node, 3 * PAGE.rows)
    await prune(node, streams, 3 * PAGE.rows - 10)
    phone = Peer(node, 1)
    phone.stall()
    await phone.connect(here(0))
    while (data := phone.connection.take()) is not None:
        phone.wire.written.append(data)
    await phone.settle()
    assert phone.connection.place.position == PAGE.rows + 10
    return phone


async def test_a_removal_above_what_it_got_closes_it_and_it_is_told_when_it_comes_back(
    node: Node, streams: MemoryLog
) -> None:
    phone = await stalled(node, streams)
    at = phone.connection.place.position
    await prune(node, streams, 5)
    await phone.go_on()
    assert phone.connection.closing is not None
    assert phone.connection.closing.close == TOO_SLOW
    node.retire(phone.connection)
    back = Peer(node, 1)
    start = await back.connect(here(at))
    assert (start.outcome, start.offset) == ("reset", at)
    assert len(back.offsets()) == 5


async def test_a_removal_of_what_it_has_got_already_does_not_close_it(
    node: Node, streams: MemoryLog
) -> None:
    phone = await stalled(node, streams)
    at = phone.connection.place.position
    await prune(node, streams, 3 * PAGE.rows - at)
    await phone.go_on()
    assert phone.connection.closing is None
    assert phone.offsets() == list(range(11, 3 * PAGE.rows + 1))


async def stalled_in_its_snapshot(node: Node, streams: MemoryLog) -> Peer:
    """Return a connection at 2 that was told the head 21, and has not got the first message."""
    await append(node, note(keep=Keep("latest", key="volume")))
    await fill(node, 20)
    await prune(node, streams, 15)
    phone = Peer(node, 1)
    phone.stall()
    start = await phone.connect(here(2))
    assert (start.outcome, start.head, phone.connection.place.position) == ("reset", 21, 2)
    return phone


async def test_a_removal_before_the_first_message_makes_the_gap_larger_and_closes_nothing(
    node: Node, streams: MemoryLog
) -> None:
    phone = await stalled_in_its_snapshot(node, streams)
    await prune(node, streams, 3)
    await phone.go_on()
    assert phone.connection.closing is None
    assert marks(phone)[1:] == [(offset, "replayed") for offset in (19, 20, 21)]


async def test_a_removal_that_memory_did_not_know_of_yet_closes_nothing(
    node: Node, streams: MemoryLog
) -> None:
    await fill(node, 20)
    await prune(node, streams, 15)
    await node.delivery.standings.prepare(1, 1)
    await prune(node, streams, 5, told=False)
    phone = Peer(node, 1)
    assert phone.enter(here(2)).outcome == "reset"
    await phone.settle()
    assert phone.connection.closing is None
    assert marks(phone) == [(offset, "replayed") for offset in range(16, 21)]


async def test_a_removal_above_the_head_that_was_told_closes_it(
    node: Node, streams: MemoryLog
) -> None:
    phone = await stalled_in_its_snapshot(node, streams)
    # The state that it fetches after `connected` need not have what comes after the head.
    await fill(node, 5)
    await prune(node, streams, 2)
    await phone.go_on()
    assert phone.connection.closing is not None
    assert phone.connection.closing.close == TOO_SLOW
    assert marks(phone)[1:] == []


async def test_values_below_the_floor_do_not_make_it_close(node: Node, streams: MemoryLog) -> None:
    values = PAGE.rows + 5
    for number in range(values):
        await append(node, note(keep=Keep("latest", key=str(number))))
    await fill(node, 10)
    await prune(node, streams, 2)
    phone = Peer(node, 1)
    await phone.connect(here(0))
    assert phone.connection.closing is None
    replayed = [offset for offset, mark in marks(phone) if mark == "replayed"]
    assert replayed == [*range(1, values + 1), values + 9, values + 10]
