"""Pings without a timer per connection."""

from app.node.heartbeat import SLOTS, Heartbeat
from app.protocol.frames import OPCODE_PING, frame


def turns(heartbeat: Heartbeat, start: float, end: float):
    """Run every turn between two times, slot by slot; return who was found silent."""
    step = heartbeat.interval / SLOTS
    silent = []
    now = start
    while now < end:
        now += step
        for _, found in heartbeat.due(now):
            silent += found
    return silent


def test_each_connection_is_pinged_once_per_interval(connect, ticks) -> None:
    heartbeat = Heartbeat(32, now=0)
    connections = [connect(device_id=number) for number in range(100)]
    for connection in connections:
        heartbeat.add(connection)
    turns(heartbeat, 0, 32)
    ticks.end()
    for connection in connections:
        assert connection.wire.written == [frame(connection.pulse.awaited_pong, OPCODE_PING)]


def test_the_connections_of_a_slot_share_one_fresh_nonce(connect) -> None:
    heartbeat = Heartbeat(32, now=0)
    connections = [connect(device_id=number) for number in range(SLOTS * 2)]
    for connection in connections:
        heartbeat.add(connection)
    turns(heartbeat, 0, 32)
    nonces = {one.pulse.awaited_pong for one in connections}
    assert len(nonces) == SLOTS
    assert all(len(nonce) == 8 for nonce in nonces)


def test_who_does_not_answer_is_found_half_an_interval_later(connect) -> None:
    heartbeat = Heartbeat(32, now=0)
    connection = connect()
    heartbeat.add(connection)
    assert turns(heartbeat, 0, 1) == []
    assert connection.pulse.awaited_pong is not None
    assert turns(heartbeat, 1, 16) == []
    assert turns(heartbeat, 16, 17) == [connection]


def test_who_answers_is_not_found(connect) -> None:
    heartbeat = Heartbeat(32, now=0)
    connection = connect()
    heartbeat.add(connection)
    turns(heartbeat, 0, 1)
    assert not heartbeat.take_pong(connection, b"another")
    assert heartbeat.take_pong(connection, connection.pulse.awaited_pong)
    assert turns(heartbeat, 1, 32) == []


def test_a_removed_connection_is_pinged_no_more(connect, ticks, wire) -> None:
    heartbeat = Heartbeat(32, now=0)
    connection = connect(wire=wire)
    heartbeat.remove(connection)
    heartbeat.add(connection)
    heartbeat.remove(connection)
    turns(heartbeat, 0, 64)
    ticks.end()
    assert wire.written == []


def test_after_a_suspended_machine_missed_turns_are_not_made_up_for(connect) -> None:
    heartbeat = Heartbeat(32, now=0)
    for number in range(SLOTS):
        heartbeat.add(connect(device_id=number))
    turns(heartbeat, 0, 20)
    made_up = list(heartbeat.due(1_000_000))
    assert len(made_up) == SLOTS
    assert [silent for _, silent in made_up if silent] == []
    assert list(heartbeat.due(1_000_000)) == []
