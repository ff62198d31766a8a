"""One server process: sends, deadlines and the stop."""

import asyncio
import sys

import pytest
from memory_log import MemoryLog
from wires import MemoryWire, entered

from app.base.metrics import Metrics
from app.node.connection import Connection
from app.node.deadlines import TimeLimits
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.node.registry import ConnectionManager
from app.protocol.close import (
    PING_UNANSWERED,
    REPLACED,
    REVOKED,
    SESSION_EXPIRED,
    SHUTTING_DOWN,
    TOO_SLOW,
    Selector,
)
from app.protocol.messages import Source
from app.protocol.position import PLAIN
from app.protocol.publication import Publication, ToDevice, ToEveryone, ToOthers, ToUser
from tests.clocks import HandClock


@pytest.fixture
def time() -> HandClock:
    return HandClock(1000.0)


@pytest.fixture
async def node(time: HandClock) -> Node:
    limits = NodeLimits(
        time=TimeLimits(heartbeat=32, stall=60, message=30),
        outbox=OutboxLimits(4, 1000),
        reconnect_window=5,
    )
    return Node(
        ConnectionManager(),
        MemoryLog(),
        Metrics(),
        limits,
        clock=time,
        calendar=time,
    )


def code(connection: Connection):
    return connection.closing.close if connection.closing else None


async def test_others_means_all_but_the_sending_instance(node: Node) -> None:
    entered(node, 1, 1, instance="a")
    entered(node, 1, 1, instance="b")
    entered(node, 1, 2)
    delivered = node.send(Publication(ToOthers(1, 1, "a"), "note.x", source=Source(1, "a")))
    assert sorted(delivered.taken) == [1, 2]


async def test_an_excluded_device_gets_nothing_on_any_instance(node: Node) -> None:
    entered(node, 1, 1, instance="a")
    entered(node, 1, 1, instance="b")
    entered(node, 1, 2)
    assert node.send(Publication(ToOthers(1, 1), "note.x")).taken == [2]


async def test_a_device_that_is_away_is_in_neither_list(node: Node) -> None:
    delivered = node.send(Publication(ToDevice(1, 9), "note.x"))
    assert (delivered.taken, delivered.failed) == ([], [])


async def test_everyone_is_everyone(node: Node) -> None:
    entered(node, 1, 1)
    entered(node, 2, 2)
    assert sorted(node.send(Publication(ToEveryone(), "note.x")).taken) == [1, 2]


async def test_a_replaced_connection_acts_no_more_and_its_end_leaves_the_successor(
    node: Node,
) -> None:
    old = entered(node)
    new = entered(node)
    assert code(old) is REPLACED
    node.retire(old)
    assert node.manager.connections() == [new]


async def test_disconnect_makes_them_unreachable_at_once(node: Node) -> None:
    gone, stays = entered(node, 1, 1), entered(node, 1, 2)
    assert node.disconnect(Selector(user_id=1, device_id=1), REVOKED) == 1
    assert code(gone) is REVOKED
    assert code(stays) is None
    assert node.send(Publication(ToUser(1), "note.x")).taken == [2]


async def test_an_unanswered_ping_ends_an_idle_connection(node: Node, time: HandClock) -> None:
    connection = entered(node)
    for _ in range(17):
        time.now += 1
        node.deadlines.sweep()
    assert code(connection) is PING_UNANSWERED
    assert not node.manager.is_device_connected(1, 1)


async def test_a_peer_that_is_reading_slowly_is_not_judged_by_its_pong(
    node: Node, time: HandClock
) -> None:
    connection = entered(node)
    connection.wire.kernel = 100_000
    for _ in range(50):
        time.now += 1
        connection.wire.kernel -= 1000
        node.deadlines.sweep()
    assert code(connection) is None
    for _ in range(70):
        time.now += 1
        node.deadlines.sweep()
    assert code(connection) is TOO_SLOW


async def test_a_stalled_peer_is_too_slow(node: Node, time: HandClock) -> None:
    connection = entered(node)
    connection.wire.unread = 70_000
    node.send(Publication(ToUser(1), "note.x"))
    for _ in range(60):
        time.now += 1
        node.deadlines.sweep()
        assert code(connection) is None
    time.now += 1
    node.deadlines.sweep()
    assert code(connection) is TOO_SLOW


async def test_progress_of_the_pump_is_progress(node: Node, time: HandClock) -> None:
    connection = entered(node)
    connection.wire.unread = 70_000
    for _ in range(200):
        connection.send(b"x")
        connection.take()
        time.now += 1
        node.deadlines.sweep()
    assert code(connection) is None


async def test_a_slow_peer_that_caught_up_is_forgotten(node: Node, time: HandClock) -> None:
    connection = entered(node)
    connection.wire.unread = 10
    connection.send(b"x")
    node.deadlines.sweep()
    connection.wire.unread = 0
    connection.take()
    node.deadlines.sweep()
    assert node.outgoing.slow == set()


async def test_a_message_that_does_not_end_is_too_slow(node: Node, time: HandClock) -> None:
    connection = entered(node)
    node.deadlines.arrivals.since[connection] = time.now
    for _ in range(30):
        time.now += 1
        node.deadlines.sweep()
        node.deadlines.heartbeat.take_pong(connection, connection.pulse.awaited_pong)
    assert code(connection) is None
    time.now += 1
    node.deadlines.sweep()
    assert code(connection) is TOO_SLOW


async def test_a_session_that_expires_ends_its_connection(node: Node, time: HandClock) -> None:
    soon = entered(node, 1, 1, expires_at=time.now + 10)
    later = entered(node, 1, 2, expires_at=time.now + 1000)
    time.now += 10
    node.deadlines.sweep()
    assert code(soon) is SESSION_EXPIRED
    assert code(later) is None


async def test_an_expiry_far_ahead_is_seen_when_it_comes(node: Node, time: HandClock) -> None:
    connection = entered(node, expires_at=time.now + 1000)
    for _ in range(1000):
        time.now += 1
        node.deadlines.sweep()
        node.deadlines.heartbeat.take_pong(connection, connection.pulse.awaited_pong)
    assert code(connection) is SESSION_EXPIRED


async def test_a_connection_ends_with_the_token_that_it_was_given_last(
    node: Node, time: HandClock
) -> None:
    deadlines = node.deadlines
    later = entered(node, 1, 1, expires_at=time.now + 10)
    sooner = entered(node, 1, 2, expires_at=time.now + 1000, session_id=3)
    never = entered(node, 1, 3, expires_at=time.now + 10)
    deadlines.renew(later, session_id=7, expires_at=time.now + 20)
    deadlines.renew(sooner, session_id=None, expires_at=time.now + 9.5)
    deadlines.renew(never, session_id=8, expires_at=None)
    told = [deadlines.expires_in(one) for one in (later, sooner, never)]
    assert told == [20, 9, None]
    assert [one.session_id for one in (later, sooner, never)] == [7, None, 8]
    time.now += 10
    deadlines.sweep()
    assert [code(one) for one in (later, sooner, never)] == [None, SESSION_EXPIRED, None]
    assert deadlines.expires_in(sooner) == 0
    for one in (later, never):
        deadlines.heartbeat.take_pong(one, one.pulse.awaited_pong)
    time.now += 10
    deadlines.sweep()
    assert [code(one) for one in (later, never)] == [SESSION_EXPIRED, None]


async def test_a_clock_that_is_ahead_ends_no_connection(node: Node, time: HandClock) -> None:
    connection = entered(node, expires_at=time.now + 1000)
    time.jumped = 400 * 86_400
    node.deadlines.sweep()
    assert code(connection) is None


async def test_ends_that_trusted_time_moves_over_are_seen_at_once(
    node: Node, time: HandClock
) -> None:
    calendar = HandClock(time.now)
    node = Node(
        ConnectionManager(), MemoryLog(), Metrics(), NodeLimits(), clock=time, calendar=calendar
    )
    connection = entered(node, expires_at=calendar.now + 1000)
    calendar.advance(40 * 86_400)
    node.deadlines.sweep()
    assert code(connection) is SESSION_EXPIRED


@pytest.mark.parametrize(
    ("jumped", "told"),
    [(-3600, 1000), (400, 600), (400 * 86_400, 1000)],
    ids=["behind", "perhaps right", "surely wrong"],
)
async def test_a_client_is_told_the_sooner_end_if_the_clock_may_be_right(
    node: Node, time: HandClock, jumped: float, told: int
) -> None:
    connection = entered(node, expires_at=time.now + 1000)
    time.jumped = jumped
    assert node.deadlines.expires_in(connection) == told


async def test_at_a_stop_clients_are_told_to_come_back_spread_over_the_window(node: Node) -> None:
    connections = [entered(node, 1, number, positioned=True) for number in range(5)]
    closing = asyncio.ensure_future(node.close_all(seconds=10))
    await asyncio.sleep(0)
    for connection in connections:
        node.retire(connection)
    await closing
    assert {code(one) for one in connections} == {SHUTTING_DOWN}
    assert sorted(one.closing.after_ms for one in connections) == [0, 1000, 2000, 3000, 4000]


async def test_at_a_stop_who_does_not_end_is_aborted(node: Node) -> None:
    connection = entered(node)
    await node.close_all(seconds=0)
    assert connection.wire.aborted


async def test_nothing_of_a_retired_connection_is_kept(node: Node, time: HandClock) -> None:
    connection = Connection(
        MemoryWire(),
        node.outgoing,
        user_id=1,
        device_id=1,
        connection_id="c",
        expires_at=time.now + 1,
    )
    before = sys.getrefcount(connection)
    node.enter(connection, PLAIN)
    connection.wire.unread = 1
    connection.send(b"x")
    node.deadlines.sweep()
    assert sys.getrefcount(connection) > before
    node.retire(connection)
    # The tick in which it was greeted ends.
    await asyncio.sleep(0)
    assert sys.getrefcount(connection) == before
    assert node.live == []
    assert node.manager.connection_count == 0


async def test_messages_out_are_counted_by_prefix(node: Node) -> None:
    entered(node, 1, 1)
    entered(node, 1, 2)
    node.send(Publication(ToUser(1), "note.x"))
    assert dict(node.metrics.sent.items()) == {"note": 2}


async def test_a_connection_that_enters_after_the_stop_began_is_told_so(node: Node) -> None:
    await node.close_all(seconds=0)
    late = entered(node)
    assert code(late) is SHUTTING_DOWN
    assert node.manager.connection_count == 0


async def test_a_connection_whose_peer_left_is_closed_with_its_device(node: Node) -> None:
    left, stays = entered(node, 1, 1), entered(node, 1, 2)
    for connection in (left, stays):
        node.leave(connection)
    assert node.manager.connection_count == 0
    node.disconnect(Selector(user_id=1, device_id=1), REVOKED)
    assert (code(left), code(stays)) == (REVOKED, None)
    node.retire(left)
    assert node.live == [stays]


async def test_the_metrics_tell_of_connections_that_are_ending(node: Node) -> None:
    def told() -> tuple[float | None, ...]:
        names = ("connections", "connections_ending")
        return tuple(
            node.metrics.registry.get_sample_value(f"switchboard_{name}") for name in names
        )

    node.watch()
    connection = entered(node)
    assert told() == (1, 0)
    node.leave(connection)
    assert told() == (0, 1)
    node.retire(connection)
    assert told() == (0, 0)
