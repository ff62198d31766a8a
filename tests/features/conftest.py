"""A node without sockets, on which a feature is tried."""

import json
from typing import Any

import pytest
from memory_log import MemoryLog
from wires import MemoryWire

from app.base.metrics import Metrics
from app.node.connection import Connection
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.node.registry import ConnectionManager
from app.protocol.position import PLAIN


@pytest.fixture
async def node() -> Node:
    return Node(
        ConnectionManager(per_device=3),
        MemoryLog(),
        Metrics(),
        NodeLimits(outbox=OutboxLimits(2, 1000)),
    )


class Member:
    """A connection of the node, and what its peer has been sent."""

    def __init__(self, node: Node, user: int, device: int, instance: str = "default") -> None:
        self.wire = MemoryWire()
        self.node = node
        self.connection = Connection(
            self.wire,
            node.outgoing,
            user_id=user,
            device_id=device,
            connection_id=f"{user}-{device}-{instance}-{id(self)}",
            instance=instance,
        )
        node.enter(self.connection, PLAIN)
        # What every peer is greeted with.
        self.wire.written.clear()

    def leave(self) -> None:
        """The socket has ended."""
        self.node.manager.unregister(self.connection)
        self.node.retire(self.connection)

    def clog(self) -> None:
        """Have the peer read nothing, and the outbox be full."""
        self.connection.flush()
        self.wire.unread = 1
        while self.connection.send(b"\x81\x00"):
            pass

    def unclog(self) -> None:
        """Have the peer read all that waits."""
        self.wire.unread = 0
        while (frames := self.connection.take()) is not None:
            self.wire.written.append(frames)

    def heard(self) -> list[dict[str, Any]]:
        """Return the messages since the last call; empty frames are none."""
        self.connection.flush()
        data = b"".join(self.wire.written)
        self.wire.written.clear()
        found = []
        while data:
            size, start = data[1], 2
            if size == 126:
                size, start = int.from_bytes(data[2:4], "big"), 4
            if size:
                found.append(json.loads(data[start : start + size]))
            data = data[start + size :]
        return found
