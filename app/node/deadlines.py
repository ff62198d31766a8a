"""Messages that have begun to arrive and not ended, and since when."""

from collections.abc import Callable

from app.node.connection import Connection


class Arrivals:
    """The connections of which a message has begun and not ended, and since when."""

    __slots__ = ("clock", "since")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.since: dict[Connection, float] = {}
