"""Short pauses of the garbage collection, however many connections there are.

Python looks at the objects that were made lately, and now and then at those that have survived such
looks. A look stops the server for some 0.4 µs for each object, and a connection is about a hundred
of them. So only few are young at a time, and what has survived is looked at again only when there
must be garbage among it: aiohttp leaves cycles behind at the end of each connection.
"""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from app.base.logs import fields

YOUNG: Final = 5_000
"""Objects made, less those gone, before the young ones are looked at: 2 ms."""

NEVER: Final = 1_000_000_000

LOOKS: Final = 10
"""At the young ones between two counts of what is allocated, which take some 50 µs each."""

OF_A_CONNECTION: Final = 150
"""Blocks of memory that a live connection accounts for, of 100 bytes each on average."""

TOLERATED: Final = 250_000
"""Blocks that may be garbage before all objects are looked at, some tens of MB."""

TOLERATED_SHARE: Final = 0.5
"""As a part of the blocks of live connections: a look at many objects may find much."""

log = logging.getLogger(__name__)


class Garbage:
    """Decides when everything is to be looked at.

    `connections` tells how many are live, `blocks` how much memory is allocated.
    """

    def __init__(
        self, connections: Callable[[], int], blocks: Callable[[], int], look: Callable[[], None]
    ) -> None:
        self._connections = connections
        self._blocks = blocks
        self._look = look
        self._looks = 0
        self._begin()

    def made(self, phase: str, info: dict[str, Any]) -> None:
        """Python has looked at some objects (a member of `gc.callbacks`)."""
        if phase == "start":
            return
        if info["generation"]:
            self._begin()
            return
        self._looks += 1
        if self._looks % LOOKS == 0 and self._surplus() > self._tolerated():
            # Once is enough, until it has been done.
            self._begin()
            self._look()

    def _begin(self) -> None:
        self._then, self._allocated = self._connections(), self._blocks()

    def _surplus(self) -> int:
        """Return what was allocated since the last look, and for no live connection."""
        more = self._connections() - self._then
        return self._blocks() - self._allocated - OF_A_CONNECTION * more

    def _tolerated(self) -> float:
        return max(TOLERATED, TOLERATED_SHARE * OF_A_CONNECTION * self._connections())


@contextmanager
def short_pauses(connections: Callable[[], int]) -> Iterator[None]:
    """Inside of the block collections are short, and what was there before is in none of them."""
    loop = asyncio.get_running_loop()
    former = gc.get_threshold()
    gc.collect()
    gc.freeze()
    garbage = Garbage(connections, sys.getallocatedblocks, lambda: _soon(loop))
    gc.set_threshold(YOUNG, NEVER, NEVER)
    gc.callbacks.append(garbage.made)
    try:
        yield
    finally:
        gc.callbacks.remove(garbage.made)
        gc.set_threshold(*former)
        gc.unfreeze()


def _soon(loop: asyncio.AbstractEventLoop) -> None:
    # Python does not collect while it tells of a collection, which may be in any thread.
    loop.call_soon_threadsafe(look_at_all)


def look_at_all() -> None:
    """No garbage is left; the server stands still meanwhile."""
    begun = time.perf_counter()
    found = gc.collect()
    milliseconds = round((time.perf_counter() - begun) * 1000, 1)
    log.debug("collected", extra=fields(found=found, ms=milliseconds))
