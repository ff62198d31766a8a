"""The way in: what peers send is counted, limited, decoded, handled by its feature and answered.

`Door.handle` is the one path, whoever brings the message: the tap in the call in which its bytes
arrive, or the task that reads. It never waits: what a feature has to wait for stands in a line of
its own, and all other messages go on.
"""

import logging
from typing import Final

from app.features.dispatch import Dispatcher, who
from app.features.lines import Lines
from app.node.allowance import REFUSED_IN_A_ROW, Allowance, refusal
from app.node.connection import Connection
from app.node.inflow import Rate, RateLimit
from app.node.limited import Limit
from app.node.node import Node
from app.protocol.close import INTERNAL, RATE_LIMIT
from app.protocol.frames import OPCODE_PONG, frame
from app.protocol.messages import MessageError, decode, error, feature_of, id_in

PROMPT_BYTES: Final = 1024
"""Larger frames are left to aiohttp, which unmasks many bytes quicker."""

RATE_LIMIT_AFTER_MS: Final = 10_000
"""How long a peer that was cut off for its rate should stay away."""

log = logging.getLogger(__name__)


class Door:
    """Takes what the peers of a node send; `limit` is how much one connection may send.

    How much all connections of a user may send together is the node's to say.

    `max_bytes` is the longest message that is allowed.
    """

    __slots__ = (
        "_allowances",
        "_dispatcher",
        "_limit",
        "_node",
        "arrivals",
        "lines",
        "prompt_bytes",
    )

    def __init__(
        self,
        node: Node,
        dispatcher: Dispatcher,
        lines: Lines,
        max_bytes: int,
        limit: RateLimit | None = None,
    ) -> None:
        self._node = node
        self._dispatcher = dispatcher
        self.lines = lines
        self.arrivals = node.deadlines.arrivals
        # Whether a message is too long is for aiohttp to find; its frame is a little longer.
        self.prompt_bytes = min(PROMPT_BYTES, max_bytes)
        self._limit = limit if limit is not None and not limit.unlimited else None
        self._allowances = node.allowances

    def handle(self, connection: Connection, text: str, size: int) -> None:
        """Have a text message of `size` bytes handled and answered, at once or in its line.

        The caller has seen that the connection is neither closing nor full. Never raises.
        """
        if not self._admits(connection, size, text):
            return
        try:
            message = decode(text)
            waiting = connection.inflow.waiting
            if waiting is not None and feature_of(message.type) in waiting.lines:
                self.lines.join(connection, waiting, message, text)
                return
            awaited = self._dispatcher.begin(connection, message)
            if awaited is not None:
                self.lines.begin(connection, message, awaited)
        except MessageError as fault:
            connection.reply(error(fault.code, fault.message, fault.reply_to).frame)
        except Exception:
            log.exception("connection failed", extra=who(connection))
            connection.disconnect(INTERNAL)

    def take_ping(self, connection: Connection, data: bytes) -> None:
        """Answer a ping of the protocol."""
        if self._admits(connection, len(data)):
            connection.reply(frame(data, OPCODE_PONG))

    def take_pong(self, connection: Connection, data: bytes) -> None:
        """Note that our ping was answered; a pong that nobody asked for is just that."""
        if self._node.deadlines.heartbeat.take_pong(connection, data):
            # It was asked for, so it counts for nothing.
            connection.inflow.heard_at = self._node.clock()
        else:
            self._admits(connection, len(data))

    def take_binary(self, connection: Connection, data: bytes) -> None:
        """Refuse a binary message."""
        if self._admits(connection, len(data)):
            connection.reply(error("invalid_message", "messages are text frames").frame)

    def _admits(self, connection: Connection, size: int, text: str = "") -> bool:
        """Count a message of so many bytes; one over the limit is refused, and this is False."""
        inflow = connection.inflow
        now = inflow.heard_at = self._node.clock()
        inflow.frames += 1
        allowance = inflow.allowance
        if allowance is None:
            # With the first message, since many connections never send one.
            allowance = inflow.allowance = self._allowances.of(connection.user_id)
            if self._limit is not None:
                inflow.rate = Rate(self._limit, now)
        if inflow.rate is not None and not inflow.rate.take(size, now):
            self._refuse(connection, allowance, "connection", 0, text)
            return False
        above = allowance.take(size, now)
        if above is not None:
            self._refuse(connection, allowance, *above, text)
            return False
        inflow.refused = 0
        return True

    def _refuse(
        self, connection: Connection, allowance: Allowance, limit: Limit, wait: float, text: str
    ) -> None:
        """Answer a message that is above a limit; close a connection that goes on all the same."""
        inflow = connection.inflow
        inflow.refused += 1
        self._allowances.limited.note(connection.user_id, limit)
        too_often = allowance.refusals.take(1, inflow.heard_at) > 0
        if (too_often and inflow.refused > REFUSED_IN_A_ROW) or self._is_deaf(inflow.rate):
            connection.disconnect(RATE_LIMIT, after_ms=RATE_LIMIT_AFTER_MS)
            return
        told = refusal(limit, wait)
        answer = error(told.code, told.detail, id_in(text), told.retry_after_ms)
        connection.reply(answer.frame)

    def _is_deaf(self, rate: Rate | None) -> bool:
        """Tell whether a whole burst more came after errors said that it is too much."""
        return rate is not None and rate.refused > rate.limit.messages_burst
