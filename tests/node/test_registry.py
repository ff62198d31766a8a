"""Who is connected."""

import pytest

from app.base.errors import Disconnected, NotConnected
from app.node.registry import ConnectionManager
from app.protocol.close import REPLACED, TOO_MANY, Selector
from app.protocol.messages import ServerMessage

MESSAGE = ServerMessage("note.text", "hello")


@pytest.fixture
def manager() -> ConnectionManager:
    return ConnectionManager(per_device=3, per_user=5)


def got(connection, ticks) -> bool:
    ticks.end()
    return bool(connection.wire.written)


def clog(connection) -> None:
    """Have the connection's peer read nothing, and its outbox be full."""
    connection.wire.unread = 1
    while connection.send(b"x"):
        pass


def test_register_gives_a_connection_that_can_be_sent_to(manager, connect, ticks) -> None:
    connection = connect(1, 2)
    registration = manager.register(connection)
    assert registration.connection is connection
    assert registration.displaced == []
    manager.send_to_device(1, 2, MESSAGE)
    ticks.end()
    assert connection.wire.written == [MESSAGE.frame]


def test_unregister_leaves_no_empty_user_behind(manager, connect) -> None:
    connection = connect(1, 2)
    manager.register(connection)
    assert manager.unregister(connection)
    assert (manager.user_count, manager.device_count, manager.connection_count) == (0, 0, 0)
    assert manager.user_count == 0
    assert not manager.unregister(connection)


def test_a_replaced_connection_leaves_its_successor_registered(manager, connect) -> None:
    old, new = connect(1, 2), connect(1, 2)
    manager.register(old)
    assert manager.register(new).displaced == [(old, REPLACED)]
    assert not manager.unregister(old)
    assert manager.connections() == [new]
    assert manager.connections(Selector(connection_id=old.connection_id)) == []


def test_sending_to_an_unknown_device_raises_not_connected(manager, connect) -> None:
    manager.register(connect(1, 2))
    for user_id, device_id in ((1, 3), (9, 2)):
        with pytest.raises(NotConnected):
            manager.send_to_device(user_id, device_id, MESSAGE)


def test_a_device_that_takes_nothing_raises_disconnected(manager, connect) -> None:
    connection = connect(1, 2)
    manager.register(connection)
    clog(connection)
    with pytest.raises(Disconnected):
        manager.send_to_device(1, 2, MESSAGE)


def test_a_device_with_one_live_instance_is_not_disconnected(manager, connect, ticks) -> None:
    stuck, live = connect(1, 2, instance="a"), connect(1, 2, instance="b")
    manager.register(stuck)
    manager.register(live)
    clog(stuck)
    manager.send_to_device(1, 2, MESSAGE)
    assert got(live, ticks)


def test_other_devices_leave_out_the_whole_source_device(manager, connect, ticks) -> None:
    source, tab, other = connect(1, 2), connect(1, 2, instance="tab"), connect(1, 3)
    for connection in (source, tab, other):
        manager.register(connection)
    assert manager.send_to_other_devices(1, 2, MESSAGE) == []
    assert (got(source, ticks), got(tab, ticks), got(other, ticks)) == (False, False, True)


def test_others_leave_out_only_the_source_instance(manager, connect, ticks) -> None:
    source, tab, other = connect(1, 2), connect(1, 2, instance="tab"), connect(1, 3)
    for connection in (source, tab, other):
        manager.register(connection)
    assert manager.send_to_others(1, 2, "default", MESSAGE) == []
    assert (got(source, ticks), got(tab, ticks), got(other, ticks)) == (False, True, True)


def test_broadcasts_report_the_devices_that_failed(manager, connect) -> None:
    stuck, live = connect(1, 2), connect(1, 3)
    manager.register(stuck)
    manager.register(live)
    clog(stuck)
    assert manager.broadcast_to_user(1, MESSAGE) == [2]
    assert manager.broadcast_to_all(MESSAGE) == [2]
    assert manager.send_to_other_devices(1, 3, MESSAGE) == [2]
    assert manager.send_to_others(1, 3, "default", MESSAGE) == [2]


def test_two_users_never_see_each_other(manager, connect, ticks) -> None:
    mine, theirs = connect(1, 2), connect(7, 8)
    manager.register(mine)
    manager.register(theirs)
    manager.broadcast_to_user(1, MESSAGE)
    assert got(mine, ticks)
    assert not got(theirs, ticks)


def test_broadcast_to_all_reaches_everyone(manager, connect, ticks) -> None:
    connections = [connect(user, user * 10 + device) for user in (1, 2) for device in (1, 2)]
    for connection in connections:
        manager.register(connection)
    manager.broadcast_to_all(MESSAGE)
    assert all(got(connection, ticks) for connection in connections)


def test_connected_devices_are_listed(manager, connect) -> None:
    manager.register(connect(1, 2))
    manager.register(connect(1, 3))
    manager.register(connect(1, 3, instance="tab"))
    assert sorted(manager.get_connected_devices(1)) == [2, 3]
    assert manager.get_connected_devices(9) == []
    assert manager.get_connected_users() == [1]
    assert manager.connection_count == 3


def test_is_device_connected(manager, connect) -> None:
    manager.register(connect(1, 2))
    assert manager.is_device_connected(1, 2)
    assert not manager.is_device_connected(1, 3)
    assert not manager.is_device_connected(2, 2)


def test_the_instance_quiet_longest_makes_room_on_a_full_device(manager, connect) -> None:
    connections = [connect(1, 2, instance=name, now=number) for number, name in enumerate("abc")]
    connections[0].inflow.heard_at = 10.0
    for connection in connections:
        manager.register(connection)
    displaced = manager.register(connect(1, 2, instance="d")).displaced
    assert displaced == [(connections[1], TOO_MANY)]
    assert manager.connection_count == 3


def test_the_connection_quiet_longest_makes_room_for_a_full_user(manager, connect) -> None:
    connections = [connect(1, number, now=number) for number in range(1, 6)]
    for connection in connections:
        manager.register(connection)
    displaced = manager.register(connect(1, 9, now=9)).displaced
    assert displaced == [(connections[0], TOO_MANY)]
    assert sorted(manager.get_connected_devices(1)) == [2, 3, 4, 5, 9]


def test_a_lone_device_at_the_user_limit_makes_room_for_itself(connect) -> None:
    manager = ConnectionManager(per_device=2, per_user=1)
    first, second = connect(1, 2, instance="a"), connect(1, 2, instance="b")
    manager.register(first)
    assert manager.register(second).displaced == [(first, TOO_MANY)]
    assert manager.connections() == [second]
    assert manager.is_device_connected(1, 2)


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        (Selector(), {"c1", "c2", "c3"}),
        (Selector(user_id=1), {"c1", "c2"}),
        (Selector(user_id=1, device_id=2), {"c1"}),
        (Selector(session_id=6), {"c2"}),
        (Selector(user_id=1, except_session_id=6), {"c1"}),
        (Selector(connection_id="c3"), {"c3"}),
        (Selector(connection_id="c3", user_id=1), set()),
        (Selector(user_id=9), set()),
    ],
)
def test_a_selector_finds_those_that_match_every_field(manager, connect, selector, found) -> None:
    manager.register(connect(1, 2, session_id=5))
    manager.register(connect(1, 3, session_id=6))
    manager.register(connect(4, 5, session_id=7))
    assert {one.connection_id for one in manager.connections(selector)} == found


def test_a_watcher_is_told_of_each_connection_that_comes_or_goes(manager, connect) -> None:
    seen: list[tuple[str, bool]] = []
    manager.watcher = lambda one: seen.append((one.connection_id, manager.is_registered(one)))
    old, new = connect(1, 2), connect(1, 2)
    manager.register(old)
    manager.register(new)
    manager.unregister(old)
    manager.unregister(new)
    assert seen == [("c1", True), ("c1", False), ("c2", True), ("c2", False)]
    manager.watcher = None
    manager.register(connect(1, 2))
    assert len(seen) == 4


def test_counts_are_of_each_device_of_one_user(manager, connect) -> None:
    for device, instance in ((2, "a"), (2, "b"), (3, "a")):
        manager.register(connect(1, device, instance=instance))
    manager.register(connect(9, 5))
    assert manager.counts(1) == {2: 2, 3: 1}
    assert manager.counts(4) == {}
    assert [manager.count(1, device) for device in (2, 3, 5)] == [2, 1, 0]
