"""The ways out of one connection."""

import asyncio
import json

import pytest

from app.node.outgoing import FLUSH_STEP, TICK_BYTES, Outgoing
from app.protocol.close import REPLACED, SHUTTING_DOWN, TOO_MANY


def test_frames_of_one_tick_are_one_write_in_order(connect, wire, ticks) -> None:
    connection = connect(wire=wire)
    for frame in (b"a", b"b", b"c"):
        assert connection.send(frame)
    assert wire.written == []
    ticks.end()
    assert wire.written == [b"abc"]


def test_a_tick_list_that_is_large_is_written_at_once(connect, wire) -> None:
    connection = connect(wire=wire)
    connection.send(b"a")
    connection.send(b"b" * TICK_BYTES)
    assert len(wire.written) == 1


def test_a_large_lone_frame_is_written_at_once(connect, wire, ticks) -> None:
    connect(wire=wire).send(b"b" * TICK_BYTES)
    assert len(wire.written) == 1
    ticks.end()
    assert len(wire.written) == 1


def test_unsent_bytes_send_frames_to_the_outbox(connect, wire, ticks) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    assert connection.send(b"a")
    ticks.end()
    assert wire.written == []
    assert connection.backlog == 1
    assert wire.pumps == 1


def test_everything_goes_to_the_outbox_while_its_pump_drains(connect, wire, ticks) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    connection.send(b"a")
    wire.unread = 0
    connection.send(b"b")
    ticks.end()
    assert wire.written == []
    assert connection.take() == b"ab"
    assert connection.take() is None
    connection.send(b"c")
    ticks.end()
    assert wire.written == [b"c"]


def test_a_full_outbox_refuses_and_counts(connect, wire) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    assert [connection.send(b"x") for _ in range(6)] == [True] * 4 + [False] * 2
    assert connection.dropped == 2
    assert connection.frames_out == 4


def test_the_outbox_is_bounded_in_bytes(connect, wire) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    assert connection.send(b"x" * 900)
    assert not connection.send(b"x" * 200)
    assert connection.backlog_bytes == 900


def test_an_empty_outbox_takes_any_one_frame(connect, wire) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    assert connection.send(b"x" * 5000)
    assert not connection.send(b"x")


def test_an_answer_is_taken_by_a_full_outbox(connect, wire) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    for _ in range(4):
        connection.send(b"x")
    connection.reply(b"answer")
    assert connection.take() == b"xxxxanswer"


def test_a_closing_connection_takes_nothing(connect, wire, ticks) -> None:
    connection = connect(wire=wire)
    connection.disconnect(REPLACED)
    assert not connection.send(b"x")
    connection.reply(b"y")
    ticks.end()
    assert wire.written == []
    assert wire.closed_soon


def test_what_the_tick_gathered_goes_out_before_the_close(connect, wire) -> None:
    connection = connect(wire=wire)
    connection.send(b"x")
    connection.disconnect(REPLACED)
    assert wire.written == [b"x"]


def test_the_first_reason_to_close_stays(connect) -> None:
    connection = connect()
    connection.disconnect(REPLACED)
    connection.disconnect(TOO_MANY)
    assert connection.closing is not None
    assert connection.closing.close is REPLACED


def test_a_positioned_peer_is_told_goaway_last(connect, wire) -> None:
    connection = connect(wire=wire, positioned=True)
    connection.send(b"x")
    connection.disconnect(SHUTTING_DOWN, after_ms=250)
    (data,) = wire.written
    assert data[:1] == b"x"
    assert json.loads(data[3:]) == {
        "type": "goaway",
        "payload": {"reason": "shutting_down", "reconnect": True, "after_ms": 250},
    }


def test_a_client_that_gave_no_position_is_not_told_goaway(connect, wire) -> None:
    connect(wire=wire).disconnect(SHUTTING_DOWN)
    assert wire.written == []


def test_a_peer_that_was_never_greeted_is_told_nothing(connect, wire) -> None:
    connect(wire=wire, positioned=True).disconnect(REPLACED, announce=False)
    assert wire.written == []


def test_the_outbox_is_dropped_at_a_close_unless_it_is_to_be_kept(connect) -> None:
    dropped, kept = connect(), connect()
    for connection in (dropped, kept):
        connection.wire.unread = 1
        connection.send(b"x")
    dropped.disconnect(REPLACED)
    kept.disconnect(SHUTTING_DOWN, keep_outbox=True)
    assert dropped.take() is None
    assert kept.take() == b"x"


async def test_a_reader_waits_for_room_until_the_pump_takes_something(connect, wire) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    for _ in range(4):
        connection.send(b"x")
    assert connection.full
    waiting = asyncio.ensure_future(connection.readable())
    await asyncio.sleep(0)
    assert not waiting.done()
    connection.take()
    await waiting


async def test_a_reader_that_waits_for_room_is_woken_by_the_close(connect, wire) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    for _ in range(4):
        connection.send(b"x")
    waiting = asyncio.ensure_future(connection.readable())
    await asyncio.sleep(0)
    connection.disconnect(REPLACED, keep_outbox=True)
    await waiting


def test_many_dirty_connections_are_flushed_in_steps(connect, ticks) -> None:
    connections = [connect(device_id=number) for number in range(FLUSH_STEP + 1)]
    for connection in connections:
        connection.send(b"x")
    ticks.end()
    assert sum(bool(one.wire.written) for one in connections) == FLUSH_STEP
    ticks.end()
    assert all(one.wire.written == [b"x"] for one in connections)


def test_the_latency_of_a_delivery_is_observed(connect, ticks) -> None:
    connect().send(b"x")
    ticks.now += 0.25
    ticks.end()
    assert ticks.observed == [0.25]


def test_slow_connections_are_known_to_the_node(connect, wire, outgoing: Outgoing) -> None:
    connection = connect(wire=wire)
    wire.unread = 1
    connection.send(b"x")
    assert outgoing.slow == {connection}


@pytest.mark.parametrize("word", ["user=7", "device=8", "instance=tab"])
def test_a_connection_shows_who_it_is(connect, word: str) -> None:
    assert word in repr(connect(7, 8, instance="tab"))
