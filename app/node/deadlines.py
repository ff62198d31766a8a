"""What is due on a node: pings, and the ends of what is silent, stalled, dribbling or expired.

One sweep looks at all connections of the node, so none of them has a timer.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.base.clock import WALL, Clock
from app.base.metrics import Metrics
from app.node.connection import Connection
from app.node.delivery import Delivery
from app.node.heartbeat import SLOTS, Heartbeat
from app.node.outgoing import Outgoing
from app.protocol.close import PING_UNANSWERED, SESSION_EXPIRED, TOO_SLOW, Close

SWEEP_SECONDS: Final = 0.5
"""Longest pause between two sweeps, so that an expired session is off within a second."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The node's time limits, in seconds."""

    heartbeat: float = 25
    stall: float = 60
    message: float = 30


class Arrivals:
    """The connections of which a message has begun and not ended: since when, and what is held.

    The tap writes it. `most` is how many bytes may be held for one user, 0 for any number.
    """

    __slots__ = ("_held", "_most", "_of_users", "clock", "since")

    def __init__(self, clock: Callable[[], float], most: int = 0) -> None:
        self.clock = clock
        self._most = most
        self.since: dict[Connection, float] = {}
        self._held: dict[Connection, int] = {}
        self._of_users: Counter[int] = Counter()

    @property
    def held(self) -> int:
        """Bytes that are held on this node."""
        return self._of_users.total()

    def hold(self, connection: Connection, size: int) -> bool:
        """Note how many bytes are held for the connection; False if its user has too many now."""
        user, more = connection.user_id, size - self._held.get(connection, 0)
        self._held[connection] = size
        self._of_users[user] += more
        return more <= 0 or not self._most or self._of_users[user] <= self._most

    def forget(self, connection: Connection) -> None:
        """Note that nothing is unfinished on the connection."""
        self.since.pop(connection, None)
        user, size = connection.user_id, self._held.pop(connection, 0)
        self._of_users[user] -= size
        if not self._of_users[user]:
            del self._of_users[user]


@dataclass(slots=True)
class _Progress:
    """What a slow connection had unsent, how many frames its pump had taken, and since when."""

    unsent: int
    pumped: int
    since: float


class Deadlines:
    """Ends connections in time; `end` is called with each, and with the reason.

    `unfinished_bytes` is how many bytes may be held for one user of messages that have not ended,
    0 for any number.
    """

    def __init__(
        self,
        limits: TimeLimits,
        outgoing: Outgoing,
        delivery: Delivery,
        end: Callable[[Connection, Close], None],
        *,
        clock: Callable[[], float],
        calendar: Clock = WALL,
        unfinished_bytes: int = 0,
    ) -> None:
        self._limits = limits
        self._outgoing = outgoing
        self._delivery = delivery
        self._end = end
        self._clock = clock
        self._calendar = calendar
        self._looked_at = calendar.trusted()
        self.heartbeat = Heartbeat(limits.heartbeat, clock())
        self.arrivals = Arrivals(clock, unfinished_bytes)
        self._expiring: set[Connection] = set()
        self._progress: dict[Connection, _Progress] = {}

    def add(self, connection: Connection) -> None:
        """Watch the connection from now on."""
        self.heartbeat.add(connection)
        self._watch_expiry(connection)

    def remove(self, connection: Connection) -> None:
        """Forget the connection, whose socket has ended."""
        self.heartbeat.remove(connection)
        self._expiring.discard(connection)
        self._progress.pop(connection, None)
        self.arrivals.forget(connection)
        self._outgoing.slow.discard(connection)

    def expires_in(self, connection: Connection) -> int | None:
        """Return the whole seconds until the connection's token ends; None if it has no end."""
        expires_at = connection.expires_at
        if expires_at is None:
            return None
        # If the clock has jumped, it may be right: then a client that asks for its next token by
        # trusted time asks too late.
        left = expires_at - self._calendar.stamp()
        return max(0, int(left if left > 0 else expires_at - self._calendar.trusted()))

    def renew(
        self, connection: Connection, *, session_id: int | None, expires_at: float | None
    ) -> None:
        """Have the connection live by another token of its device, and end with that one."""
        connection.session_id = session_id
        connection.expires_at = expires_at
        self._expiring.discard(connection)
        self._watch_expiry(connection)

    async def run(self, metrics: Metrics) -> None:
        """Sweep until cancelled, and observe how late the event loop is."""
        pause = min(SWEEP_SECONDS, self._limits.heartbeat / SLOTS)
        while True:
            planned = self._clock() + pause
            await asyncio.sleep(pause)
            metrics.lag.observe(max(0.0, self._clock() - planned))
            self.sweep()

    def sweep(self) -> None:
        """Do what is due now: ping, and end what is silent, stalled, dribbling or expired."""
        for pinged, silent in self.heartbeat.due(self._clock()):
            for connection in pinged:
                self._watch_expiry(connection)
                self._delivery.tell_if_moved(connection)
            for connection in silent:
                self._judge_silent(connection)
        self._end_stalled()
        self._end_dribbling()
        self._end_expired()

    def _judge_silent(self, connection: Connection) -> None:
        if connection.unsent or connection.unsent_in_kernel():
            # The ping waits behind data, so only the progress of writing tells.
            self._outgoing.slow.add(connection)
        else:
            self._end(connection, PING_UNANSWERED)

    def _end_stalled(self) -> None:
        now = self._clock()
        for connection in list(self._outgoing.slow):
            unsent = connection.unsent + connection.unsent_in_kernel()
            if not unsent:
                self._outgoing.slow.discard(connection)
                self._progress.pop(connection, None)
                continue
            known = self._progress.get(connection)
            if known is None or unsent < known.unsent or connection.pumped != known.pumped:
                self._progress[connection] = _Progress(unsent, connection.pumped, now)
            elif now - known.since >= self._limits.stall:
                self._end(connection, TOO_SLOW)
            else:
                known.unsent = unsent

    def _end_dribbling(self) -> None:
        latest = self._clock() - self._limits.message
        for connection in [one for one, since in self.arrivals.since.items() if since < latest]:
            self._end(connection, TOO_SLOW)

    def _watch_expiry(self, connection: Connection) -> None:
        ahead = self._limits.heartbeat * 2
        expires_at = connection.expires_at
        if expires_at is not None and expires_at <= self._calendar.trusted() + ahead:
            self._expiring.add(connection)

    def _end_expired(self) -> None:
        now, before = self._calendar.trusted(), self._looked_at
        self._looked_at = now
        if now - before > self._limits.heartbeat:
            # Trusted time has moved over ends that nobody watched yet.
            for connection in self.heartbeat:
                self._watch_expiry(connection)
        for connection in [one for one in self._expiring if (one.expires_at or 0) <= now]:
            self._expiring.discard(connection)
            self._end(connection, SESSION_EXPIRED)
