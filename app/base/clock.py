"""The time of day, which machines correct at will, and what may be decided by it.

A clock that is set wrong for a minute must delete nothing and sign nobody out. So what cannot be
undone goes by *trusted time*, which a jump of the machine's clock moves only once it has lasted.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

from app.base.logs import fields

LOOK_SECONDS: Final = 1.0
"""Between two looks at the machine's clock; a jump that is over by the next look never was."""

AGREEMENT_SECONDS: Final = 600.0
"""How long a clock that has jumped must be steady to be believed: time for people to correct it."""

TOLERANCE_SECONDS: Final = 5.0
"""How far the clock may go astray in that time. NTP slews by 0.3 s in it, and a leap is 1 s."""

QUIET_SECONDS: Final = 60.0
"""The shortest time between two warnings, for a clock that jumps to and fro."""

log = logging.getLogger(__name__)


class Clock(Protocol):
    """The time of day, in seconds since 1970; safe to read in any thread."""

    def trusted(self) -> float:
        """Return the time by which to delete, and to end what has an end."""

    def stamp(self) -> float:
        """Return the time to write beside what is made or used now.

        It is never below trusted time, so that nothing seems older than it is.
        """

    def ahead(self) -> float:
        """Return how many seconds the machine's clock is ahead of trusted time."""


class WallClock:
    """The machine's clock as it is, for what does not run long enough to judge it."""

    def trusted(self) -> float:
        """Return the machine's time."""
        return time.time()

    def stamp(self) -> float:
        """Return the machine's time."""
        return time.time()

    def ahead(self) -> float:
        """Return 0: there is no other clock."""
        return 0.0


WALL: Final = WallClock()


@dataclass(frozen=True, slots=True)
class Trust:
    """What it takes to believe a clock that has jumped.

    It has to advance like the steady clock for `agreement` seconds, within `tolerance` seconds.
    """

    agreement: float = AGREEMENT_SECONDS
    tolerance: float = TOLERANCE_SECONDS


TRUST: Final = Trust()


class Verdict(Enum):
    """What came of a jump of the machine's clock."""

    TAKEN_BACK = "the clock is again where it would be without the jump"
    BELIEVED = "trusted time has followed it"


class TrustedClock:
    """Trusted time: that of the machine's clock, as long as it advances like the steady clock.

    When the two come apart, trusted time goes on with the steady clock. It takes the machine's
    time once that has advanced like the steady clock for long enough, or has come back. Somebody
    calls `look` every LOOK_SECONDS.
    """

    def __init__(
        self,
        last: float | None = None,
        *,
        trust: Trust = TRUST,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`last` is the trusted time that was known last, None if there is nothing to protect.

        A clock that has moved on from there by less than the agreement takes is believed at once;
        else trusted time goes on from there.
        """
        self._trust = trust
        self._wall = wall
        self._steady = steady
        self._quiet_until = -math.inf
        self._told = False
        now = steady()
        offset = wall() - now
        # What is added to the steady clock: for trusted time, ...
        self._offset = offset
        # ... for the machine's, when it was last found to agree ...
        self._anchor = offset
        self._anchored_at = now
        # ... and for the machine's since it jumped, None if it agrees.
        self._candidate: float | None = None
        self._since = now
        if last is not None and not -trust.tolerance <= offset + now - last <= trust.agreement:
            self._offset = self._anchor = last - now
            self._candidate, self._told = offset, True
            log.warning("clock not trusted yet, as after a long stop", extra=self._fields(offset))

    def trusted(self) -> float:
        """Return trusted time, in seconds since 1970."""
        return self._steady() + self._offset

    def stamp(self) -> float:
        """Return the later one of trusted time and the machine's."""
        return max(self._wall(), self._steady() + self._offset)

    @property
    def doubted(self) -> bool:
        """Whether the machine's clock has jumped and is not believed yet."""
        return self._candidate is not None

    def ahead(self) -> float:
        """Return how many seconds the machine's clock is ahead of trusted time."""
        return self._wall() - self.trusted() if self.doubted else 0.0

    def look(self) -> Verdict | None:
        """Compare the clocks; return what came of a jump, once that is known."""
        now = self._steady()
        offset = self._wall() - now
        if abs(offset - self._anchor) <= self._trust.tolerance:
            return self._follow(now, offset)
        if self._candidate is None or abs(offset - self._candidate) > self._trust.tolerance:
            self._doubt(now, offset)
        elif now - self._since >= self._trust.agreement:
            self._believe(now, offset - self._offset)
            self._offset = self._anchor = offset
            return Verdict.BELIEVED
        return None

    def _follow(self, now: float, offset: float) -> Verdict | None:
        self._offset = offset
        if self._candidate is not None:
            self._believe(now, 0.0)
            return Verdict.TAKEN_BACK
        if now - self._anchored_at >= self._trust.agreement:
            self._anchor, self._anchored_at = offset, now
        return None

    def _doubt(self, now: float, offset: float) -> None:
        begins, self._candidate, self._since = self._candidate is None, offset, now
        if begins and now >= self._quiet_until:
            self._quiet_until, self._told = now + QUIET_SECONDS, True
            log.warning("clock jumped", extra=self._fields(offset))

    def _fields(self, offset: float) -> dict[str, dict[str, Any]]:
        jump = round(offset - self._offset, 1)
        return fields(seconds=jump, steady_seconds=self._trust.agreement)

    def _believe(self, now: float, moved: float) -> None:
        self._candidate, self._anchored_at = None, now
        if self._told:
            self._told = False
            log.warning("clock trusted", extra=fields(moved_seconds=round(moved, 1)))
