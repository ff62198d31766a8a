"""Peers of a node in memory, as clients are told to be: they keep a position and drop repeats."""

import asyncio
import json
from typing import Any

from wires import MemoryWire

from app.base.metrics import Metrics
from app.node.connection import Connection
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.node.registry import ConnectionManager
from app.protocol.position import Position
from app.streams.base import StreamLog


def make_node(streams: StreamLog) -> Node:
    """A node whose outboxes are small, so that they are full soon."""
    return Node(ConnectionManager(), streams, Metrics(), NodeLimits(), OutboxLimits(4, 1000))


def frames(data: bytes) -> list[dict[str, Any]]:
    """The messages in a stream of unmasked frames."""
    found = []
    while data:
        size, head = data[1], 2
        if size == 126:
            size, head = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(data[2:10], "big"), 10
        found.append(json.loads(data[head : head + size]))
        data = data[head + size :]
    return found


class Peer:
    """A connection, and what its peer has read of it."""

    def __init__(self, node: Node, device: int, instance: str = "default", user: int = 1) -> None:
        self.wire = MemoryWire()
        self.node = node
        self.connection = Connection(
            self.wire,
            node.outgoing,
            user_id=user,
            device_id=device,
            connection_id=f"{device}-{instance}-{id(self)}",
            instance=instance,
            positioned=True,
        )

    async def connect(
        self, wanted: Position | None = None, *, live: bool = False, snapshot: bool = False
    ) -> Any:
        connection = self.connection
        await self.node.delivery.standings.prepare(connection.user_id, connection.device_id)
        start = self.enter(wanted, live=live, snapshot=snapshot)
        await self.settle()
        return start

    def enter(
        self, wanted: Position | None = None, *, live: bool = False, snapshot: bool = False
    ) -> Any:
        """The step of the handler in which nothing else can happen."""
        self.node.connect(self.connection)
        start = self.node.delivery.place(self.connection, wanted, live=live)
        by_cursor = wanted is None and not live
        self.node.delivery.begin(self.connection, start, snapshot=snapshot or by_cursor)
        return start

    def drain(self) -> None:
        """The peer reads what waits in the outbox, if it reads at all."""
        while self.wire.unread == 0 and (data := self.connection.take()) is not None:
            self.wire.written.append(data)

    async def settle(self) -> None:
        """Everything has happened that can: the peer has read whatever waited for it."""
        while True:
            for _ in range(10):
                await asyncio.sleep(0)
            self.drain()
            going = self.wire.unread == 0 and self.connection.closing is None
            busy = self.connection.behind and going
            if not busy and not self.node.outgoing.dirty:
                return

    def stall(self) -> None:
        self.wire.unread = 1

    async def go_on(self) -> None:
        self.wire.unread = 0
        await self.settle()

    def messages(self) -> list[dict[str, Any]]:
        return frames(b"".join(self.wire.written))

    def offsets(self) -> list[int]:
        """The offsets of what was handed over, snapshots apart."""
        kept = [one for one in self.messages() if "offset" in one]
        return [one["offset"] for one in kept if "snapshot" not in one]

    def positions(self) -> list[dict[str, Any]]:
        return [one["payload"] for one in self.messages() if one["type"] == "position"]
