"""Keeps what one user or address causes in the log to a few lines, and a count of the others.

A connection, a request, a refusal are each worth a line, but whoever causes thousands of them
fills the log.
"""

import copy
import logging
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

STORM_LINES: Final = 20
"""Lines of one kind that one user or address may cause at once: 16 tabs that come back."""

REFILL_SECONDS: Final = 20.0
"""How long it takes until as many may come again, one by one: one in a second."""

ROUNDING: Final = 0.001
"""Of a second: sums of fractions may end a little above the whole."""

LOOK_SECONDS: Final = 1.0
"""How often the lines that were held back are told of."""

MAX_STORMS: Final = 10_000
"""Users and addresses in memory, of the last seconds, about 300 bytes each; all further ones share
their lines."""

_Kind = tuple[str, str, Hashable]


def at_most(by: Hashable, lines: int = STORM_LINES) -> dict[str, Any]:
    """Return the `extra` of a log call whose lines are bounded for each user, address, … `by`.

    `lines` may come at once, and again in `REFILL_SECONDS`.
    """
    return {"storm": (by, lines)}


@dataclass(slots=True)
class _Storm:
    """The lines of one kind by one user: when all may come again, and what was held back."""

    lines: int
    whole_at: float
    count: int = 0
    newest: logging.LogRecord | None = None

    def take(self, now: float) -> bool:
        """Take one line, if there is one."""
        seconds = REFILL_SECONDS / self.lines
        whole_at = max(self.whole_at, now) + seconds
        if whole_at > now + REFILL_SECONDS + ROUNDING:
            return False
        self.whole_at = whole_at
        return True


class Storms:
    """Lets through what is within the bounds, and counts the rest. All threads may call."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[_Kind, _Storm] = {}
        self.suppressed = 0
        """Records that were not let through."""

    def admit(self, record: logging.LogRecord) -> bool:
        """Return whether the record is let through; `due` tells of those that are not.

        Records that were not logged with `at_most` always are.
        """
        bound: tuple[Hashable, int] | None = getattr(record, "storm", None)
        if bound is None:
            return True
        with self._lock:
            now = self._clock()
            storm = self._storm(record, *bound, now)
            if not storm.count and storm.take(now):
                return True
            storm.newest = record
            storm.count += 1
            self.suppressed += 1
            return False

    def due(self, *, all_of_them: bool = False) -> list[logging.LogRecord]:
        """Return the newest held-back record of each kind, with the count, if it is time."""
        found = []
        with self._lock:
            now = self._clock()
            for kind, storm in list(self._kinds.items()):
                if storm.newest is None:
                    if storm.whole_at <= now:
                        del self._kinds[kind]
                elif all_of_them or storm.take(now):
                    found.append(_counted(storm.newest, storm.count))
                    storm.count, storm.newest = 0, None
        return found

    def seconds_left(self) -> float | None:
        """Return in how many seconds `due` may have something; None while nothing is kept."""
        return LOOK_SECONDS if self._kinds else None

    def _storm(self, record: logging.LogRecord, by: Hashable, lines: int, now: float) -> _Storm:
        kind: _Kind = (record.name, str(record.msg), by)
        storm = self._kinds.get(kind)
        if storm is None and len(self._kinds) >= MAX_STORMS:
            kind = (record.name, str(record.msg), None)
            storm = self._kinds.get(kind)
        if storm is None:
            storm = self._kinds[kind] = _Storm(lines, now)
        return storm


def _counted(record: logging.LogRecord, count: int) -> logging.LogRecord:
    """Return a copy of the record that says for how many it stands."""
    told = copy.copy(record)
    vars(told)["fields"] = {**getattr(record, "fields", {}), "suppressed": count}
    return told
