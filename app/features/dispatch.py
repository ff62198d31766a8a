"""From a message to the feature that owns its prefix, and from its fault to one error reply."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from app.base.errors import Problem
from app.base.metrics import PrefixCounter
from app.node.connection import Connection
from app.protocol.messages import (
    ClientMessage,
    MessageError,
    ServerMessage,
    error,
    feature_of,
    ok,
    pong,
)
from app.streams.committer import Stored

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a feature answers instead of `ok`."""

    type: str
    payload: Any = None


@dataclass(slots=True)
class Accepted:
    """The message was taken, and these devices got something of it: the `ok` says so."""

    delivered: list[int]


class Storing:
    """The message is on its way to disk; `then` is called with what came of it."""

    __slots__ = ("then",)

    then: Callable[[Stored | Problem], None]

    def settle(self, outcome: Stored | Problem) -> None:
        """It is stored, or cannot be."""
        self.then(outcome)


class Later:
    """Nothing was done: this message has to wait for something."""


LATER: Final = Later()

Outcome = Reply | Accepted | Storing | None
Handler = Callable[[Connection, ClientMessage], Awaitable[Outcome]]
PromptHandler = Callable[[Connection, ClientMessage], Outcome | Later]


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
        connection.outstanding += 1
        outcome.then = partial(_answer_stored, connection, reply_to)
        return None
    return _answer(outcome, reply_to)


def _answer_stored(connection: Connection, reply_to: str | None, outcome: Stored | Problem) -> None:
    """Answer a durable message that is on disk, or could not be stored."""
    connection.settle()
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
