"""The way in: what peers send is counted, limited, decoded, handled by its feature and answered.

A message is handled at once if it can be, in the call in which its bytes arrive. What has to wait
goes through aiohttp to the task that reads, which costs about as much again.
"""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Final

from app.base.errors import Problem
from app.base.logs import fields
from app.base.metrics import PrefixCounter
from app.features.feature import (
    LATER,
    Accepted,
    Handler,
    Later,
    Outcome,
    PromptHandler,
    Reply,
    Storing,
)
from app.node.connection import Connection
from app.node.inflow import Rate, RateLimit
from app.node.node import Node
from app.protocol.close import INTERNAL, RATE_LIMIT
from app.protocol.frames import OPCODE_PONG, frame, text_of
from app.protocol.messages import (
    ClientMessage,
    MessageError,
    ServerMessage,
    decode,
    error,
    feature_of,
    id_in,
    ok,
    pong,
)
from app.streams.committer import Stored

PROMPT_BYTES: Final = 1024
"""Larger frames are left to aiohttp, which unmasks many bytes quicker."""

RATE_LIMIT_AFTER_MS: Final = 10_000
"""How long a peer that was cut off for its rate should stay away."""

log = logging.getLogger(__name__)


class Door:
    """Takes what the peers of a node send; `max_bytes` is the longest message that is allowed.

    `limit` is how much one connection may send.
    """

    __slots__ = ("_dispatcher", "_limit", "_node", "_prompt_bytes", "arrivals")

    def __init__(
        self,
        node: Node,
        dispatcher: "Dispatcher",
        max_bytes: int,
        limit: RateLimit | None = None,
    ) -> None:
        self._node = node
        self._dispatcher = dispatcher
        self._limit = limit if limit is not None and not limit.unlimited else None
        # Whether a message is too long is for aiohttp to find; its frame is a little longer.
        self._prompt_bytes = min(PROMPT_BYTES, max_bytes)
        self.arrivals = node.deadlines.arrivals

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
        if self._node.deadlines.heartbeat.take_pong(connection, data):
            # It was asked for, so it counts for nothing.
            connection.inflow.heard_at = self._node.clock()
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
            inflow = connection.inflow
            inflow.frames -= 1
            if inflow.rate is not None:
                inflow.rate.give_back(size)
            return False
        if answer is not None:
            connection.reply(answer.frame)
        return True

    def _admits(self, connection: Connection, size: int, text: str = "") -> bool:
        """Count a message of so many bytes; one over the limit is refused, and this is False."""
        inflow = connection.inflow
        now = inflow.heard_at = self._node.clock()
        inflow.frames += 1
        if self._limit is None:
            return True
        rate = inflow.rate
        if rate is None:
            # Full buckets, with the first message.
            rate = inflow.rate = Rate(self._limit, now)
        if rate.take(size, now):
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


class Dispatcher:
    """Sends each message to the handler of its prefix.

    Those of `prompt` are asked first, where there is no task that could wait.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        received: PrefixCounter,
        prompt: Mapping[str, PromptHandler] | None = None,
    ) -> None:
        self._handlers = dict(handlers)
        self._prompt = dict(prompt or {})
        self._received = received

    def dispatch_now(
        self, connection: Connection, message: ClientMessage
    ) -> ServerMessage | Later | None:
        """Do what `dispatch` does if that needs no waiting; else return LATER, nothing is done."""
        if message.type == "ping":
            self._received.add("ping")
            return pong(message.id)
        feature = feature_of(message.type)
        handler = self._prompt.get(feature)
        if handler is None:
            return LATER
        try:
            outcome = handler(connection, message)
        except (MessageError, Problem) as refusal:
            answer: ServerMessage | None = _refusal(refusal, message.id)
        except Exception:
            log.exception("feature %s failed", feature)
            answer = _failure(message.id)
        else:
            if isinstance(outcome, Later):
                return LATER
            answer = _conclude(connection, outcome, message.id)
        self._received.add(feature)
        return answer

    async def dispatch(
        self, connection: Connection, message: ClientMessage
    ) -> ServerMessage | None:
        """Have the message handled and return what answers it, if anything does.

        A message with an `id` has exactly one answer; one without is answered by `pong`, by a
        feature's own reply, or by an `error`. Never raises: a fault becomes an error reply. The
        answer to a durable message is given to the connection later, when it is on disk.
        """
        if message.type == "ping":
            self._received.add("ping")
            return pong(message.id)
        feature = feature_of(message.type)
        handler = self._handlers.get(feature)
        if handler is None:
            # Peers choose types; only those we know become names of a metric.
            self._received.add("unknown")
            return error("unknown_type", "no feature has this type", message.id)
        self._received.add(feature)
        try:
            outcome = await handler(connection, message)
        except (MessageError, Problem) as refusal:
            return _refusal(refusal, message.id)
        except Exception:
            log.exception("feature %s failed", feature)
            return _failure(message.id)
        return _conclude(connection, outcome, message.id)


def _failure(reply_to: str | None) -> ServerMessage:
    return error("internal_error", "the server failed to handle this", reply_to)


def _conclude(
    connection: Connection, outcome: Outcome, reply_to: str | None
) -> ServerMessage | None:
    """Return the answer, or have it given when the message is on disk."""
    if isinstance(outcome, Storing):
        connection.inflow.outstanding += 1
        outcome.then = partial(_answer_stored, connection, reply_to)
        return None
    return _answer(outcome, reply_to)


def _answer_stored(connection: Connection, reply_to: str | None, outcome: Stored | Problem) -> None:
    """Answer a durable message that is on disk, or could not be stored."""
    connection.inflow.settle()
    if isinstance(outcome, Problem):
        connection.reply(_refusal(outcome, reply_to).frame)
    elif reply_to is not None:
        kept = (outcome.epoch, outcome.offset, outcome.duplicate)
        connection.reply(ok(reply_to, outcome.delivered, kept).frame)


def _refusal(refusal: MessageError | Problem, reply_to: str | None) -> ServerMessage:
    text = refusal.detail if isinstance(refusal, Problem) else refusal.message
    return error(refusal.code, text, reply_to)


def _answer(outcome: Reply | Accepted | None, reply_to: str | None) -> ServerMessage | None:
    if isinstance(outcome, Reply):
        return ServerMessage(outcome.type, outcome.payload, reply_to=reply_to)
    if reply_to is None:
        return None
    return ok(reply_to, outcome.delivered if outcome is not None else [])
