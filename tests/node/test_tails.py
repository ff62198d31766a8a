"""What an operator sees of connections, and that nobody waits for their terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_log import MemoryLog
from wires import MemoryWire, entered

from app.base.metrics import Metrics
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.node.registry import ConnectionManager
from app.node.tails import WAITING_BYTES, WAITING_LINES, Passage, Tail, Types
from app.protocol.close import CLOSED_BY_OPERATOR, Selector
from app.protocol.frames import OPCODE_PING, frame
from app.protocol.messages import ServerMessage

SOON = 0.0
"""Seconds to wait for what is there already, or never comes."""


@pytest.fixture
async def node() -> Node:
    return Node(
        ConnectionManager(), MemoryLog(), Metrics(), NodeLimits(outbox=OutboxLimits(2, 1000))
    )


def note(number: int = 0) -> ServerMessage:
    return ServerMessage("note.text", {"n": number})


async def lines(tail: Tail) -> list[Passage]:
    """Return all lines that wait."""
    found: list[Passage] = []
    while taken := await tail.take(SOON):
        found += taken
    return found


def brief(passages: list[Passage]) -> list[tuple[str, str | None]]:
    return [(one.what, one.type) for one in passages]


async def test_a_message_out_is_told_with_its_type_offset_and_size(node: Node) -> None:
    connection = entered(node, 1, 7, instance="tab")
    tail = Tail(Selector(user_id=1), Types())
    message = frame(b'{"type":"note.text","payload":1,"offset":12}')
    async with node.tail(tail):
        connection.send(message)
        [line] = await lines(tail)
    assert (line.what, line.type, line.offset, line.size) == ("out", "note.text", 12, 44)
    assert (line.connection_id, line.user_id, line.device_id, line.instance) == (
        *(connection.connection_id, 1, 7, "tab"),
    )


async def test_an_answer_is_told_with_the_id_of_what_it_answers(node: Node) -> None:
    connection = entered(node)
    tail = Tail(Selector(), Types())
    async with node.tail(tail):
        connection.reply(ServerMessage("ok", {}, reply_to="a7").frame)
        [line] = await lines(tail)
    assert (line.type, line.id) == ("ok", "a7")


async def test_payloads_are_kept_back_unless_they_are_asked_for(node: Node) -> None:
    connection = entered(node)
    shut, opened = Tail(Selector(), Types()), Tail(Selector(), Types(), payloads=True)
    async with node.tail(shut), node.tail(opened):
        connection.send(note(5).frame)
        [without], [with_payload] = await lines(shut), await lines(opened)
    assert (without.payload, with_payload.payload) == (None, {"n": 5})


async def test_only_those_that_are_meant_are_followed_also_if_they_come_later(node: Node) -> None:
    entered(node, 1, 1)
    tail = Tail(Selector(user_id=2), Types())
    async with node.tail(tail):
        entered(node, 1, 2)
        late = entered(node, 2, 3)
        node.manager.broadcast_to_all(note())
        found = await lines(tail)
        followed = [one.device_id for one in node.manager.connections() if one.tailed]
    assert brief(found) == [("connected", None), ("out", "connected"), ("out", "note.text")]
    assert {one.connection_id for one in found} == {late.connection_id}
    assert followed == [3]


async def test_the_end_of_a_connection_is_told_once_with_the_close(node: Node) -> None:
    connection = entered(node, positioned=True)
    tail = Tail(Selector(), Types())
    async with node.tail(tail):
        node.close(connection, CLOSED_BY_OPERATOR)
        node.leave(connection)
        node.retire(connection)
        found = await lines(tail)
    assert brief(found) == [("out", "goaway"), ("closed", None)]
    assert (found[-1].code, found[-1].reason) == (4004, "closed_by_operator")


async def test_what_waits_in_the_outbox_and_what_it_refuses_is_told_once(node: Node) -> None:
    connection = entered(node)
    connection.flush()
    wire = connection.wire
    assert isinstance(wire, MemoryWire)
    wire.unread = 1
    tail = Tail(Selector(), Types())
    async with node.tail(tail):
        taken = [connection.send(note(number).frame) for number in range(3)]
        connection.reply(ServerMessage("ok").frame)
        found = await lines(tail)
    assert taken == [True, True, False]
    assert brief(found) == [
        ("out", "note.text"),
        ("out", "note.text"),
        ("refused", "note.text"),
        ("out", "ok"),
    ]


async def test_frames_that_are_no_messages_are_no_lines(node: Node) -> None:
    connection = entered(node)
    tail = Tail(Selector(), Types())
    async with node.tail(tail):
        connection.send(frame(b"nonce", OPCODE_PING))
        assert await lines(tail) == []


async def test_what_a_tailed_connection_writes_is_what_any_other_does(node: Node) -> None:
    plain, tailed = entered(node, 1, 1), entered(node, 2, 2)
    for one in (plain, tailed):
        one.flush()
    async with node.tail(Tail(Selector(user_id=2), Types())):
        for one in (plain, tailed):
            one.send(note(1).frame)
            one.reply(note(2).frame)
            one.flush()
    written = [wire.written[1:] for wire in (plain.wire, tailed.wire)]  # type: ignore[attr-defined]
    assert written[0] == written[1] != []
    assert plain.frames_out == tailed.frames_out


@pytest.mark.parametrize(
    ("types", "shown"),
    [
        ([], ["note.text", "note", "ok", "notes.x"]),
        (["note.text"], ["note.text"]),
        (["note.*"], ["note.text"]),
        (["ok", "notes.*"], ["ok", "notes.x"]),
    ],
)
async def test_types_choose_messages_by_their_whole_type_or_its_beginning(
    node: Node, types: list[str], shown: list[str]
) -> None:
    connection = entered(node)
    tail = Tail(Selector(), Types.of(types))
    async with node.tail(tail):
        for type_ in ("note.text", "note", "ok", "notes.x"):
            connection.send(ServerMessage(type_).frame)
        assert [one.type for one in await lines(tail)] == shown


@pytest.mark.parametrize("payloads", [False, True])
async def test_what_the_terminal_cannot_take_is_counted_and_told_after_what_it_can(
    node: Node, payloads: bool
) -> None:
    connection = entered(node)
    tail = Tail(Selector(), Types(), payloads=payloads)
    large = ServerMessage("note.text", "x" * 40_000).frame
    # Far more than either bound holds.
    count = WAITING_LINES + 50
    async with node.tail(tail):
        for _ in range(count):
            connection.send(large)
            connection.flush()
        found = await lines(tail)
        connection.send(note().frame)
        after = await lines(tail)
    kept = WAITING_BYTES // 40_100 if payloads else WAITING_LINES
    *messages, lost = found
    assert abs(len(messages) - kept) <= 1
    assert (lost.what, lost.count) == ("lost", count - len(messages))
    assert tail.lost == lost.count
    assert brief(after) == [("out", "note.text")]


@given(st.lists(st.one_of(st.integers(0, WAITING_BYTES), st.none()), max_size=60))
async def test_every_line_is_shown_in_order_or_counted_as_lost(steps: list[int | None]) -> None:
    """A number adds a message with a payload of so many bytes, None has the terminal take some."""
    tail = Tail(Selector(), Types(), payloads=True)
    added, seen, lost = 0, [0], 0
    for size in [*steps, *[None] * len(steps)]:
        if size is not None:
            added += 1
            tail.add(Passage(what="out", at=0, type="n.x", size=size, offset=added))
            continue
        for line in await tail.take(SOON):
            if line.what == "lost":
                assert line.count is not None
                lost += line.count
            else:
                assert line.offset is not None
                assert line.offset > seen[-1]
                seen.append(line.offset)
    assert len(seen) - 1 + lost == added
    assert tail.lost == lost


async def test_two_may_follow_one_connection_and_each_ends_alone(node: Node) -> None:
    connection = entered(node)
    first, second = Tail(Selector(), Types()), Tail(Selector(user_id=1), Types())
    async with node.tail(first):
        async with node.tail(second):
            connection.send(note().frame)
        assert (connection.tailed, len(node.tails)) == (True, 1)
        connection.send(note().frame)
        assert (len(await lines(first)), len(await lines(second))) == (2, 1)
    assert (connection.tailed, len(node.tails), node.tails.active) == (False, 0, False)
    connection.send(note().frame)
    assert await lines(first) == []


async def test_a_message_to_many_is_told_of_each(node: Node) -> None:
    everybody = [entered(node, user, user) for user in range(1, 6)]
    tail = Tail(Selector(), Types.of(["note.*"]), payloads=True)
    async with node.tail(tail):
        node.manager.broadcast_to_all(note(1))
        node.manager.broadcast_to_all(note(2))
        found = await lines(tail)
    assert [(one.connection_id, json.dumps(one.payload)) for one in found] == [
        (one.connection_id, json.dumps({"n": number})) for number in (1, 2) for one in everybody
    ]


async def test_how_many_follow_is_a_metric(node: Node) -> None:
    node.watch()
    async with node.tail(Tail(Selector(), Types())):
        shown = {one.name: one.samples[0].value for one in node.metrics.collect() if one.samples}
    assert shown["switchboard_tails"] == 1
