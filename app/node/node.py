"""One server process: who is connected, and every way by which a message or a close reaches them.

Carrying messages to other nodes will be composed in here; today a node is alone.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, assert_never

import orjson

from app.auth.endings import ToClose
from app.base.clock import WALL, Clock
from app.base.errors import NotConnected, SendError
from app.base.logs import fields
from app.base.metrics import Metrics
from app.base.version import VERSION
from app.node.acting import acting_device
from app.node.allowance import Allowances, UserLimits
from app.node.connection import Connection
from app.node.deadlines import Deadlines, TimeLimits
from app.node.delivery import RESET_REASONS, Delivery
from app.node.limited import Limited
from app.node.outgoing import OutboxLimits, Outgoing
from app.node.registry import ConnectionManager, Delivered, matches
from app.node.tails import Tail, Tails
from app.protocol.close import EXPECTED, SHUTTING_DOWN, STREAM_RESET, Close, Selector
from app.protocol.messages import Connected, Resume, ServerMessage, connected, feature_of
from app.protocol.position import OUTCOMES, Query
from app.protocol.publication import Publication, ToDevice, ToEveryone, ToOthers, ToUser
from app.streams.base import ANY, EVERYONE, Append, StreamLog
from app.streams.committer import REFUSALS, Committer, Done
from app.streams.ids import HASH_BYTES

log = logging.getLogger(__name__)


CLOSES_EACH_TURN: Final = 500
"""Of a stop; then the event loop has its turn."""

TAILS_EACH_TURN: Final = 2000
"""Connections that an operator begins to follow, in 2 ms; then the event loop has its turn."""

PLAIN_CLOSES_PER_SECOND: Final = 400
"""At which clients that cannot be told when to come back are closed: a start takes them easily."""

LAST_CLOSE_SECONDS: Final = 1.5
"""The part of the time to stop that is left for the connections that are closed last."""

_TIME: Final = TimeLimits()
_OUTBOX: Final = OutboxLimits(frames=32, bytes=262_144)
_USER: Final = UserLimits()


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """The node's limits: times, the outbox of a connection, a user, and what peers are told.

    `message_bytes` is the longest message of a peer; `unfinished_bytes` is how many bytes may be
    held for one user of messages that have not ended, 0 for any number; `reconnect_window` is the
    time in seconds over which clients are asked to come back after a stop.
    """

    time: TimeLimits = _TIME
    outbox: OutboxLimits = _OUTBOX
    user: UserLimits = _USER
    message_bytes: int = 65_536
    unfinished_bytes: int = 4_194_304
    reconnect_window: float = 5


class Node:
    """The connections of this process and their life: enter, send, disconnect, sweep, stop."""

    def __init__(
        self,
        manager: ConnectionManager,
        streams: StreamLog,
        metrics: Metrics,
        limits: NodeLimits,
        *,
        clock: Callable[[], float] | None = None,
        calendar: Clock = WALL,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.manager = manager
        self.log = streams
        self.metrics = metrics
        self.limits = limits
        self.clock = clock or loop.time
        self.calendar = calendar
        self.delivery = Delivery(manager, streams, metrics)
        self.committer = Committer(
            streams,
            self.delivery.deliver,
            self.delivery.doubt,
            self.delivery.standings.raise_floors,
            metrics,
        )
        self.outgoing = Outgoing(loop.call_soon, self.clock, limits.outbox, metrics.latency.observe)
        self.deadlines = Deadlines(
            limits.time,
            self.outgoing,
            self.delivery,
            self._end,
            clock=self.clock,
            calendar=calendar,
            unfinished_bytes=limits.unfinished_bytes,
        )
        self.allowances = Allowances(
            limits.user,
            Limited(metrics, calendar.stamp, manager.handle_of),
            is_connected=manager.is_user_connected,
            clock=self.clock,
        )
        self.tails = Tails(calendar.stamp)
        self._leaving: dict[Connection, None] = {}
        self._stopping = False
        self._all_retired = asyncio.Event()
        self._all_retired.set()

    async def run(self) -> None:
        """Ping, and end what is silent, stalled or expired, until cancelled."""
        await self.deadlines.run(self.metrics)

    def watch(self) -> None:
        """Have the node's gauges shown among the metrics."""
        manager, watch, know = self.manager, self.metrics.watch, self.metrics.know
        know("connections_closed", EXPECTED)
        know("resumes", OUTCOMES)
        know("resets", RESET_REASONS)
        know("appends_refused", REFUSALS)
        watch("connections", "Connections now.", lambda: manager.connection_count)
        watch("devices", "Devices connected now.", lambda: manager.device_count)
        watch("users_online", "Users connected now.", lambda: manager.user_count)
        tails = self.tails
        watch("tails", "Operators who follow what goes in and out of connections.", tails.__len__)
        leaving, slow = self._leaving, self.outgoing.slow
        watch(
            "connections_ending",
            "Connections that nothing reaches any more, of which something is left to end.",
            lambda: len(leaving),
        )
        watch("slow_connections", "Connections for which bytes wait.", lambda: len(slow))
        watch(
            "outbox_frames",
            "Frames waiting in all outboxes.",
            lambda: sum(connection.backlog for connection in slow),
        )
        arrivals = self.deadlines.arrivals
        watch(
            "unfinished_bytes",
            "Bytes held of messages that have begun and not ended.",
            lambda: arrivals.held,
        )
        ahead = self.calendar.ahead
        watch("clock_ahead_seconds", "How far the clock is ahead of trusted time.", ahead)
        delivery, committer = self.delivery, self.committer
        watch("behind_connections", "Connections that are catching up.", lambda: delivery.behind)
        watch("appends_waiting", "Messages that wait to be stored.", lambda: committer.waiting)

    # Connections

    def enter(self, connection: Connection, query: Query) -> Resume:
        """Make the connection reachable, greet it, and begin to hand over what it is owed.

        Returns what `connected` says of where it starts. All in one step without an await, so that
        nothing is sent before `connected`, and no durable message falls between what is read and
        what is pushed. The caller has loaded the device's standing (`delivery.standings`).
        """
        self._register(connection)
        start = self.delivery.place(connection, query.position, live=query.live)
        self.metrics.resumes[start.outcome] += 1
        connection.send(connected(self._greeting(connection, start)).frame)
        # If such a client resumes, it does so from its cursor, and does not know to ask for values.
        nothing_asked = query.position is None and not query.live
        self.delivery.begin(connection, start, snapshot=query.snapshot or nothing_asked)
        connection.flush()
        if self._stopping:
            # Its upgrade began before the stop, and came too late for `close_all`.
            self._end(connection, SHUTTING_DOWN)
        return start

    def leave(self, connection: Connection) -> None:
        """Make a connection whose socket is ending unreachable, and ping it no more.

        Until it retires, `disconnect` still finds it: handlers may run for it.
        """
        if connection.tailed:
            self.tails.closed(connection)
        self._leaving[connection] = None
        self.manager.unregister(connection)
        self.deadlines.remove(connection)
        self.delivery.retire(connection)

    def retire(self, connection: Connection) -> None:
        """Forget a connection whose socket has ended; its successor, if any, stays."""
        self.leave(connection)
        del self._leaving[connection]
        self.metrics.dropped += connection.dropped
        if not self.live:
            self._all_retired.set()

    @property
    def live(self) -> list[Connection]:
        """The connections that have not retired, also those that nothing reaches any more."""
        return [*self.deadlines.heartbeat, *self._leaving]

    def disconnect(self, selector: Selector, close: Close) -> int:
        """Close every connection that matches, and return how many; nothing reaches them now."""
        matching = self.manager.connections(selector)
        for connection in matching:
            self._end(connection, close)
        for connection in self._leaving:
            if matches(connection, selector):
                connection.disconnect(close)
        return len(matching)

    def end(self, ended: ToClose) -> int:
        """Close every connection of what has ended: sessions, devices, users. Returns how many."""
        return sum(self.disconnect(selector, close) for selector, close in ended)

    def close(self, connection: Connection, close: Close, *, after_ms: int = 0) -> None:
        """Close one connection; nothing reaches it now, and its client is told when to be back."""
        self.manager.unregister(connection)
        connection.disconnect(close, after_ms=after_ms)

    @asynccontextmanager
    async def tail(self, tail: Tail) -> AsyncIterator[None]:
        """Have the tail follow the connections that it means, inside the block."""
        self.tails.begin(tail)
        try:
            async for some in self._meant(tail):
                self.tails.follow(some)
            yield
        finally:
            self.tails.end(tail)
            async for some in self._meant(tail):
                self.tails.unfollow(some)

    async def _meant(self, tail: Tail) -> AsyncIterator[list[Connection]]:
        """Give the connections that the tail may mean, in steps so that the loop breathes."""
        selector = tail.selector if tail.selector != Selector() else None
        found = [*self.manager.connections(selector), *self._leaving]
        for start in range(0, len(found), TAILS_EACH_TURN):
            yield found[start : start + TAILS_EACH_TURN]
            await asyncio.sleep(0)

    def _register(self, connection: Connection) -> None:
        registration = self.manager.register(connection)
        self.deadlines.add(connection)
        self._all_retired.clear()
        self.metrics.accepted += 1
        if self.tails.active:
            self.tails.connected(connection)
        for displaced, close in registration.displaced:
            displaced.disconnect(close)

    def _greeting(self, connection: Connection, start: Resume) -> Connected:
        return Connected(
            device_id=connection.device_id,
            server_version=VERSION,
            user_id=connection.user_id,
            connection_id=connection.connection_id,
            instance=connection.instance,
            heartbeat_seconds=_whole(self.limits.time.heartbeat),
            max_message_bytes=self.limits.message_bytes,
            resume=start,
            expires_in=self.deadlines.expires_in(connection),
        )

    def _end(self, connection: Connection, close: Close) -> None:
        self.close(connection, close)

    # Messages

    def send(self, publication: Publication) -> Delivered:
        """Hand the message to those connected now; returns which devices took it.

        A device that cannot take it is in `failed`; a device that is away is in neither list.
        """
        message = ServerMessage(publication.type, publication.payload, source=publication.source)
        manager = self.manager
        match publication.to:
            case ToOthers(user_id, device_id, instance):
                if instance is None:
                    delivered = manager.deliver(user_id, message, without_device=device_id)
                else:
                    origin = (device_id, instance)
                    delivered = manager.deliver(user_id, message, without_instance=origin)
            case ToUser(user_id):
                delivered = manager.deliver(user_id, message)
            case ToDevice(user_id, device_id):
                delivered = self._to_device(user_id, device_id, message)
            case ToEveryone():
                delivered = self._to_everyone(message)
            case unreachable:
                assert_never(unreachable)
        prefix, by_device = feature_of(publication.type), publication.source is not None
        self.metrics.sent.add(prefix, len(delivered.taken), chosen_by_peer=by_device)
        return delivered

    def append(self, publication: Publication, done: Done) -> None:
        """Have the message stored and handed to those connected; `done` gets what came of it.

        It is on disk by then, unless `done` gets a Problem: `forbidden`, `too_many_keys`,
        `too_many_ids`, `id_conflict`, or StorageUnavailable, after which it may be there all the
        same. What a feature sends in answer to a device counts as that device's, also without a
        `source`. Raises
        Problem 503 `overloaded`.
        """
        self.committer.submit(to_append(publication), done)

    async def reset_streams(self) -> str:
        """Begin a new epoch and return it; close every connection, which then gets `reset`.

        Raises StorageUnavailable.
        """
        async with self.committer.exclusive():
            epoch = await self.log.reset()
            self.delivery.standings.forget()
            self.disconnect(Selector(), STREAM_RESET)
        return epoch

    def _to_device(self, user_id: int, device_id: int, message: ServerMessage) -> Delivered:
        try:
            self.manager.send_to_device(user_id, device_id, message)
        except NotConnected:
            return Delivered()
        except SendError:
            return Delivered(failed=[device_id])
        return Delivered(taken=[device_id])

    def _to_everyone(self, message: ServerMessage) -> Delivered:
        everyone = Delivered()
        for user_id in self.manager.get_connected_users():
            one = self.manager.deliver(user_id, message)
            everyone.taken += one.taken
            everyone.failed += one.failed
        return everyone

    # The end

    async def close_all(self, seconds: float, *, down_seconds: float = 0) -> None:
        """Close every connection with 1001 and wait until all have ended, or abort them.

        What waits in an outbox is sent first. Positioned clients are told when to come back: not
        before `down_seconds` have passed, and then spread evenly over the reconnect window, so that
        they do not all return at once. Others cannot be told, so the closes themselves are spread,
        as far as `seconds` leaves time, and come first.
        """
        self._stopping = True
        end = self.clock() + seconds
        connections = self.live
        random.shuffle(connections)
        await self._close_plain([one for one in connections if not one.positioned], seconds)
        positioned = [one for one in connections if one.positioned]
        window_ms = self.limits.reconnect_window * 1000
        for number, connection in enumerate(positioned):
            after_ms = int(down_seconds * 1000 + window_ms * number / len(positioned))
            self._close_for_stop(connection, after_ms)
            if number % CLOSES_EACH_TURN == CLOSES_EACH_TURN - 1:
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(end - self.clock()):
                await self._all_retired.wait()
        except TimeoutError:
            left = self.live
            log.warning("connections aborted at shutdown", extra=fields(count=len(left)))
            for connection in left:
                connection.abort()

    async def _close_plain(self, connections: Sequence[Connection], seconds: float) -> None:
        """Close connections that cannot be told when to come back, no quicker than all may."""
        whole = min(
            self.limits.reconnect_window,
            len(connections) / PLAIN_CLOSES_PER_SECOND,
            max(0.0, seconds - LAST_CLOSE_SECONDS),
        )
        began = self.clock()
        for number, connection in enumerate(connections):
            early = began + whole * number / len(connections) - self.clock()
            if early > 0:
                await asyncio.sleep(early)
            elif number % CLOSES_EACH_TURN == CLOSES_EACH_TURN - 1:
                await asyncio.sleep(0)
            self._close_for_stop(connection, 0)

    def _close_for_stop(self, connection: Connection, after_ms: int) -> None:
        self.manager.unregister(connection)
        connection.disconnect(SHUTTING_DOWN, after_ms=after_ms, keep_outbox=True)


def _whole(number: float) -> int | float:
    """Return 25 for 25.0: strict readers take no fraction where a whole number is meant."""
    return int(number) if number == int(number) else number


def to_append(publication: Publication) -> Append:
    """Return the durable message as it is stored; without a source it is the acting device's."""
    keep, source = publication.keep, publication.source
    target_device = without_device = ANY
    without_instance = ""
    match publication.to:
        case ToDevice(user_id, target_device):
            pass
        case ToOthers(user_id, without_device, instance):
            without_instance = instance or ""
        case ToUser(user_id):
            pass
        case ToEveryone():
            user_id = EVERYONE
        case unreachable:
            assert_never(unreachable)
    payload = b"null" if keep.delete else orjson.dumps(publication.payload)
    digest, sender = b"", ""
    if keep.message_id is not None:
        # Not the instance: a device that repeats a message may have come back as another one.
        asked = (user_id, publication.type, target_device, without_device)
        text = orjson.dumps((*asked, keep.key, keep.ttl, "delete" if keep.delete else keep.store))
        digest = sha256(text + payload).digest()[:HASH_BYTES]
        sender = publication.sender or f"{publication.owner}:{user_id}"
    return Append(
        user_id=user_id,
        type=publication.type,
        payload=payload,
        target_device=target_device,
        without_device=without_device,
        without_instance=without_instance,
        source_device=source.device_id if source is not None else acting_device.get(),
        source_instance=source.instance if source is not None else "",
        key=keep.key,
        ttl=keep.ttl,
        deleted=keep.delete,
        owner=publication.owner,
        sender=sender,
        message_id=keep.message_id,
        digest=digest,
    )
