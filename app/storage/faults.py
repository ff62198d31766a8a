"""What keeps the database from being written: noticed, told once, and known to readiness.

A row or a statement that is at fault is none of these: it says nothing of the disk.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError

from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.base.metrics import Metrics
from app.storage.damage import is_structural

QUIET_SECONDS: Final = 5.0
"""A fault that lasts is logged again after this long."""

# The driver's errors that say something of a row or a statement, but nothing of the disk.
_NOT_OF_STORAGE: Final = (DataError, IntegrityError, InterfaceError, ProgrammingError)

REASONS: Final = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_BUSY": "another process has locked the database",
    "SQLITE_LOCKED": "the database is locked",
    "SQLITE_READONLY": "the database may not be written",
    "SQLITE_IOERR": "the disk failed",
    "SQLITE_CANTOPEN": "the database cannot be opened",
    "SQLITE_CORRUPT": "the database is damaged",
    "SQLITE_NOTADB": "the file is no database",
    "system": "the system refused to write",
    "other": "the database failed",
}
"""What the beginning of an error's name means; also the labels of the metric."""

log = logging.getLogger("app.streams.sql")


class Faults:
    """Turns faults of the storage into StorageUnavailable, and logs them, but not each of them."""

    def __init__(self) -> None:
        self._quiet_until = -QUIET_SECONDS
        self._counts: Counter[str] = Counter()
        self.current: str | None = None
        """A sentence on what keeps the database from being written, until a write has succeeded."""

    def show_on(self, metrics: Metrics) -> None:
        """Count the faults by their reason."""
        metrics.tally(
            "storage_errors",
            "Faults of the storage, by reason.",
            "reason",
            lambda: {reason: self._counts[reason] for reason in REASONS},
        )

    @contextmanager
    def as_unavailable(self, *, writing: bool = False) -> Iterator[None]:
        """Raise StorageUnavailable for an error of the driver or the system inside the block.

        Errors of a row or a statement pass unchanged. A fault of `writing` is remembered.
        """
        try:
            yield
        except _NOT_OF_STORAGE:
            raise
        except (DBAPIError, OSError) as error:
            self.report(error, writing=writing)
            raise StorageUnavailable from error

    @contextmanager
    def of_a_change(self) -> Iterator[None]:
        """Do what `as_unavailable` does for a change of accounts, and leave damage to others."""
        try:
            yield
        except _NOT_OF_STORAGE:
            raise
        except (DBAPIError, OSError) as error:
            if is_structural(error):
                raise
            self.report(error, writing=True)
            raise self.unavailable() from error
        self.written()

    def unavailable(self) -> StorageUnavailable:
        """Return the answer to a change that was not made."""
        return StorageUnavailable(f"Nothing was changed: {self.current or REASONS['other']}.")

    def report(self, error: Exception, *, writing: bool = False) -> None:
        """Count the fault, and log its kind unless one was logged within QUIET_SECONDS.

        One of `writing` is remembered until something was written.
        """
        name = _name(error)
        label = _label(name, error)
        self._counts[label] += 1
        # Damage is looked at where it was met, and keeps nothing else from being written.
        if writing and not is_structural(error):
            self.current = REASONS[label]
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            log.warning("storage unavailable", extra=fields(reason=name))

    def written(self) -> None:
        """Note that a transaction was committed."""
        if self.current is not None:
            log.info("storage available again", extra=fields(after=self.current))
            self.current = None
            self._quiet_until = -QUIET_SECONDS


def reason_of(error: Exception) -> str:
    """Return what the fault of the storage means; what it says itself if it tells no cause."""
    if isinstance(error, StorageUnavailable):
        cause = error.__cause__
        return reason_of(cause) if isinstance(cause, Exception) else str(error)
    return REASONS[_label(_name(error), error)]


def _name(error: Exception) -> str:
    """Return the name of the error, not its message, which may quote what was to be stored."""
    if isinstance(error, DBAPIError):
        return str(getattr(error.orig, "sqlite_errorname", type(error.orig).__name__))
    return type(error).__name__


def _label(name: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return "system"
    # Extended codes go on behind the name of the primary one.
    return next((label for label in REASONS if name.startswith(label)), "other")
