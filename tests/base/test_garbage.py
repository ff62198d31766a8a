"""When all objects are looked at for garbage."""

import asyncio
import gc
import weakref

import pytest

from app.base.garbage import LOOKS, OF_A_CONNECTION, TOLERATED, YOUNG, Garbage, short_pauses


class House:
    """A server's memory and connections, as the tests say."""

    def __init__(self) -> None:
        self.connections = 0
        self.blocks = 1_000_000
        self.looks = 0
        self.garbage = Garbage(lambda: self.connections, lambda: self.blocks, self.look)

    def look(self) -> None:
        self.looks += 1

    def make(self, blocks: int) -> int:
        """Allocate so much, and return how often all was looked at meanwhile."""
        before, self.blocks = self.looks, self.blocks + blocks
        for _ in range(LOOKS):
            for phase in ("start", "stop"):
                self.garbage.made(phase, {"generation": 0})
        return self.looks - before


@pytest.fixture
def house() -> House:
    return House()


def test_a_storm_of_connections_is_no_garbage(house: House) -> None:
    for _ in range(100):
        house.connections += 500
        assert house.make(500 * OF_A_CONNECTION) == 0


def test_what_belongs_to_no_connection_is_looked_at_once(house: House) -> None:
    assert house.make(TOLERATED) == 0
    assert house.make(1) == 1
    assert house.make(TOLERATED) == 0
    assert house.make(1) == 1


def test_what_ended_connections_left_behind_is_looked_at(house: House) -> None:
    house.connections = 10_000
    house.make(10_000 * OF_A_CONNECTION)
    for _ in range(3):
        house.connections -= 1000
        assert house.make(0) == 0
    house.connections -= 1000
    assert house.make(0) == 1


def test_after_a_look_it_counts_anew(house: House) -> None:
    house.make(TOLERATED)
    house.garbage.made("stop", {"generation": 2})
    assert house.make(TOLERATED) == 0


class Node:
    """A member of a cycle."""

    def __init__(self) -> None:
        self.me = self


async def test_garbage_is_found_though_what_was_there_before_is_not_looked_at() -> None:
    thresholds = gc.get_threshold()
    with short_pauses(lambda: 0):
        assert gc.get_threshold()[0] == YOUNG
        old = Node()
        seen = weakref.ref(old)
        gc.collect(0)
        del old
        kept = [[] for _ in range(TOLERATED + YOUNG * (LOOKS + 1))]
        while seen() is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert len(kept) > TOLERATED
    assert gc.get_threshold() == thresholds
    assert gc.get_freeze_count() == 0
