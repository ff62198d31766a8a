"""`ack`: a device says up to where it has everything."""

from typing import Any

from app.features.feature import Outcome
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.messages import ClientMessage, MessageError


class AckFeature:
    """Moves the cursor of a device."""

    prefix = "ack"

    def __init__(self, node: Node) -> None:
        self._node = node

    def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Move the device's cursor to the offset, unless it is ahead of it already.

        Raises MessageError: `unknown_type`; `invalid_message` when the offset is none, or above
        what was sent.
        """
        if message.type != "ack":
            raise MessageError("unknown_type", "ack has no types of its own")
        body = message.payload
        offset: Any = body.get("offset") if isinstance(body, dict) else None
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            raise MessageError("invalid_message", "ack needs an offset: a whole number, 0 or more")
        if not self._node.delivery.acknowledge(connection, offset):
            raise MessageError("invalid_message", "this offset is above what was sent")
        return None
