"""The way in: what peers send is counted, limited, decoded, handled by its feature and answered.

`Door.handle` is the one path, whoever brings the message: the tap in the call in which its bytes
arrive, or the task that reads. It never waits: what a feature has to wait for stands in a line of
its own, and all other messages go on.
"""

import logging
from collections.abc import Callable
from typing import Final

from app.features.dispatch import Dispatcher, who
from app.features.lines import Lines
from app.node.allowance import REFUSED_IN_A_ROW, Allowance, refusal
from app.node.connection import Connection
from app.node.inflow import Rate, RateLimit
from app.node.limited import Limit
from app.node.node import Node
from app.node.turns import Slices
from app.protocol.assembly import RATE_LIMITED
from app.protocol.close import INTERNAL, RATE_LIMIT
from app.protocol.frames import OPCODE_PONG, frame, wire_size
from app.protocol.messages import MessageError, decode, error, feature_of, id_in
from app.protocol.notes import Note, note_in

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
        "handle",
        "lines",
        "max_bytes",
        "prompt_bytes",
        "slices",
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
        self.slices = Slices()
        self.arrivals = node.deadlines.arrivals
        self.max_bytes = max_bytes
        # Of the frame, which is a little longer than the message.
        self.prompt_bytes = min(PROMPT_BYTES, max_bytes)
        self._limit = limit if limit is not None and not limit.unlimited else None
        self._allowances = node.allowances
        self.handle: Callable[[Connection, str, int | None], None] = self._handle
        """Have a text message handled and answered, at once or in its line.

        Takes the connection, the text, and the bytes of its frame on the wire, None if they were
        charged before. The caller has seen that the connection is neither closing nor full. Never
        raises.
        """
        node.tails.on_switch = self._switch

    def _switch(self, tailing: bool) -> None:
        """Tell of what comes in from now on, or do no more; else nothing asks whether to."""
        self.handle = self._handle_and_tell if tailing else self._handle

    def _handle_and_tell(self, connection: Connection, text: str, size: int | None) -> None:
        if connection.tailed:
            self._node.tails.incoming(connection, text)
        self._handle(connection, text, size)

    def _handle(self, connection: Connection, text: str, size: int | None) -> None:
        if size is not None and not self.charge(connection, size):
            self._refuse(connection, id_in(text))
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

    def take_text(self, connection: Connection, text: str) -> None:
        """Have a text message handled that comes by way of aiohttp."""
        if connection.inflow.paid:
            connection.inflow.paid = False
            self.handle(connection, text, None)
            return
        self.handle(connection, text, wire_size(len(text if text.isascii() else text.encode())))

    def take_ping(self, connection: Connection, data: bytes) -> None:
        """Answer a ping of the protocol."""
        if self.charge(connection, wire_size(len(data))):
            connection.reply(frame(data, OPCODE_PONG))
        else:
            self._refuse(connection)

    def take_pong(self, connection: Connection, data: bytes) -> None:
        """Note that our ping was answered; a pong that nobody asked for is just that."""
        if self._node.deadlines.heartbeat.take_pong(connection, data):
            # It was asked for, so it counts for nothing.
            connection.inflow.heard_at = self._node.clock()
        elif not self.charge(connection, wire_size(len(data))):
            self._refuse(connection)

    def take_note(self, connection: Connection, payload: bytes) -> None:
        """Act on a note of the assembly, which stands where the message was that it is about."""
        note = note_in(payload)
        if note is None:
            connection.inflow.paid = True
        else:
            self.drop(connection, note)

    def drop(self, connection: Connection, note: Note) -> None:
        """Answer a message that was dropped unread."""
        if connection.tailed:
            self._node.tails.dropped(connection, note.type, note.id, note.code)
        if note.code == RATE_LIMITED.code:
            self._refuse(connection, note.id)
        else:
            self._dispatcher.drop(connection, note)

    def charge(self, connection: Connection, size: int) -> bool:
        """Count a frame of `size` bytes, header included; False if it is over a limit.

        Everything that a peer sends is counted here, and once, for its connection and for its
        user. A connection that goes on after refusals is closed.
        """
        inflow = connection.inflow
        now = inflow.heard_at = self._node.clock()
        inflow.frames += 1
        allowance = inflow.allowance
        if allowance is None:
            # With the first frame, since many connections never send one.
            allowance = inflow.allowance = self._allowances.of(connection.user_id)
            if self._limit is not None:
                inflow.rate = Rate(self._limit, now)
        if inflow.rate is not None and not inflow.rate.take(size, now):
            self._note(connection, allowance, "connection", 0)
            return False
        above = allowance.take(size, now)
        if above is not None:
            self._note(connection, allowance, *above)
            return False
        inflow.refused = 0
        return True

    def _note(
        self, connection: Connection, allowance: Allowance, limit: Limit, wait: float
    ) -> None:
        """Note what is above a limit; close a connection that goes on all the same."""
        inflow = connection.inflow
        inflow.refused += 1
        inflow.above = (limit, wait)
        self._allowances.limited.note(connection.user_id, limit)
        too_often = allowance.refusals.take(1, inflow.heard_at) > 0
        if (too_often and inflow.refused > REFUSED_IN_A_ROW) or self._is_deaf(inflow.rate):
            connection.disconnect(RATE_LIMIT, after_ms=RATE_LIMIT_AFTER_MS)

    def _refuse(self, connection: Connection, id_: str | None = None) -> None:
        """Answer a message that is above a limit, unless its connection ends for that."""
        if connection.closing is None:
            told = refusal(*connection.inflow.above)
            answer = error(told.code, told.detail, id_, told.retry_after_ms)
            connection.reply(answer.frame)

    def _is_deaf(self, rate: Rate | None) -> bool:
        """Tell whether a whole burst more came after errors said that it is too much."""
        return rate is not None and rate.refused > rate.limit.messages_burst
