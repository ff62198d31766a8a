"""From a message to the feature that owns its prefix, and from what it answers to one frame."""

import logging
from collections.abc import Awaitable, Collection, Coroutine, Mapping
from functools import partial

from app.base.counts import PrefixCounter
from app.base.errors import Problem
from app.base.foreign import handle_shown
from app.base.logs import fields
from app.features.feature import Accepted, Handler, Outcome, Reply, Storing
from app.node.acting import acting_device
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
from app.protocol.notes import Note
from app.streams.committer import Stored

log = logging.getLogger(__name__)


class Dispatcher:
    """Has each message handled by its feature, and answers it; nothing that a feature does raises.

    A message with an `id` has exactly one answer; one without is answered by `pong`, by a feature's
    own reply, or by an `error`. A durable one is answered when it is on disk.

    A feature in `naming` names the device in all that it keeps, which saves noting for whom it
    acts.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        received: PrefixCounter,
        naming: Collection[str] = (),
    ) -> None:
        self._handlers = dict(handlers)
        self._received = received
        self._naming = frozenset(naming)

    def begin(self, connection: Connection, message: ClientMessage) -> Awaitable[Outcome] | None:
        """Have the message handled; return what its answer has to wait for, if anything."""
        if message.type == "ping":
            self._received.add("ping")
            connection.reply(pong(message.id).frame)
            return None
        feature = feature_of(message.type)
        handler = self._handlers.get(feature)
        if handler is None:
            # Peers choose types; only those we know become names of a metric.
            self._received.add("unknown")
            refusal = error("unknown_type", "no feature has this type", message.id)
            connection.reply(refusal.frame)
            return None
        self._received.add(feature)
        acting = None if feature in self._naming else acting_device.set(connection.device_id)
        try:
            return self._answer(connection, handler(connection, message), message.id)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as fault:  # noqa: BLE001
            # Also a cancellation: nothing here awaits, so it is of something else than this task.
            self.fail(connection, message, fault)
            return None
        finally:
            if acting is not None:
                acting_device.reset(acting)

    def drop(self, connection: Connection, note: Note) -> None:
        """Answer a message that was dropped unread; it counts as received if its type was found."""
        if note.type is not None:
            feature = feature_of(note.type)
            known = feature in self._handlers or feature == "ping"
            self._received.add(feature if known else "unknown")
        connection.reply(error(note.code, note.message, note.id).frame)

    def conclude(self, connection: Connection, message: ClientMessage, outcome: Outcome) -> None:
        """Answer the message with what was awaited."""
        acting = acting_device.set(connection.device_id)
        try:
            unwanted = self._answer(connection, outcome, message.id)
            if unwanted is not None:
                discard(unwanted)
                raise TypeError("a feature may not answer with an awaitable of an awaitable")
        except Exception as fault:  # noqa: BLE001
            self.fail(connection, message, fault)
        finally:
            acting_device.reset(acting)

    def fail(self, connection: Connection, message: ClientMessage, fault: BaseException) -> None:
        """Answer with what the feature refused, or hide what went wrong in it."""
        if isinstance(fault, MessageError | Problem):
            try:
                connection.reply(_refusal(fault, message.id).frame)
            except TypeError as broken:
                fault = broken
            else:
                return
        feature = feature_of(message.type)
        log.error("feature %s failed", feature, exc_info=fault, extra=who(connection))
        hidden = error("internal_error", "the server failed to handle this", message.id)
        connection.reply(hidden.frame)

    def _answer(
        self,
        connection: Connection,
        outcome: Outcome | Awaitable[Outcome],
        reply_to: str | None,
    ) -> Awaitable[Outcome] | None:
        """Answer with the outcome, or return it if it has to be awaited.

        Raises TypeError when it is no answer, or cannot be encoded.
        """
        match outcome:
            case Accepted(delivered):
                if reply_to is not None:
                    connection.reply(ok(reply_to, delivered).frame)
            case None:
                if reply_to is not None:
                    connection.reply(ok(reply_to, []).frame)
            case Storing():
                outcome.begin(partial(_answer_stored, connection, reply_to))
                connection.inflow.outstanding += 1
            case Reply(str(type_), payload):
                connection.reply(ServerMessage(type_, payload, reply_to=reply_to).frame)
            case Awaitable():
                return outcome
            case _:
                raise TypeError(f"a feature may not answer with {type(outcome).__name__}")
        return None


def discard(awaited: Awaitable[Outcome]) -> None:
    """Close a coroutine that is not to run; leave any other awaitable to its owner."""
    if isinstance(awaited, Coroutine):
        awaited.close()


def _answer_stored(connection: Connection, reply_to: str | None, outcome: Stored | Problem) -> None:
    """Answer a durable message that is on disk, or could not be stored."""
    connection.inflow.settle()
    if isinstance(outcome, Problem):
        connection.reply(_refusal(outcome, reply_to).frame)
    elif reply_to is not None:
        kept = (outcome.epoch, outcome.offset, outcome.duplicate)
        connection.reply(ok(reply_to, outcome.delivered, kept).frame)


def _refusal(refusal: MessageError | Problem, reply_to: str | None) -> ServerMessage:
    if isinstance(refusal, Problem):
        return error(refusal.code, refusal.detail, reply_to, refusal.retry_after_ms)
    return error(refusal.code, refusal.message, reply_to)


def who(connection: Connection) -> dict[str, dict[str, object]]:
    """Return what a log line about a connection names."""
    return fields(
        user=connection.user_id,
        handle=handle_shown(connection.handle),
        device=connection.device_id,
        instance=connection.instance,
        connection=connection.connection_id,
        address=connection.address,
    )
