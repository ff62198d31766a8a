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
from app.protocol.messages import Resume
from app.protocol.position import Position, Query
from app.protocol.publication import Publication
from app.publishing.publisher import appended
from app.streams.base import StreamLog
from app.streams.committer import Stored


def make_node(streams: StreamLog) -> Node:
    """Return a node whose outboxes are small, so that they are full soon."""
    return Node(ConnectionManager(), streams, Metrics(), NodeLimits(outbox=OutboxLimits(4, 1000)))


def append(node: Node, publication: Publication) -> "asyncio.Future[Stored]":
    """Store the message; the future gets the outcome."""
    return appended(node.append, publication)


def frames(data: bytes) -> list[dict[str, Any]]:
    """Return the messages in a stream of unmasked frames."""
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
    ) -> Resume:
        """Enter as after an upgrade; returns what `connected` says of the start."""
        connection = self.connection
        await self.node.delivery.standings.prepare(connection.user_id, connection.device_id)
        start = self.enter(wanted, live=live, snapshot=snapshot)
        await self.settle()
        return start

    def enter(
        self, wanted: Position | None = None, *, live: bool = False, snapshot: bool = False
    ) -> Resume:
        """Enter the node, with the standing of the device in memory."""
        query = Query(positioned=True, position=wanted, live=live, snapshot=snapshot)
        return self.node.enter(self.connection, query)

    def drain(self) -> None:
        """Have the peer read what waits in the outbox, if it reads at all."""
        while self.wire.unread == 0 and (data := self.connection.take()) is not None:
            self.wire.written.append(data)

    async def settle(self) -> None:
        """Run the loop until nothing more happens, with the peer reading whatever waits for it."""
        while True:
            for _ in range(10):
                await asyncio.sleep(0)
            self.drain()
            going = self.wire.unread == 0 and self.connection.closing is None
            busy = self.connection.place.behind and going
            if not busy and not self.node.outgoing.dirty:
                return

    def stall(self) -> None:
        self.wire.unread = 1

    async def go_on(self) -> None:
        self.wire.unread = 0
        await self.settle()

    def messages(self) -> list[dict[str, Any]]:
        """Return what the server sent to the peer, without `connected`."""
        found = frames(b"".join(self.wire.written))
        return [one for one in found if one["type"] != "connected"]

    def offsets(self) -> list[int]:
        """Return the offsets of what the server sent, snapshots left out."""
        kept = [one for one in self.messages() if "offset" in one]
        return [one["offset"] for one in kept if "snapshot" not in one]

    def positions(self) -> list[dict[str, Any]]:
        return [one["payload"] for one in self.messages() if one["type"] == "position"]
