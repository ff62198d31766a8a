"""One server process: who is connected, and every way by which a message or a close reaches them.

Carrying messages to other nodes will be composed in here; today a node is alone.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final, Literal

import orjson

from app.auth.sessions import Ended
from app.base.errors import NotConnected, Problem, SendError
from app.base.logs import fields
from app.base.metrics import Metrics
from app.node.connection import Connection
from app.node.deadlines import Arrivals
from app.node.delivery import Delivery
from app.node.heartbeat import SLOTS, Heartbeat
from app.node.outgoing import OutboxLimits, Outgoing
from app.node.rate import Rate, RateLimit
from app.node.registry import ConnectionManager, Delivered
from app.protocol.close import (
    PING_UNANSWERED,
    SESSION_EXPIRED,
    SHUTTING_DOWN,
    STREAM_RESET,
    TOO_SLOW,
    Close,
)
from app.protocol.keep import NOT_KEPT, Keep
from app.protocol.messages import ServerMessage, Source, feature_of
from app.protocol.selector import Selector
from app.streams.base import EVERYONE, Append, StreamLog
from app.streams.committer import Committer, Done, Stored

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 0.5
"""Longest pause between two looks at deadlines, so that an expired session is off in a second."""


@dataclass(slots=True)
class Send:
    """A message and where it goes.

    `device` needs `user_id` and `device_id`; `others` leaves out the instance of `source`, or the
    whole device `exclude_device`. `owner` is who may repeat a durable one by its `message_id`:
    `device:7`, `key:3` or `operator`.
    """

    where: Literal["device", "others", "user", "everyone"]
    type: str
    payload: Any = None
    user_id: int = 0
    device_id: int = 0
    exclude_device: int | None = None
    source: Source | None = None
    keep: Keep = NOT_KEPT
    owner: str = ""


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """The node's time limits, in seconds, and how much one connection may send."""

    heartbeat: float = 25
    stall: float = 60
    message: float = 30
    reconnect_window: float = 5
    rate: RateLimit | None = None


def to_append(send: Send) -> Append:
    """Return the durable message as it is stored."""
    keep, source = send.keep, send.source
    payload = orjson.dumps(send.payload)
    without_device, without_instance = send.exclude_device or 0, ""
    if send.where == "others" and source is not None:
        without_device, without_instance = source.device_id, source.instance
    append = Append(
        EVERYONE if send.where == "everyone" else send.user_id,
        send.type,
        payload,
        send.device_id if send.where == "device" else 0,
        without_device,
        without_instance,
        source.device_id if source is not None else 0,
        source.instance if source is not None else "",
        keep.key,
        keep.ttl,
        send.owner,
        keep.message_id,
    )
    if keep.message_id is None:
        return append
    return replace(append, digest=_digest(append, keep.store))


def _digest(append: Append, store: str) -> bytes:
    """Return what tells two messages of one id apart: all that was asked for.

    Not the instance, since a device that repeats a message may have come back as another one.
    """
    asked = (append.user_id, append.type, append.target_device, append.without_device)
    return sha256(orjson.dumps((*asked, append.key, append.ttl, store)) + append.payload).digest()


@dataclass(slots=True)
class _Progress:
    unsent: int
    frames: int
    since: float


class Node:
    """The connections of this process and their life: connect, send, disconnect, sweep, stop."""

    def __init__(
        self,
        manager: ConnectionManager,
        streams: StreamLog,
        metrics: Metrics,
        limits: NodeLimits,
        outbox: OutboxLimits,
        *,
        clock: Callable[[], float] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.manager = manager
        self.log = streams
        self.metrics = metrics
        self.delivery = Delivery(manager, streams, metrics)
        self.committer = Committer(streams, self.delivery.deliver, self.delivery.doubt, metrics)
        self.limits = limits
        self.clock = clock or loop.time
        self._wall_clock = wall_clock
        self.outgoing = Outgoing(loop.call_soon, self.clock, outbox, metrics.latency.observe)
        self.arrivals = Arrivals(self.clock)
        self._heartbeat = Heartbeat(limits.heartbeat, self.clock())
        self._expiring: set[Connection] = set()
        self._progress: dict[Connection, _Progress] = {}
        self._nobody = asyncio.Event()
        self._nobody.set()

    def watch(self) -> None:
        """Have the node's gauges shown among the metrics."""
        manager, watch = self.manager, self.metrics.watch
        watch("connections", "Connections now.", lambda: manager.connection_count)
        watch("devices", "Devices connected now.", lambda: manager.device_count)
        watch("users_online", "Users connected now.", lambda: manager.user_count)
        slow = self.outgoing.slow
        watch("slow_connections", "Connections for which bytes wait.", lambda: len(slow))
        watch(
            "outbox_frames",
            "Frames waiting in all outboxes.",
            lambda: sum(connection.backlog for connection in slow),
        )
        delivery, committer = self.delivery, self.committer
        watch("behind_connections", "Connections that are catching up.", lambda: delivery.behind)
        watch("appends_waiting", "Messages that wait to be stored.", lambda: committer.waiting)

    def limit_rate(self, connection: Connection) -> Rate | None:
        """Give the connection full buckets, with its first message; None if nothing is limited."""
        limit = self.limits.rate
        if limit is not None and not limit.unlimited:
            connection.rate = Rate(limit, self.clock())
        return connection.rate

    # Connections

    def connect(self, connection: Connection) -> None:
        """Register the connection and have those closed that it displaces."""
        registration = self.manager.register(connection)
        self._heartbeat.add(connection)
        self._watch_expiry(connection)
        self._nobody.clear()
        self.metrics.accepted += 1
        for displaced, close in registration.displaced:
            displaced.disconnect(close)

    def retire(self, connection: Connection) -> None:
        """Forget a connection whose socket has ended; its successor, if any, stays."""
        self.manager.unregister(connection)
        self._heartbeat.remove(connection)
        self.delivery.retire(connection)
        self._expiring.discard(connection)
        self._progress.pop(connection, None)
        self.arrivals.since.pop(connection, None)
        self.outgoing.slow.discard(connection)
        self.metrics.dropped += connection.dropped
        if not self._heartbeat:
            self._nobody.set()

    def disconnect(self, selector: Selector, close: Close) -> int:
        """Close every connection that matches; from now on none of them acts. Returns how many."""
        matching = self.manager.connections(selector)
        for connection in matching:
            self.manager.unregister(connection)
            connection.disconnect(close)
        return len(matching)

    def end(self, ended: Ended) -> int:
        """Close every connection of what has ended: sessions, devices, users. Returns how many."""
        return sum(self.disconnect(selector, close) for selector, close in ended)

    # Messages

    def send(self, send: Send) -> Delivered:
        """Hand the message to those connected now; returns which devices took it.

        A device that cannot take it is in `failed`; a device that is away is in neither list.
        """
        message = ServerMessage(send.type, send.payload, source=send.source)
        if send.where == "device":
            delivered = self._to_device(send, message)
        elif send.where == "everyone":
            delivered = self._to_everyone(message)
        else:
            delivered = self._to_user(send, message)
        self.metrics.sent.add(feature_of(send.type), len(delivered.taken))
        return delivered

    async def append(self, send: Send) -> Stored:
        """Store the message and hand it to those connected; it is on disk when this returns.

        Raises Problem: `too_many_keys`, `id_conflict`, `overloaded`, StorageUnavailable.
        """
        return await self.submit(send)

    def submit(self, send: Send) -> "asyncio.Future[Stored]":
        """The same without waiting; raises Problem `overloaded`, the future holds the others."""
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

        def done(outcome: Stored | Problem) -> None:
            if future.done():
                return
            if isinstance(outcome, Problem):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.store(send, done)
        return future

    def store(self, send: Send, done: Done) -> None:
        """The same for who needs no future, which costs more than all else here."""
        self.committer.submit(to_append(send), done)

    async def reset_streams(self) -> str:
        """Begin a new epoch and return it; every connection is closed and comes back to `reset`.

        Raises StorageUnavailable.
        """
        async with self.committer.exclusive():
            epoch = await self.log.reset()
            self.delivery.standings.forget()
            self.disconnect(Selector(), STREAM_RESET)
        return epoch

    def _to_device(self, send: Send, message: ServerMessage) -> Delivered:
        try:
            self.manager.send_to_device(send.user_id, send.device_id, message)
        except NotConnected:
            return Delivered()
        except SendError:
            return Delivered(failed=[send.device_id])
        return Delivered(taken=[send.device_id])

    def _to_user(self, send: Send, message: ServerMessage) -> Delivered:
        origin = None
        if send.where == "others" and send.source is not None:
            origin = (send.source.device_id, send.source.instance)
        return self.manager.deliver(
            send.user_id, message, without_device=send.exclude_device, without_instance=origin
        )

    def _to_everyone(self, message: ServerMessage) -> Delivered:
        everyone = Delivered()
        for user_id in self.manager.get_connected_users():
            one = self.manager.deliver(user_id, message)
            everyone.taken += one.taken
            everyone.failed += one.failed
        return everyone

    # Deadlines

    async def run(self) -> None:
        """Ping, and end what is silent, stalled or expired, until cancelled."""
        pause = min(SWEEP_SECONDS, self.limits.heartbeat / SLOTS)
        while True:
            planned = self.clock() + pause
            await asyncio.sleep(pause)
            self.metrics.lag.observe(max(0.0, self.clock() - planned))
            self.sweep()

    def sweep(self) -> None:
        """Do what is due now: pings, and the ends of what is silent, stalled or expired."""
        for pinged, silent in self._heartbeat.due(self.clock()):
            for connection in pinged:
                self._watch_expiry(connection)
                if connection.told != connection.position:
                    self.delivery.tell(connection)
            for connection in silent:
                self._judge_silent(connection)
        self._end_stalled()
        self._end_dribbling()
        self._end_expired()

    def _judge_silent(self, connection: Connection) -> None:
        if connection.unsent or connection.unsent_in_kernel():
            # The ping waits behind data, so only the progress of writing tells.
            self.outgoing.slow.add(connection)
        else:
            self._end(connection, PING_UNANSWERED)

    def _end_stalled(self) -> None:
        now = self.clock()
        for connection in list(self.outgoing.slow):
            unsent = connection.unsent + connection.unsent_in_kernel()
            if not unsent:
                self.outgoing.slow.discard(connection)
                self._progress.pop(connection, None)
                continue
            known = self._progress.get(connection)
            if known is None or unsent < known.unsent or connection.pumped != known.frames:
                self._progress[connection] = _Progress(unsent, connection.pumped, now)
            elif now - known.since >= self.limits.stall:
                self._end(connection, TOO_SLOW)
            else:
                known.unsent = unsent

    def _end_dribbling(self) -> None:
        latest = self.clock() - self.limits.message
        for connection in [one for one, since in self.arrivals.since.items() if since < latest]:
            self._end(connection, TOO_SLOW)

    def _watch_expiry(self, connection: Connection) -> None:
        ahead = self.limits.heartbeat * 2
        expires_at = connection.expires_at
        if expires_at is not None and expires_at <= self._wall_clock() + ahead:
            self._expiring.add(connection)

    def _end_expired(self) -> None:
        now = self._wall_clock()
        for connection in [one for one in self._expiring if (one.expires_at or 0) <= now]:
            self._expiring.discard(connection)
            self._end(connection, SESSION_EXPIRED)

    def _end(self, connection: Connection, close: Close) -> None:
        self.manager.unregister(connection)
        connection.disconnect(close)

    # The end

    async def close_all(self, seconds: float) -> None:
        """Close every connection with 1001 and wait until all have ended, or abort them.

        What waits in an outbox is sent first. Positioned clients are told when to come back,
        spread evenly over the reconnect window, so that they do not all return at once.
        """
        connections = list(self._heartbeat)
        random.shuffle(connections)
        window_ms = self.limits.reconnect_window * 1000
        for number, connection in enumerate(connections):
            self.manager.unregister(connection)
            after_ms = int(window_ms * number / len(connections))
            connection.disconnect(SHUTTING_DOWN, after_ms=after_ms, keep_outbox=True)
            if number % 500 == 499:
                await asyncio.sleep(0)
        try:
            await asyncio.wait_for(self._nobody.wait(), seconds)
        except TimeoutError:
            log.warning("connections aborted at shutdown", extra=fields(count=len(self._heartbeat)))
            for connection in list(self._heartbeat):
                connection.abort()
