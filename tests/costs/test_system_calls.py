"""How many system calls the server makes for a message, a ping, a commit."""

from collections.abc import Iterator

import pytest

from scripts.benchmark.servers import Tools
from tests.costs import bounds
from tests.costs.conftest import NEVER, Examined, examined, people
from tests.costs.system_calls import others

pytestmark = pytest.mark.process

CONNECTIONS = 400
FAMILIES = 20
BURST = 32
KEPT_AT_ONCE = 16


@pytest.fixture(scope="module")
def crowd(tools: Tools) -> Iterator[Examined]:
    """One user with 400 connections, whom the server does not ping."""
    with examined(tools, people(1, 50, CONNECTIONS // 50), HEARTBEAT_SECONDS=NEVER) as subject:
        subject.load.open(0, CONNECTIONS)
        # What is made for the first of everything.
        subject.load.fanout(2, burst=2)
        yield subject


@pytest.fixture(scope="module")
def families(tools: Tools) -> Iterator[Examined]:
    """20 users with two devices."""
    with examined(tools, people(FAMILIES, 2), HEARTBEAT_SECONDS=NEVER) as subject:
        subject.load.open(0, FAMILIES * 2)
        keep(subject, 2)
        yield subject


def keep(subject: Examined, rounds: int) -> None:
    subject.load.play("durable", rounds, size=2, groups=FAMILIES, burst=KEPT_AT_ONCE)


def test_a_fanout_is_one_write_for_each_receiver_and_one_read(crowd: Examined) -> None:
    messages = 50
    found = crowd.calls_of(lambda: crowd.load.fanout(messages))
    bounds.FANOUT_WRITES.check(found["write"], messages * CONNECTIONS, found)
    bounds.FANOUT_READS.check(found["read"], messages, found)
    bounds.FANOUT_OTHERS.check(others(found), messages, found)


def test_messages_that_come_at_once_are_written_at_once(crowd: Examined) -> None:
    bursts = 10
    found = crowd.calls_of(lambda: crowd.load.fanout(bursts, burst=BURST))
    bounds.BURST_WRITES.check(found["write"], bursts * BURST * CONNECTIONS, found)
    bounds.BURST_READS.check(found["read"], bursts, found)
    bounds.BURST_OTHERS.check(others(found), bursts, found)


def test_a_ping_is_one_read_and_one_write(crowd: Examined) -> None:
    found = crowd.calls_of(lambda: crowd.load.echo(10, CONNECTIONS))
    pings = 10 * CONNECTIONS
    bounds.PING_READS.check(found["read"], pings, found)
    bounds.PING_WRITES.check(found["write"], pings, found)
    bounds.PING_OTHERS.check(others(found), pings, found)


def test_a_connection_without_messages_asks_for_nothing(crowd: Examined) -> None:
    found = crowd.calls_of(lambda: crowd.load.hold(1))
    bounds.IDLE_CALLS.check(found.total() - found["futex"], CONNECTIONS, found)


def test_durable_messages_share_their_syncs(families: Examined) -> None:
    rounds = 10
    found = families.calls_of(lambda: keep(families, rounds))
    syncs = found["fsync"] + found["fdatasync"]
    bounds.SYNCS.check(syncs, rounds * FAMILIES * KEPT_AT_ONCE, found)


def test_a_ping_of_the_server_is_one_write_and_its_answer_one_read(tools: Tools) -> None:
    # A quarter of the connections is pinged in a second, and has two seconds for the answer.
    with examined(tools, people(1, 50, CONNECTIONS // 50), HEARTBEAT_SECONDS="4") as subject:
        subject.load.open(0, CONNECTIONS)
        found = subject.calls_of(lambda: subject.load.hold(1))
    assert found["write"] > bounds.BESIDE
    bounds.HEARTBEAT_WRITES.check(found["write"], found["read"], found)
    bounds.HEARTBEAT_READS.check(found["read"], found["write"], found)
    bounds.HEARTBEAT_OTHERS.check(others(found), found["write"], found)
