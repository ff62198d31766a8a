"""When a full collection is due, and that it comes."""

import asyncio
import gc
import weakref

import pytest

from app.base.garbage import OF_A_CONNECTION, TOLERATED, YOUNG, Heap, short_pauses


class FakeServer:
    """A server whose memory and connections the tests set."""

    def __init__(self) -> None:
        self.connections = 0
        self.blocks = 1_000_000
        self.heap = Heap(lambda: self.connections, lambda: self.blocks)

    def make(self, blocks: int) -> bool:
        """Allocate blocks; tell whether a collection is needed, and if so, count it as done."""
        self.blocks += blocks
        needed = self.heap.needs_collection()
        if needed:
            self.heap.collected()
        return needed


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def test_a_storm_of_connections_is_no_garbage(server: FakeServer) -> None:
    for _ in range(100):
        server.connections += 500
        assert not server.make(500 * OF_A_CONNECTION)


def test_what_belongs_to_no_connection_is_collected_once(server: FakeServer) -> None:
    assert not server.make(TOLERATED)
    assert server.make(1)
    assert not server.make(TOLERATED)
    assert server.make(1)


def test_what_ended_connections_left_behind_is_collected(server: FakeServer) -> None:
    server.connections = 10_000
    server.make(10_000 * OF_A_CONNECTION)
    for _ in range(3):
        server.connections -= 1000
        assert not server.make(0)
    server.connections -= 1000
    assert server.make(0)


def test_many_live_connections_allow_for_more_garbage(server: FakeServer) -> None:
    server.connections = 10_000
    server.make(10_000 * OF_A_CONNECTION)
    assert not server.make(3 * TOLERATED)
    assert server.make(1)


def test_after_a_collection_it_counts_anew(server: FakeServer) -> None:
    server.make(TOLERATED)
    server.heap.collected()
    assert not server.make(TOLERATED)


class Node:
    """A member of a cycle."""

    def __init__(self) -> None:
        self.me = self


async def test_garbage_is_collected_though_what_was_there_before_is_left_out() -> None:
    thresholds = gc.get_threshold()
    with short_pauses(lambda: 0, check_seconds=0.001):
        assert gc.get_threshold()[0] == YOUNG
        assert gc.get_freeze_count() > 0
        old = Node()
        collected = asyncio.Event()
        weakref.finalize(old, collected.set)
        gc.collect(0)
        del old
        kept = [[] for _ in range(TOLERATED + YOUNG)]
        await asyncio.wait_for(collected.wait(), 10)
        assert len(kept) > TOLERATED
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0
