"""What one user may do, on all connections together: an allowance for each limit per user.

A user has many connections, so limits on each of them bound nobody. An allowance belongs to the
user and not to a connection: coming back does not fill it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, inf
from typing import Final, Literal

from app.base.errors import Problem
from app.node.limited import Limit, Limited

ROUNDING: Final = 0.01
"""Of a unit: sums of fractions of a second may end a little above the whole burst."""

REFUSALS_PER_SECOND: Final = 100
"""A refused message costs the server about as much as one that it takes, so these are limited, too:
a user who exceeds them has connections closed."""

REFUSALS_BURST: Final = 1000
"""A client that answers `rate_limited` by waiting never comes near."""

REFUSED_IN_A_ROW: Final = 10
"""Only a connection of which so many were refused one after the other is closed: the one that
floods, and not the phone beside it."""


class Pace:
    """How fast something may go on; 0 `per_second` is no limit, `burst` is how much at once."""

    __slots__ = ("burst", "horizon", "interval")

    def __init__(self, per_second: float = 0, burst: float = 1) -> None:
        self.burst: float = burst if per_second else inf
        self.interval = 1 / per_second if per_second else 0.0
        """Seconds for one unit."""
        self.horizon: float = (burst + ROUNDING) / per_second if per_second else inf
        """Seconds in which a whole burst is given back."""


class Meter:
    """Holds something to a pace; it starts with a whole burst.

    It keeps nothing but the time at which the burst is whole again (the generic cell rate
    algorithm, ITU-T I.371).
    """

    __slots__ = ("_pace", "_whole_at")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._whole_at = 0.0

    def take(self, units: float, now: float) -> float:
        """Take so many units and return 0, or take none and return the seconds to wait for them.

        More than a burst counts as a burst, so that it can pass at all.
        """
        pace = self._pace
        if units > pace.burst:
            units = pace.burst
        whole_at = self._whole_at
        if whole_at < now:
            whole_at = now
        whole_at += units * pace.interval
        if whole_at > now + pace.horizon:
            return whole_at - now - pace.horizon
        self._whole_at = whole_at
        return 0.0

    def is_whole(self, now: float) -> bool:
        """Tell whether nothing is taken that was not given back."""
        return self._whole_at <= now


_OFF: Final = Pace()
_REFUSALS: Final = Pace(REFUSALS_PER_SECOND, REFUSALS_BURST)


@dataclass(frozen=True, slots=True)
class UserLimits:
    """The limits of one user; those that are left out are off."""

    messages: Pace = _OFF
    bytes: Pace = _OFF
    deliveries: Pace = _OFF
    durable: Pace = _OFF
    upgrades: Pace = _OFF
    writes: Pace = _OFF


class Allowance:
    """What one user may still do: send, have delivered and stored, connect, write over HTTP.

    A delivery is a message of one of the user's devices, handed to one connection.
    """

    __slots__ = (
        "_bytes_whole_at",
        "_limits",
        "_messages_whole_at",
        "deliveries",
        "durable",
        "refusals",
        "upgrades",
        "writes",
    )

    def __init__(self, limits: UserLimits) -> None:
        self._limits = limits
        # These two are meters like the others, without the calls: every message needs both.
        self._messages_whole_at = 0.0
        self._bytes_whole_at = 0.0
        self.deliveries = Meter(limits.deliveries)
        self.durable = Meter(limits.durable)
        self.upgrades = Meter(limits.upgrades)
        self.writes = Meter(limits.writes)
        self.refusals = Meter(_REFUSALS)

    def take(self, size: int, now: float) -> tuple[Literal["messages", "bytes"], float] | None:
        """Take a message of `size` bytes; or take nothing, and return why not.

        That is the limit that is met, and the seconds to wait.
        """
        limits = self._limits
        messages, bytes_ = self._messages_whole_at, self._bytes_whole_at
        if messages < now:
            messages = now
        if bytes_ < now:
            bytes_ = now
        messages += limits.messages.interval
        bytes_ += size * limits.bytes.interval
        if messages > now + limits.messages.horizon:
            return "messages", messages - now - limits.messages.horizon
        if bytes_ > now + limits.bytes.horizon:
            return "bytes", bytes_ - now - limits.bytes.horizon
        self._messages_whole_at = messages
        self._bytes_whole_at = bytes_
        return None

    def is_whole(self, now: float) -> bool:
        """Tell whether a new allowance would be the same."""
        meters = (self.deliveries, self.durable, self.upgrades, self.writes, self.refusals)
        newest = max(self._messages_whole_at, self._bytes_whole_at)
        return newest <= now and all(meter.is_whole(now) for meter in meters)


class Allowances:
    """The allowances of all users of whom there is something to remember.

    One is kept while its user is connected or it is not whole. `is_connected` tells of a user id.
    """

    def __init__(
        self,
        limits: UserLimits,
        limited: Limited,
        *,
        is_connected: Callable[[int], bool],
        clock: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._is_connected = is_connected
        self._clock = clock
        self._users: dict[int, Allowance] = {}
        self.limited = limited

    def __len__(self) -> int:
        return len(self._users)

    def of(self, user_id: int) -> Allowance:
        """Return the allowance of the user, which connections may hold on to."""
        allowance = self._users.get(user_id)
        if allowance is None:
            self._forget_some()
            allowance = self._users[user_id] = Allowance(self._limits)
        return allowance

    def charge(self, user_id: int, limit: Literal["upgrades", "writes"]) -> None:
        """Count an upgrade or a write of the user; raises Problem 429 `rate_limited`."""
        allowance = self.of(user_id)
        meter = allowance.upgrades if limit == "upgrades" else allowance.writes
        wait = meter.take(1, self._clock())
        if wait:
            self.limited.note(user_id, limit)
            raise refusal(limit, wait)

    def _forget_some(self) -> None:
        """Remove the two oldest, if nobody needs them: for each that comes, two may go."""
        users, now = self._users, self._clock()
        for user_id in [user_id for user_id, _ in zip(users, range(2), strict=False)]:
            allowance = users.pop(user_id)
            if self._is_connected(user_id) or not allowance.is_whole(now):
                # Its turn comes again after all others.
                users[user_id] = allowance


_TEXTS: Final[dict[Limit, str]] = {
    "messages": "the devices of this user send too many messages; this one is dropped",
    "bytes": "the devices of this user send too many bytes; this message is dropped",
    "deliveries": "the devices of this user send too much to too many; this message is dropped",
    "durable": "the devices of this user send too many durable messages; this one is dropped",
    "upgrades": "the devices of this user connect too often",
    "writes": "this user changes too much in too short a time",
    "connection": "too many messages; this one is dropped",
    "connection_durable": "too many durable messages; this one is dropped",
}


def refusal(limit: Limit, wait: float) -> Problem:
    """Return the refusal of what is above the limit; `wait` is in seconds, 0 if it is unknown."""
    # No sooner than it would be taken.
    wait_ms = ceil(wait * 1000) or None
    return Problem(429, "rate_limited", _TEXTS[limit], retry_after_ms=wait_ms)
