"""A feature that counts what the server's process holds; the trial `leaks` loads it."""

import asyncio
import gc
from collections import Counter

from app.features import ClientMessage, Connection, Outcome, Reply

COUNTED = ("app.", "aiohttp.", "asyncio.", "uvloop.")
"""Packages whose objects are counted."""


class Census:
    """`census.take` is answered with the numbers of tasks and of objects, by their class."""

    prefix = "census"

    def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Collect the garbage, then count."""
        gc.collect()
        names = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
        objects = Counter(name for name in names if name.startswith(COUNTED))
        return Reply("census", {"tasks": len(asyncio.all_tasks()), "objects": objects})


census = Census()
