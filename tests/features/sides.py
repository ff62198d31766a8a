"""A door with some features, and one connection without a socket."""

import json
from collections.abc import Mapping
from copy import copy
from typing import Any

from delivery_peers import frames
from memory_log import MemoryLog
from wires import MemoryWire

from app.base.metrics import Metrics
from app.features.dispatch import Dispatcher
from app.features.door import Door
from app.features.feature import Handler
from app.features.lines import LineLimits, Lines
from app.node.connection import Connection
from app.node.inflow import RateLimit
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.node.registry import ConnectionManager


class Side:
    """What a peer says goes through the door; what it is answered is read here."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        limit: RateLimit | None = None,
        limits: LineLimits | None = None,
        pausing: tuple[str, ...] = (),
        outbox: int = 1000,
    ) -> None:
        self.metrics = Metrics()
        self.node = Node(
            ConnectionManager(),
            MemoryLog(),
            self.metrics,
            NodeLimits(outbox=OutboxLimits(outbox, 1_000_000)),
            clock=lambda: 7.0,
        )
        dispatcher = Dispatcher(handlers, self.metrics.received)
        self.lines = Lines(dispatcher, self.metrics, limits or LineLimits(), pausing)
        self.door = Door(self.node, dispatcher, self.lines, 65_536, limit)
        self.wire = MemoryWire()
        self.connection = Connection(
            self.wire, self.node.outgoing, user_id=1, device_id=2, connection_id="c-1"
        )

    def beside(self) -> "Side":
        """Return another connection of the same node, with the same door."""
        other = copy(self)
        other.wire = MemoryWire()
        other.connection = Connection(
            other.wire, self.node.outgoing, user_id=2, device_id=3, connection_id="c-2"
        )
        return other

    def say(self, type_: str, payload: Any = None, id: str | None = "7") -> None:
        message = {"type": type_, "payload": payload} | ({} if id is None else {"id": id})
        text = json.dumps(message)
        self.door.handle(self.connection, text, len(text))

    def answers(self) -> list[dict[str, Any]]:
        """Return all that the peer was sent."""
        self.connection.flush()
        return frames(b"".join(self.wire.written))

    def told(self) -> list[tuple[str | None, str]]:
        """Return the `reply_to` of each answer with its type, or its code if it is an error."""
        return [
            (
                one.get("reply_to"),
                one["payload"]["code"] if one["type"] == "error" else one["type"],
            )
            for one in self.answers()
        ]

    async def settled(self) -> None:
        """Wait until no handler runs and nothing is in line."""
        inflow = self.connection.inflow
        while inflow.waiting is not None and inflow.waiting.lines:
            await inflow.resumed()
