"""Who has met a limit: counted for the metrics, told in the log, and kept for administrators."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from app.base.foreign import handle_shown
from app.base.logs import fields
from app.base.metrics import Metrics

Limit = Literal[
    "messages",
    "bytes",
    "deliveries",
    "durable",
    "upgrades",
    "writes",
    "devices",
    "connection",
    "connection_durable",
]
"""The limits of a user, by name, and those of one connection: messages and bytes, durable ones."""

LIMITS: Final[tuple[Limit, ...]] = get_args(Limit)

RECENT_SECONDS: Final = 3600
"""How long administrators see that a limit was met."""

QUIET_SECONDS: Final = 60
"""A limit that was not met for so long is met anew: `since` and `count` begin again."""

TELL_SECONDS: Final = 60
"""How often the log has a line while a user goes on meeting the same limit."""

MAX_MET: Final = 1000
"""Users and limits that are remembered, about 300 bytes each; the one met longest ago goes."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Met:
    """A limit that a user meets again and again: how often, from when and until when.

    Times are seconds since the epoch.
    """

    user_id: int
    limit: Limit
    since: float
    last: float
    count: int = 0
    told_at: float | None = None


class Limited:
    """Notes each time that a user meets a limit; `calendar` is in seconds since the epoch.

    `handle_of` returns the handle of a user's id, None if it is not known without the database.
    """

    def __init__(
        self,
        metrics: Metrics,
        calendar: Callable[[], float],
        handle_of: Callable[[int], str | None] = lambda _user_id: None,
    ) -> None:
        self._counts = metrics.limited
        self._calendar = calendar
        self._handle_of = handle_of
        self._met: dict[tuple[int, Limit], Met] = {}
        for limit in LIMITS:
            # Shown from the start, so that an alert can compare.
            self._counts[limit] += 0

    def note(self, user_id: int, limit: Limit) -> None:
        """Count that the user has met the limit once more."""
        self._counts[limit] += 1
        now = self._calendar()
        met = self._met.pop((user_id, limit), None)
        if met is None or now - met.last > QUIET_SECONDS:
            met = Met(user_id, limit, now, now)
        # The last one is the newest.
        self._met[user_id, limit] = met
        met.last = now
        met.count += 1
        if met.told_at is None or now - met.told_at >= TELL_SECONDS:
            handle = handle_shown(self._handle_of(user_id))
            about = fields(user=user_id, handle=handle, limit=limit, count=met.count)
            log.warning("limit met", extra=about)
            met.told_at = now
        if len(self._met) > MAX_MET:
            del self._met[next(iter(self._met))]

    def recent(self) -> list[Met]:
        """Return what was met in the last hour, the newest first."""
        oldest = self._calendar() - RECENT_SECONDS
        return [met for met in reversed(self._met.values()) if met.last >= oldest]
