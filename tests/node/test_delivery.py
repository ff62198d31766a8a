"""Durable messages on their way to connections: live, behind, catching up, and where they start."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from delivery_peers import Peer, append, make_node
from memory_log import MemoryLog

from app.base.errors import Problem, StorageUnavailable
from app.node.delivery import PAGE, STEP
from app.node.node import Node
from app.protocol.close import INTERNAL, STREAM_RESET, TOO_SLOW
from app.protocol.keep import Keep
from app.protocol.messages import Source
from app.protocol.position import Position
from app.protocol.publication import Publication, ToDevice, ToEveryone, ToOthers, ToUser
from app.streams.base import Append, Appended, Refused

LOG = Keep("log")
NOTE = Append(1, "note.x", b"1")


@pytest.fixture
def streams() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
async def node(streams: MemoryLog) -> AsyncIterator[Node]:
    node = make_node(streams)
    task = asyncio.create_task(node.committer.run())
    yield node
    task.cancel()
    await asyncio.wait([task])
    await node.delivery.close()


def to_user(number: int = 0, to: ToUser | None = None, **more: Any) -> Publication:
    return Publication(to or ToUser(1), "note.x", {"n": number}, **({"keep": LOG} | more))


async def test_a_live_connection_is_pushed_and_its_position_moves(node: Node) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    stored = await append(node, to_user())
    await phone.settle()
    assert (stored.offset, stored.delivered) == (1, [1])
    assert phone.offsets() == [1]
    assert phone.connection.place.position == 1


async def test_what_was_missed_comes_in_order_and_then_the_position(node: Node) -> None:
    for number in range(5):
        await append(node, to_user(number))
    phone = Peer(node, 1)
    start = await phone.connect(Position(node.log.epoch, 2))
    assert (start.outcome, start.offset, start.head) == ("resumed", 2, 5)
    assert phone.offsets() == [3, 4, 5]
    assert phone.positions() == [{"epoch": node.log.epoch, "offset": 5, "live": True}]
    assert not phone.connection.place.behind


async def test_a_device_that_missed_nothing_costs_no_read(node: Node, streams: MemoryLog) -> None:
    await append(node, to_user())
    phone = Peer(node, 1)
    await phone.connect(Position(node.log.epoch, 1))
    assert streams.reads == 0
    assert phone.positions() == [{"epoch": node.log.epoch, "offset": 1, "live": True}]


@pytest.mark.parametrize("wanted", [Position("another", 1), Position("epoch-1", 99)])
async def test_a_position_that_says_nothing_is_a_reset_to_the_head(
    node: Node, wanted: Position
) -> None:
    await append(node, to_user())
    phone = Peer(node, 1)
    start = await phone.connect(wanted)
    assert (start.outcome, start.offset) == ("reset", 1)
    assert phone.offsets() == []


async def test_what_was_pruned_is_a_reset(node: Node, streams: MemoryLog) -> None:
    for number in range(20):
        await append(node, to_user(number))
    streams.retention_rows = 5
    pruned = await streams.prune()
    node.delivery.standings.raise_floors(pruned.floors)
    early, late = Peer(node, 1), Peer(node, 2)
    start = await early.connect(Position("epoch-1", 14))
    assert (start.outcome, start.offset, start.head) == ("reset", 14, 20)
    assert (await late.connect(Position("epoch-1", 15))).outcome == "resumed"
    assert late.offsets() == [16, 17, 18, 19, 20]


async def test_what_was_damaged_closes_those_below_it_who_are_reset_once(node: Node) -> None:
    early, late = Peer(node, 1), Peer(node, 2)
    await append(node, to_user())
    await early.connect()
    await append(node, to_user(to=ToUser(2)))
    await late.connect(Position("epoch-1", 2))
    node.delivery.lost(2)
    assert early.connection.closing is not None
    assert (early.connection.closing.close, late.connection.closing) == (INTERNAL, None)
    again = Peer(node, 1)
    assert (await again.connect(Position("epoch-1", 1))).outcome == "reset"
    told = again.connection.place.position
    assert (await Peer(node, 1).connect(Position("epoch-1", told))).outcome == "resumed"


async def test_an_outbox_that_is_full_turns_the_connection_behind_and_nothing_is_lost(
    node: Node,
) -> None:
    phone, laptop = Peer(node, 1), Peer(node, 2)
    await phone.connect()
    await laptop.connect()
    phone.stall()
    for number in range(20):
        stored = await append(node, to_user(number))
    assert stored.delivered == [2]
    assert phone.connection.place.behind
    assert phone.connection.backlog <= 5
    await phone.go_on()
    assert phone.offsets() == list(range(1, 21))
    assert laptop.offsets() == list(range(1, 21))
    assert not phone.connection.place.behind
    assert phone.positions()[-1] == {"epoch": "epoch-1", "offset": 20, "live": True}


async def test_targets_and_exclusions_hold_when_pushed_and_in_replay(node: Node) -> None:
    tabs = {name: Peer(node, 1, name) for name in ("a", "b")}
    laptop = Peer(node, 2)
    for peer in (*tabs.values(), laptop):
        await peer.connect()
    others = Publication(ToOthers(1, 1, "a"), "note.x", source=Source(1, "a"), keep=LOG)
    await append(node, others)
    await append(node, Publication(ToDevice(1, 2), "note.x", keep=LOG))
    await append(node, Publication(ToOthers(1, 1), "note.x", keep=LOG))
    for peer in (*tabs.values(), laptop):
        await peer.settle()
    expected = {"a": [], "b": [1]}
    assert {name: peer.offsets() for name, peer in tabs.items()} == expected
    assert laptop.offsets() == [1, 2, 3]
    for name in tabs:
        back = Peer(node, 1, name)
        await back.connect(Position("epoch-1", 0))
        assert back.offsets() == expected[name]
        assert back.connection.place.position == 3


async def test_everyone_is_kept_once_and_reaches_all(node: Node, streams: MemoryLog) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    await append(node, Publication(ToEveryone(), "note.x", keep=LOG))
    assert phone.offsets() == [1]
    assert len(streams.rows) == 1
    back = Peer(node, 2)
    await back.connect(Position("epoch-1", 0))
    assert back.offsets() == [1]


async def test_latest_values_come_first_as_a_snapshot_and_move_no_position(node: Node) -> None:
    for number in range(3):
        await append(node, to_user(number, keep=Keep("latest", key="volume")))
    await append(node, to_user(9))
    phone = Peer(node, 1)
    start = await phone.connect()
    assert start.outcome == "live"
    kinds = [(one["type"], one.get("offset"), one.get("snapshot")) for one in phone.messages()]
    assert kinds == [("note.x", 3, True), ("position", None, None)]


async def test_a_client_that_gives_its_position_gets_a_snapshot_only_when_it_asks(
    node: Node,
) -> None:
    await append(node, to_user(keep=Keep("latest", key="volume")))
    quiet, asking = Peer(node, 1), Peer(node, 2)
    await quiet.connect(Position("epoch-1", 1))
    await asking.connect(Position("epoch-1", 1), snapshot=True)
    assert [one["type"] for one in quiet.messages()] == ["position"]
    assert [one.get("snapshot") for one in asking.messages()] == [True, None]


async def test_the_cursor_supplies_the_position_of_a_client_that_gives_none(node: Node) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    await append(node, to_user())
    assert node.delivery.acknowledge(phone.connection, 1)
    node.retire(phone.connection)
    await append(node, to_user())
    back = Peer(node, 1)
    assert (await back.connect()).outcome == "resumed"
    assert back.offsets() == [2]


async def test_an_acknowledgement_never_goes_back_nor_above_what_was_sent(node: Node) -> None:
    phone, tab = Peer(node, 1, "a"), Peer(node, 1, "b")
    await phone.connect()
    await tab.connect()
    for number in range(3):
        await append(node, to_user(number))
    assert not node.delivery.acknowledge(phone.connection, 4)
    assert node.delivery.acknowledge(phone.connection, 3)
    assert node.delivery.acknowledge(tab.connection, 1)
    assert node.delivery.standings.of(1, 1).cursor == Position("epoch-1", 3)


async def test_acknowledging_the_last_message_acknowledges_what_was_skipped_too(node: Node) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    await append(node, to_user())
    await append(node, Publication(ToDevice(1, 2), "note.x", keep=LOG))
    assert node.delivery.acknowledge(phone.connection, 1)
    assert node.delivery.standings.of(1, 1).cursor == Position("epoch-1", 2)


async def test_the_heartbeat_tells_a_position_that_moved_without_a_message(node: Node) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    await append(node, Publication(ToDevice(1, 2), "note.x", keep=LOG))
    before = len(phone.positions())
    node.delivery.tell(phone.connection)
    await phone.settle()
    assert phone.positions()[before:] == [{"epoch": "epoch-1", "offset": 1, "live": True}]


async def test_what_cannot_be_stored_is_delivered_to_nobody(node: Node, streams: MemoryLog) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    streams.broken = True
    with pytest.raises(StorageUnavailable):
        await append(node, to_user())
    assert phone.offsets() == []
    streams.broken = False
    assert (await append(node, to_user())).offset == 1
    assert phone.offsets() == [1]


async def test_a_repeat_is_stored_and_delivered_once_and_another_body_is_a_conflict(
    node: Node,
) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    keep = Keep("log", message_id="m")
    first = await append(node, to_user(1, keep=keep, owner="device:2"))
    again = await append(node, to_user(1, keep=keep, owner="device:2"))
    other = await append(node, to_user(1, keep=keep, owner="device:3"))
    assert (first.offset, first.duplicate) == (1, False)
    assert (again.offset, again.duplicate) == (1, True)
    assert (other.offset, other.duplicate) == (2, False)
    with pytest.raises(Problem) as refusal:
        await append(node, to_user(2, keep=keep, owner="device:2"))
    assert (refusal.value.status, refusal.value.code) == (409, "id_conflict")
    await phone.settle()
    assert phone.offsets() == [1, 2]


async def test_positions_name_the_newest_generation_and_cursors_none(
    streams: MemoryLog, node: Node
) -> None:
    await streams.append([NOTE] * 3)
    phone = Peer(node, 1)
    await phone.connect(Position("epoch-1", 2))
    assert node.delivery.acknowledge(phone.connection, 3)
    await node.delivery.standings.save()
    node.retire(phone.connection)
    streams.begin()
    node = make_node(streams)
    text = streams.numbering.text
    assert text not in ("", "epoch-1")

    back = Peer(node, 1)
    start = await back.connect(Position("epoch-1", 1))
    assert (start.outcome, start.epoch, start.offset) == ("resumed", text, 1)
    assert back.offsets() == [2, 3]
    assert back.positions() == [{"epoch": text, "offset": 3, "live": True}]
    by_cursor = Peer(node, 1)
    start = await by_cursor.connect()
    assert (start.outcome, start.epoch, start.offset) == ("resumed", text, 3)
    assert node.delivery.standings.of(1, 1).cursor == Position("epoch-1", 3)


async def test_what_is_above_the_end_of_an_older_generation_is_a_reset(
    streams: MemoryLog, node: Node
) -> None:
    copied = streams.image()
    await streams.append([NOTE] * 3)
    streams.put_back(copied)
    await streams.append([NOTE] * 3)
    ahead, honest = Peer(node, 1), Peer(node, 2)
    assert (await ahead.connect(Position("epoch-1", 2))).outcome == "reset"
    assert (await honest.connect(Position("epoch-1", 0))).outcome == "resumed"
    assert honest.offsets() == [1, 2, 3]


async def test_a_new_epoch_sends_everybody_away_to_come_back(node: Node) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    await append(node, to_user())
    node.delivery.acknowledge(phone.connection, 1)
    await node.reset_streams()
    assert phone.connection.closing is not None
    assert phone.connection.closing.close == STREAM_RESET
    back = Peer(node, 1)
    assert (await back.connect(Position("epoch-1", 1))).outcome == "reset"


async def test_a_connection_that_leaves_stops_reading(node: Node) -> None:
    for number in range(2 * PAGE.rows):
        await append(node, to_user(number))
    phone = Peer(node, 1)
    phone.stall()
    await phone.connect(Position("epoch-1", 0))
    assert node.delivery.behind == 1
    node.retire(phone.connection)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert node.delivery.behind == 0


async def test_something_written_in_doubt_reaches_everybody(node: Node, streams: MemoryLog) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    await streams.append([Append(1, "note.x", b"1")])
    node.delivery.doubt()
    await phone.settle()
    assert phone.offsets() == [1]
    assert not phone.connection.place.behind


async def test_someone_who_comes_back_gets_what_was_written_in_doubt(
    node: Node, streams: MemoryLog
) -> None:
    phone = Peer(node, 1)
    await phone.connect()
    node.retire(phone.connection)
    await streams.append([Append(1, "note.x", b"1")])
    node.delivery.doubt()
    back = Peer(node, 1)
    assert node.delivery.standings.knows(1, 1)
    back.enter(Position(node.log.epoch, 0))
    await append(node, to_user())
    await back.settle()
    assert back.offsets() == [1, 2]


class Mute(MemoryLog):
    """Its first append is written and fails, and its `last` tells so only at the next one."""

    written = 0

    async def append(self, appends: Sequence[Append]) -> list[Appended | Refused]:
        first, told = not self.written, self.last
        self.last = max(self.last, self.written)
        outcomes = await super().append(appends)
        if not first:
            return outcomes
        self.written, self.last = self.last, told
        raise StorageUnavailable


async def test_an_append_that_was_written_unnoticed_is_delivered_with_the_next() -> None:
    node = make_node(Mute())
    phone = Peer(node, 1)
    await phone.connect()
    unnoticed = append(node, to_user())
    await node.committer.drain()
    assert isinstance(unnoticed.exception(), StorageUnavailable)
    assert phone.offsets() == []
    append(node, to_user())
    await node.committer.drain()
    await phone.settle()
    assert phone.offsets() == [1, 2]


async def test_who_is_cancelled_while_it_waits_takes_no_delivery_along(node: Node) -> None:
    peers = [Peer(node, number + 1, user=number + 1) for number in range(6 * STEP)]
    for peer in peers:
        await peer.connect()
    first = append(node, Publication(ToEveryone(), "note.x", keep=LOG))
    while not any(peer.connection.place.position for peer in peers):  # noqa: ASYNC110
        await asyncio.sleep(0)
    waiting = asyncio.create_task(node.reset_streams())
    await asyncio.sleep(0)
    assert not first.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    stored = await first
    assert len(stored.delivered) == len(peers)


async def test_one_who_lacks_what_was_pruned_meanwhile_is_told_so_when_it_comes_back(
    node: Node, streams: MemoryLog
) -> None:
    for number in range(20):
        await append(node, to_user(number))
    await node.delivery.standings.prepare(1, 1)
    streams.retention_rows = 5
    # The floor is on disk, and memory does not know it.
    await streams.prune()
    phone = Peer(node, 1)
    phone.enter(Position("epoch-1", 3))
    await phone.settle()
    assert phone.connection.closing is not None
    assert phone.connection.closing.close == TOO_SLOW
    back = Peer(node, 1)
    assert back.enter(Position("epoch-1", 3)).outcome == "reset"
