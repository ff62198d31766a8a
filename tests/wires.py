"""Stand-ins for what is outside of a connection: a socket, and the ticks of an event loop."""

from collections.abc import Callable
from typing import Any

from app.node.connection import Connection
from app.node.node import Node
from app.protocol.position import PLAIN


class MemoryWire:
    """A wire whose peer reads only when told to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.unread = 0
        self.pumps = 0
        self.kernel = 0
        self.closed_soon = False
        self.aborted = False

    def write(self, data: bytes) -> bool:
        """Take the bytes; a test may say at any time that some are unread."""
        self.written.append(data)
        return False

    def buffered(self) -> int:
        return self.unread

    def pump(self) -> None:
        self.pumps += 1

    def close_soon(self) -> None:
        self.closed_soon = True

    def abort(self) -> None:
        self.aborted = True

    def unsent_in_kernel(self) -> int:
        return self.kernel


class Ticks:
    """Runs what was called soon when a test says that the tick ends."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.now = 0.0
        self.observed: list[float] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def clock(self) -> float:
        return self.now

    def end(self) -> None:
        """End the tick: what was called soon runs, what it calls soon waits for the next one."""
        due, self.soon = self.soon, []
        for callback in due:
            callback()


def entered(node: Node, user_id: int = 1, device_id: int = 1, **more: Any) -> Connection:
    """Return a connection that has entered the node, without a socket."""
    connection = Connection(
        MemoryWire(),
        node.outgoing,
        user_id=user_id,
        device_id=device_id,
        connection_id=f"{user_id}-{device_id}-{more.get('instance', '')}-{id(more)}",
        **more,
    )
    node.enter(connection, PLAIN)
    return connection
