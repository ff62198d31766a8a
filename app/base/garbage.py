"""Short pauses of the garbage collector, however many connections there are.

A full collection stops the server for some 0.4 µs for each object, and a connection is about a
hundred of them. Python's own rule makes one whenever the objects that survived have grown by a
quarter, garbage or not. Here Python collects young objects only, few at a time. A full collection
comes when more memory is allocated than the live connections account for. A count of ended
connections would not do: one that ends with the closing handshake leaves nothing behind, while any
other leaves some 60 blocks, in cycles of aiohttp's objects.
"""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from app.base.logs import fields

YOUNG: Final = 5_000
"""Objects made, less those freed, before the young ones are collected, which takes 2 ms."""

NEVER: Final = 1_000_000_000

CHECK_SECONDS: Final = 1.0
"""Between two counts of the allocated blocks, which take some 50 µs each."""

OF_A_CONNECTION: Final = 150
"""Blocks of memory that a live connection accounts for, of 100 bytes each on average."""

TOLERATED: Final = 250_000
"""Blocks that may be garbage before a full collection, some tens of MB."""

TOLERATED_SHARE: Final = 0.5
"""The same, as a part of the blocks of live connections, which make a full collection longer."""

log = logging.getLogger(__name__)


class Heap:
    """Tells how much of the memory allocated since the last full collection may be garbage.

    `connections` returns how many are live, `blocks` how many blocks of memory are allocated.
    """

    def __init__(self, connections: Callable[[], int], blocks: Callable[[], int]) -> None:
        self._connections = connections
        self._blocks = blocks
        self.collected()

    def collected(self) -> None:
        """Begin anew: a full collection has left no garbage."""
        self._live, self._allocated = self._connections(), self._blocks()

    def needs_collection(self) -> bool:
        """Tell whether more blocks than tolerated belong to no live connection."""
        live = self._connections()
        surplus = self._blocks() - self._allocated - OF_A_CONNECTION * (live - self._live)
        return surplus > max(TOLERATED, TOLERATED_SHARE * OF_A_CONNECTION * live)


@contextmanager
def short_pauses(
    connections: Callable[[], int], check_seconds: float = CHECK_SECONDS
) -> Iterator[None]:
    """Make collections short inside the block, and leave out of them what was there before it.

    `connections` returns how many are live. The event loop runs the block and the checks.
    """
    loop = asyncio.get_running_loop()
    former = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, NEVER, NEVER)
    heap = Heap(connections, sys.getallocatedblocks)
    timer: asyncio.TimerHandle

    def check() -> None:
        nonlocal timer
        if heap.needs_collection():
            collect_all()
            heap.collected()
        timer = loop.call_later(check_seconds, check)

    timer = loop.call_later(check_seconds, check)
    try:
        yield
    finally:
        timer.cancel()
        gc.set_threshold(*former)
        gc.unfreeze()


def collect_all() -> None:
    """Run a full collection, during which the server stands still, and log what it found."""
    begun = time.perf_counter()
    found = gc.collect()
    milliseconds = round((time.perf_counter() - begun) * 1000, 1)
    log.debug("collected", extra=fields(found=found, ms=milliseconds))
