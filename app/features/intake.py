"""What peers send: counted, limited, decoded, handled and answered.

A message is handled at once if it can be, in the call in which its bytes arrive. What has to wait
goes through aiohttp to the task that reads, which costs about as much again.
"""

import logging
from typing import Final

from app.base.logs import fields
from app.features.dispatch import Dispatcher, Later
from app.node.connection import Connection
from app.node.node import Node
from app.node.rate import Rate
from app.protocol.close import INTERNAL, RATE_LIMIT
from app.protocol.frames import OPCODE_PONG, frame, text_of
from app.protocol.messages import MessageError, decode, error, id_in

PROMPT_BYTES: Final = 1024
"""Larger frames are left to aiohttp, which unmasks many bytes quicker."""

RATE_LIMIT_AFTER_MS: Final = 10_000
"""How long a peer that was cut off for its rate should stay away."""

log = logging.getLogger(__name__)


class Intake:
    """Takes what the peers of a node send; `max_bytes` is the longest message that is allowed."""

    __slots__ = ("_dispatcher", "_node", "_prompt_bytes", "arrivals")

    def __init__(self, node: Node, dispatcher: Dispatcher, max_bytes: int) -> None:
        self._node = node
        self._dispatcher = dispatcher
        # Whether a message is too long is for aiohttp to find; its frame is a little longer.
        self._prompt_bytes = min(PROMPT_BYTES, max_bytes)
        self.arrivals = node.arrivals

    def take_now(self, connection: Connection, data: bytes) -> bool:
        """Have the message in one whole text frame handled, unless it has to wait for something.

        False: nothing was done, and it does not count. Never raises.
        """
        size = len(data)
        if size > self._prompt_bytes or connection.closing is not None or connection.full:
            return False
        text = text_of(data)
        if text is None:
            return False
        try:
            return self._take_text_now(connection, text, size)
        except Exception:
            log.exception("connection failed", extra=who(connection))
            connection.disconnect(INTERNAL)
            return True

    async def take_text(self, connection: Connection, text: str) -> None:
        """Have a text message handled and answered."""
        size = len(text) if text.isascii() else len(text.encode())
        if not self._admits(connection, size, text):
            return
        try:
            message = decode(text)
        except MessageError as fault:
            connection.reply(error(fault.code, fault.message, fault.reply_to).frame)
            return
        answer = await self._dispatcher.dispatch(connection, message)
        if answer is not None:
            connection.reply(answer.frame)

    def take_ping(self, connection: Connection, data: bytes) -> None:
        """Answer a ping of the protocol."""
        if self._admits(connection, len(data)):
            connection.reply(frame(data, OPCODE_PONG))

    def take_pong(self, connection: Connection, data: bytes) -> None:
        """Note that our ping was answered; a pong that nobody asked for is just that."""
        if data == connection.awaited_pong:
            # It was asked for, so it counts for nothing.
            connection.heard_at = self._node.clock()
            connection.awaited_pong = None
        else:
            self._admits(connection, len(data))

    def take_binary(self, connection: Connection, data: bytes) -> None:
        """Refuse a binary message."""
        if self._admits(connection, len(data)):
            connection.reply(error("invalid_message", "messages are text frames").frame)

    def _take_text_now(self, connection: Connection, text: str, size: int) -> bool:
        size -= 6 if size < 132 else 8
        if not self._admits(connection, size, text):
            return True
        try:
            message = decode(text)
        except MessageError as fault:
            connection.reply(error(fault.code, fault.message, fault.reply_to).frame)
            return True
        answer = self._dispatcher.dispatch_now(connection, message)
        if isinstance(answer, Later):
            connection.frames_in -= 1
            if connection.rate is not None:
                connection.rate.give_back(size)
            return False
        if answer is not None:
            connection.reply(answer.frame)
        return True

    def _admits(self, connection: Connection, size: int, text: str = "") -> bool:
        """Count a message of so many bytes; one over the limit is refused, and this is False."""
        now = connection.heard_at = self._node.clock()
        connection.frames_in += 1
        rate = connection.rate or self._node.limit_rate(connection)
        if rate is None or rate.take(size, now):
            return True
        _refuse(connection, rate, text)
        return False


def _refuse(connection: Connection, rate: Rate, text: str) -> None:
    """Drop a message over the limit, saying so; a whole burst more of them ends the connection."""
    if rate.refused > rate.limit.messages_burst:
        connection.disconnect(RATE_LIMIT, after_ms=RATE_LIMIT_AFTER_MS)
    else:
        refusal = error("rate_limited", "too many messages; this one is dropped", id_in(text))
        connection.reply(refusal.frame)


def who(connection: Connection) -> dict[str, dict[str, object]]:
    """Return what a log line about a connection names."""
    return fields(
        user=connection.user_id,
        device=connection.device_id,
        instance=connection.instance,
        connection=connection.connection_id,
        address=connection.address,
    )
