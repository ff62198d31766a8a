"""Messages whose feature has to wait: a task for each connection and feature, and a line behind it.

The task exists only while something waits. Lines are bounded for a connection and for the node, in
messages and bytes; they hold texts, since decoded messages take many times as much memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from app.base.metrics import Metrics
from app.features.dispatch import Dispatcher, who
from app.features.feature import Outcome
from app.node.connection import Connection
from app.node.inflow import Line, Waiting
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
        self._limits = limits
        self._pausing = frozenset(pausing)
        self._bytes = 0
        self._quiet_until = 0.0

    def begin(
        self, connection: Connection, message: ClientMessage, awaited: Awaitable[Outcome]
    ) -> None:
        """Have a task wait for the answer; later messages of this feature wait for the task."""
        inflow = connection.inflow
        waiting = inflow.waiting = inflow.waiting or Waiting()
        feature = feature_of(message.type)
        line = waiting.lines[feature] = Line()
        line.task = asyncio.create_task(
            self._run(connection, waiting, feature, message, awaited), name=f"{feature} handler"
        )
        self._judge(waiting)

    def join(
        self, connection: Connection, waiting: Waiting, message: ClientMessage, text: str, size: int
    ) -> None:
        """Have a message stand in line behind the others of its feature, or answer `busy`."""
        feature, limits = feature_of(message.type), self._limits
        full = waiting.count > 0 and (
            waiting.count >= limits.messages or waiting.bytes + size > limits.bytes
        )
        if feature not in self._pausing and (full or self._bytes + size > limits.node_bytes):
            self._metrics.busy += 1
            refusal = error("busy", f"too many {feature} messages wait; repeat it", message.id)
            connection.reply(refusal.frame)
            return
        waiting.lines[feature].texts.append(data := text.encode())
        self._count(waiting, 1, len(data))

    async def finish(self, connection: Connection) -> None:
        """Wait until no handler of the connection, which has ended, runs or will run.

        If the peer has left, what it sent before is finished in the time of one handler. If the
        server closes, nothing in line begins, and what runs is cancelled after `CLOSING_SECONDS`.
        """
        waiting = connection.inflow.waiting
        if waiting is None:
            return
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.handler_seconds):
                    while waiting.lines and not connection.is_closing():
                        await connection.inflow.resumed()
            self._drop(waiting)
            tasks = [line.task for line in waiting.lines.values()]
            if tasks:
                await asyncio.wait(tasks, timeout=CLOSING_SECONDS)
            while running := [task for task in tasks if not task.done()]:
                for task in running:
                    task.cancel()
                await asyncio.wait(running, timeout=SLOW_SECONDS)
        except asyncio.CancelledError:
            for line in waiting.lines.values():
                line.task.cancel()
            raise

    async def _run(
        self,
        connection: Connection,
        waiting: Waiting,
        feature: str,
        message: ClientMessage,
        awaited: Awaitable[Outcome],
    ) -> None:
        begun: tuple[ClientMessage, Awaitable[Outcome]] | None = (message, awaited)
        try:
            while begun is not None:
                await self._finish(connection, waiting, feature, *begun)
                begun = self._next(connection, waiting, feature)
        finally:
            # In the step in which the line was found empty: the next message finds no line.
            self._drop(waiting, feature)
            del waiting.lines[feature]
            self._judge(waiting)
            connection.inflow.resume()

    def _next(
        self, connection: Connection, waiting: Waiting, feature: str
    ) -> tuple[ClientMessage, Awaitable[Outcome]] | None:
        """Begin with the next in line until one has to wait; None when there is none."""
        texts = waiting.lines[feature].texts
        while texts and not connection.is_closing():
            text = texts.popleft()
            self._count(waiting, -1, -len(text))
            connection.inflow.resume()
            message = decode(text.decode())
            awaited = self._dispatcher.begin(connection, message)
            if awaited is not None:
                return message, awaited
        return None

    async def _finish(
        self,
        connection: Connection,
        waiting: Waiting,
        feature: str,
        message: ClientMessage,
        awaited: Awaitable[Outcome],
    ) -> None:
        """Wait for one handler, and answer; one that takes too long is cancelled."""
        loop, task = asyncio.get_running_loop(), waiting.lines[feature].task
        begun, late = loop.time(), False

        def time_out() -> None:
            nonlocal late
            late = True
            refusal = error(
                "timed_out", "it took too long; whether it was done is unknown", message.id
            )
            connection.reply(refusal.frame)
            task.cancel()

        timer = loop.call_later(self._limits.handler_seconds, time_out)
        self._metrics.handlers_running += 1
        outcome: Outcome = None
        fault: BaseException | None = None
        try:
            outcome = await awaited
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001
            fault = raised
        timer.cancel()
        self._metrics.handlers_running -= 1
        self._observe(connection, feature, loop.time() - begun)
        if task.cancelling() > late:
            # The connection has ended; what the handler made of that does not matter.
            raise asyncio.CancelledError
        if late:
            task.uncancel()
        elif fault is not None:
            self._dispatcher.fail(connection, message, fault)
        else:
            self._dispatcher.conclude(connection, message, outcome)

    def _observe(self, connection: Connection, feature: str, seconds: float) -> None:
        self._metrics.handler_took(feature, seconds)
        now = asyncio.get_running_loop().time()
        if seconds > SLOW_SECONDS and now >= self._quiet_until:
            self._quiet_until = now + SLOW_SECONDS
            about = who(connection)["fields"] | {"prefix": feature, "seconds": round(seconds, 1)}
            log.warning("slow handler", extra={"fields": about})

    def _drop(self, waiting: Waiting, feature: str | None = None) -> None:
        """Forget what stands in this line, or in all lines."""
        for name, line in waiting.lines.items():
            if feature in (None, name):
                while line.texts:
                    self._count(waiting, -1, -len(line.texts.pop()))

    def _count(self, waiting: Waiting, messages: int, size: int) -> None:
        waiting.count += messages
        waiting.bytes += size
        self._bytes += size
        self._metrics.messages_waiting += messages
        self._judge(waiting)

    def _judge(self, waiting: Waiting) -> None:
        """Have reading pause while there may be no place for a message of a pausing feature."""
        limits = self._limits
        waiting.crowded = not self._pausing.isdisjoint(waiting.lines) and (
            waiting.count >= limits.messages
            or self._bytes + limits.message_bytes > limits.node_bytes
            or (waiting.count > 0 and waiting.bytes + limits.message_bytes > limits.bytes)
        )
