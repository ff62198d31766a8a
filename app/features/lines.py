"""Messages whose feature has to wait: a task for each connection and feature, and a line behind it.

The task exists only while something waits. Lines are bounded for a connection and for the node, in
messages and bytes; they hold texts, since decoded messages take many times as much memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from app.base.metrics import Metrics
from app.features.dispatch import Dispatcher, discard, who
from app.features.feature import Outcome
from app.node.acting import acting_device
from app.node.connection import Connection
from app.node.inflow import Bounds, Line, Waiting
from app.protocol.messages import ClientMessage, decode, error, feature_of

CLOSING_SECONDS: Final = 0.5
"""Time for a handler to end when the server closes its connection, which takes a second at most."""

SLOW_SECONDS: Final = 1.0
"""A handler that takes longer is named in the log, at most one in as many seconds."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LineLimits:
    """What may wait of one connection and of the node, and how long a handler may take.

    `message_bytes` is the longest message.
    """

    messages: int = 64
    bytes: int = 262_144
    node_bytes: int = 67_108_864
    handler_seconds: float = 10
    message_bytes: int = 65_536


class Lines:
    """The lines of all connections; `pausing` features refuse nothing, but have reading pause."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        metrics: Metrics,
        limits: LineLimits,
        pausing: Collection[str] = (),
    ) -> None:
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._seconds = limits.handler_seconds
        self._bounds = Bounds(
            limits.messages, limits.bytes, limits.node_bytes, limits.message_bytes
        )
        self._pausing = frozenset(pausing)
        self._quiet_until = 0.0

    def begin(
        self, connection: Connection, message: ClientMessage, awaited: Awaitable[Outcome]
    ) -> None:
        """Have a task wait for the answer; later messages of this feature wait for the task."""
        inflow, feature = connection.inflow, feature_of(message.type)
        if inflow.waiting is None:
            inflow.waiting = Waiting(self._bounds)
        line = inflow.waiting.lines[feature] = Line(feature)
        inflow.waiting.pausing += feature in self._pausing
        self._start(connection, inflow.waiting, line, message, awaited)

    def join(
        self, connection: Connection, waiting: Waiting, message: ClientMessage, text: str
    ) -> None:
        """Have a message stand in line behind the others of its feature, or answer `busy`."""
        feature, data = feature_of(message.type), text.encode()
        if waiting.takes(len(data)) or feature in self._pausing:
            waiting.lines[feature].texts.append(data)
            self._count(waiting, 1, len(data))
        else:
            self._metrics.busy += 1
            refusal = error("busy", f"too many {feature} messages wait; repeat it", message.id)
            connection.reply(refusal.frame)

    async def finish(self, connection: Connection) -> None:
        """Wait until no handler of the connection, which has ended, runs or will run.

        If the peer has left, what it sent before is finished in the time of one handler. If the
        server closes, nothing in line begins, and what runs is cancelled after `CLOSING_SECONDS`.
        """
        inflow, waiting = connection.inflow, connection.inflow.waiting
        if waiting is None:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    while inflow.waiting is waiting and not connection.is_closing():
                        await inflow.resumed()
            waiting.over = True
            for line in waiting.lines.values():
                self._drop(waiting, line)
            await self._end(connection, [line.task for line in waiting.lines.values()])
        except asyncio.CancelledError:
            waiting.over = True
            for line in waiting.lines.values():
                line.task.cancel()
            raise

    async def _end(self, connection: Connection, tasks: list["asyncio.Task[Any]"]) -> None:
        """Give the tasks a moment, then cancel them, and wait until they have ended."""
        patience = CLOSING_SECONDS
        while tasks:
            await asyncio.wait(tasks, timeout=patience)
            tasks = [task for task in tasks if not task.done()]
            if tasks and patience != CLOSING_SECONDS:
                log.warning("handler does not end", extra=who(connection))
            for task in tasks:
                task.cancel()
            patience = self._seconds

    # One line

    def _start(
        self,
        connection: Connection,
        waiting: Waiting,
        line: Line,
        message: ClientMessage,
        awaited: Awaitable[Outcome],
    ) -> None:
        """Have a task wait for one handler, which is cancelled when it takes too long."""
        loop = asyncio.get_running_loop()
        line.message, line.late, line.begun_at = message, False, loop.time()
        line.task = loop.create_task(_outcome(connection, awaited), name=f"{line.feature} handler")
        line.timer = loop.call_later(self._seconds, self._time_out, connection, line)
        self._metrics.handlers_running += 1
        line.task.add_done_callback(partial(self._done, connection, waiting, line))

    def _time_out(self, connection: Connection, line: Line) -> None:
        line.late = True
        unknown = "this took too long; whether it was done is unknown"
        connection.reply(error("timed_out", unknown, line.message.id).frame)
        line.task.cancel()

    def _done(
        self, connection: Connection, waiting: Waiting, line: Line, task: "asyncio.Task[Outcome]"
    ) -> None:
        """Answer the message whose handler has ended, and go on with the next in line."""
        line.timer.cancel()
        self._metrics.handlers_running -= 1
        self._observe(connection, line)
        fault = asyncio.CancelledError() if task.cancelled() else task.exception()
        if line.late or waiting.over or connection.is_closing():
            # It is answered already, or nobody is there to be answered.
            pass
        elif fault is not None:
            self._dispatcher.fail(connection, line.message, fault)
        else:
            self._dispatcher.conclude(connection, line.message, task.result())
        self._advance(connection, waiting, line)

    def _advance(self, connection: Connection, waiting: Waiting, line: Line) -> None:
        """Begin with the next in line until one has to wait, or the line is empty."""
        while line.texts and not waiting.over and not connection.is_closing():
            if connection.backed_up:
                line.task = asyncio.create_task(_cleared(connection, waiting))
                line.task.add_done_callback(lambda _: self._advance(connection, waiting, line))
                return
            text = line.texts.popleft()
            self._count(waiting, -1, -len(text))
            connection.inflow.resume()
            message = decode(text.decode())
            awaited = self._dispatcher.begin(connection, message)
            if awaited is not None:
                self._start(connection, waiting, line, message, awaited)
                return
        # In the step in which the line was found empty: the next message finds no line.
        self._drop(waiting, line)
        del waiting.lines[line.feature]
        waiting.pausing -= line.feature in self._pausing
        if not waiting.lines:
            connection.inflow.waiting = None
        connection.inflow.resume()

    def _drop(self, waiting: Waiting, line: Line) -> None:
        """Forget what stands in the line."""
        while line.texts:
            self._count(waiting, -1, -len(line.texts.pop()))

    def _count(self, waiting: Waiting, messages: int, size: int) -> None:
        waiting.add(messages, size)
        self._metrics.messages_waiting += messages

    def _observe(self, connection: Connection, line: Line) -> None:
        now = asyncio.get_running_loop().time()
        seconds = now - line.begun_at
        self._metrics.handler_took(line.feature, seconds)
        if seconds > SLOW_SECONDS and now >= self._quiet_until:
            self._quiet_until = now + SLOW_SECONDS
            about = {"prefix": line.feature, "seconds": round(seconds, 1)}
            log.warning("slow handler", extra={"fields": who(connection)["fields"] | about})


async def _outcome(connection: Connection, awaited: Awaitable[Outcome]) -> Outcome:
    """Wait for the handler, unless its connection was closed before it could begin."""
    if connection.is_closing():
        discard(awaited)
        return None
    # For the rest of this task, which is the handler's alone.
    acting_device.set(connection.device_id)
    # A future may be others' too, so what is cancelled is only this wait.
    return await (asyncio.shield(awaited) if isinstance(awaited, asyncio.Future) else awaited)


async def _cleared(connection: Connection, waiting: Waiting) -> None:
    """Wait until the peer has taken answers, and the disk messages, or nothing may begin."""
    while connection.backed_up and not waiting.over and not connection.is_closing():
        await connection.inflow.resumed()
