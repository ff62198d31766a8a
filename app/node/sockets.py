"""The sockets that the node has accepted, WebSockets or not, and which of them goes first.

A socket that sends nothing, or half a request, has a descriptor as a connection has. So sockets
count from the moment they are accepted, for their network and for the node, and those that say
nothing give way to those that come in.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from app.base.metrics import Metrics

OVERLOADED: Final = "overloaded"
"""Refused: the node has as many sockets as it takes, and all of them are in use."""
TOO_MANY: Final = "too_many_connections"
"""Refused: the network has as many as it may."""
LATE: Final = "late"
"""Closed: its request was not complete in time."""
REPLACED: Final = "replaced"
"""Closed: it made room for another while it asked for nothing."""
IDLE: Final = "idle"
"""Closed: it asked for nothing more for as long as a connection is kept alive."""
SLOW: Final = "slow"
"""Closed: it made room for another, since its request took long."""

REASONS: Final = (OVERLOADED, TOO_MANY, LATE, REPLACED, SLOW)

FRESH_SECONDS: Final = 1.0
"""A socket that waits for less may only not have been read yet; one that rests goes before it."""

BUSY_SECONDS: Final = 5.0
"""A request that takes longer, such as one whose body dribbles, may have to make room."""


class Socket(Protocol):
    """An accepted socket; equal to itself alone."""

    network: str | None
    """What its network counts as; None if it is exempt."""
    counted: bool
    """Whether the node counts it; `Sockets` alone writes that."""

    def is_silent(self) -> bool:
        """Tell whether nothing has come that is not read yet."""

    def drop(self, reason: str) -> None:
        """Close it, because it is `LATE`, `REPLACED`, `IDLE` or `SLOW`."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The most sockets of the node and of one network (0 is no limit), and how long they wait.

    `header_seconds` is for the headers of a request, `keepalive_seconds` between two requests.
    """

    total: int
    per_network: int
    header_seconds: float
    keepalive_seconds: float


class Sockets:
    """Counts sockets from accept to their end; none of its methods waits.

    A socket is waiting until its first request has begun, then busy; after the answer it rests
    until the first byte of its next request, for whose headers it waits again. One that became a
    WebSocket is none of these: `Admission` limits those.
    """

    def __init__(
        self, limits: SocketLimits, closed: Counter[str], clock: Callable[[], float]
    ) -> None:
        """Begin without sockets; `closed` counts those refused and dropped, by reason."""
        self._limits = limits
        self._closed = closed
        self._clock = clock
        self._by_network: Counter[str] = Counter()
        self._waiting: dict[Socket, float] = {}
        self._resting: dict[Socket, float] = {}
        self._busy: dict[Socket, float] = {}
        self.open = 0

    def show_on(self, metrics: Metrics) -> None:
        """Show how many sockets there are, and may be."""
        total = self._limits.total
        metrics.know("sockets_closed", REASONS)
        metrics.watch("sockets", "Sockets accepted and not closed.", lambda: self.open)
        metrics.watch("sockets_limit", "Sockets that are accepted at most.", lambda: total)

    @property
    def networks(self) -> int:
        """How many networks have sockets, without those that are exempt."""
        return len(self._by_network)

    @property
    def waiting(self) -> int:
        """How many have begun no request yet."""
        return len(self._waiting)

    def refusal(self, network: str | None) -> str | None:
        """Return why one more socket of the network must be refused; None if it may enter.

        It makes room for it first, if the node is full.
        """
        reason = None
        if self._is_full(network):
            reason = TOO_MANY
        elif self.open >= self._limits.total and not self._make_room():
            reason = OVERLOADED
        if reason is not None:
            self._closed[reason] += 1
        return reason

    def enter(self, socket: Socket) -> None:
        """Count the socket, which waits from now on."""
        socket.counted = True
        self.open += 1
        if socket.network is not None:
            self._by_network[socket.network] += 1
        self._waiting[socket] = self._clock()

    def succeed(self, former: Socket, socket: Socket) -> None:
        """Have another object stand for the socket; it waits since the former one does."""
        if former.counted:
            former.counted, socket.counted = False, True
            self._waiting[socket] = self._waiting.pop(former)

    def begin(self, socket: Socket) -> None:
        """Note that a request of the socket begins: all of its headers are there."""
        if socket.counted:
            self._waiting.pop(socket, None)
            self._resting.pop(socket, None)
            self._busy[socket] = self._clock()

    def rests(self, socket: Socket) -> bool:
        """Tell whether the socket has its answer and asks for nothing."""
        return socket in self._resting

    def stir(self, socket: Socket) -> None:
        """Note that a part of the next request has come to a socket that rests."""
        if self._resting.pop(socket, None) is not None:
            self._waiting[socket] = self._clock()

    def upgrade(self, socket: object) -> None:
        """Note that the socket has become a WebSocket; do nothing for one that is not counted."""
        self._busy.pop(socket, None)  # type: ignore[call-overload]

    def rest(self, socket: Socket) -> None:
        """Note that the request of the socket has its answer."""
        if socket.counted:
            self._busy.pop(socket, None)
            self._resting[socket] = self._clock()

    def leave(self, socket: Socket) -> None:
        """Count the socket no more; do nothing if it is not counted."""
        if not socket.counted:
            return
        socket.counted = False
        self.open -= 1
        network = socket.network
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]
        for sockets in (self._waiting, self._resting, self._busy):
            sockets.pop(socket, None)

    def drop_late(self) -> None:
        """Drop the sockets that have waited or rested for longer than they may.

        One that rests stays if its next request has come just now: its peer would read the close
        for an answer, and most must not send the request again (RFC 9110, section 9.2.2).
        """
        now = self._clock()
        for socket in _before(self._waiting, now - self._limits.header_seconds):
            self._drop(socket, LATE)
        for socket in _before(self._resting, now - self._limits.keepalive_seconds):
            if socket.is_silent():
                self._drop(socket, IDLE)

    def drop_waiting(self) -> None:
        """Drop all that have begun no request: the node stops."""
        for socket in list(self._waiting):
            self.leave(socket)
            socket.drop(REPLACED)

    def _is_full(self, network: str | None) -> bool:
        most = self._limits.per_network
        return most > 0 and network is not None and self._by_network[network] >= most

    def _make_room(self) -> bool:
        """Drop the socket that is missed least; False if none may be dropped."""
        now = self._clock()
        for sockets, seconds, reason in (
            (self._waiting, FRESH_SECONDS, REPLACED),
            (self._resting, 0, REPLACED),
            (self._waiting, 0, REPLACED),
            (self._busy, BUSY_SECONDS, SLOW),
        ):
            oldest = next(iter(sockets), None)
            if oldest is not None and now - sockets[oldest] >= seconds:
                self._drop(oldest, reason)
                return True
        return False

    def _drop(self, socket: Socket, reason: str) -> None:
        self._closed[reason] += 1
        self.leave(socket)
        socket.drop(reason)


def _before(sockets: dict[Socket, float], latest: float) -> list[Socket]:
    """Return those that are so since then at the latest."""
    return [one for one, since in sockets.items() if since <= latest]
