"""How much the database takes of the disk, and how much the disk has left.

A disk over the network may hang for minutes, and whoever asks it hangs too. So the metrics show
what the last look has seen, and how long ago that was; the looks have a thread of their own.
"""

import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.base.metrics import Metrics


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look has seen, in bytes, and when; not a number where the system did not say."""

    database: float = math.nan
    log: float = math.nan
    free: float = math.nan
    total: float = math.nan
    at: float = math.nan


class Room:
    """The room of the database at `path`; `clock` returns seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        real = path.resolve()
        self._database: Final = real
        self._log: Final = real.with_name(real.name + "-wal")
        self._clock = clock
        self._seen = _Seen()

    def look(self) -> None:
        """Ask the system; call it from a thread that may wait for the disk."""
        free = total = math.nan
        with suppress(OSError):
            found = shutil.disk_usage(self._database.parent)
            free, total = found.free, found.total
        database, log = _size(self._database), _size(self._log)
        self._seen = _Seen(database, log, free, total, self._clock())

    def show_on(self, metrics: Metrics) -> None:
        """Show what the last look has seen."""
        watch = metrics.watch
        watch("database_bytes", "Size of the database's file.", lambda: self._seen.database)
        watch("wal_bytes", "Size of the write-ahead log.", lambda: self._seen.log)
        watch("disk_free_bytes", "What its disk has left.", lambda: self._seen.free)
        watch("disk_bytes", "How large that disk is.", lambda: self._seen.total)
        watch(
            "disk_look_age_seconds",
            "How long ago the sizes were last read; more than a few seconds if the disk hangs.",
            lambda: self._clock() - self._seen.at,
        )


def _size(path: Path) -> float:
    try:
        return path.stat().st_size
    except OSError:
        return math.nan
