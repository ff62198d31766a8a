"""One line for a fault that lasts, not one for each time it is met."""

import logging
import time
from typing import Final

from sqlalchemy.exc import DBAPIError

from app.base.logs import fields

QUIET_SECONDS: Final = 5.0
"""A fault that goes on is told this often."""

log = logging.getLogger(__name__)


class Complaints:
    """Tells of storage that does not work, at most every few seconds."""

    def __init__(self) -> None:
        self._quiet_until = -QUIET_SECONDS

    def tell(self, error: BaseException) -> None:
        """The log has a line with the kind of the fault, unless it got one just now."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            log.warning("storage unavailable", extra=fields(reason=_reason(error)))


def _reason(error: BaseException) -> str:
    """Return a word of ours or of the driver's: a message may quote what was to be stored."""
    if isinstance(error, DBAPIError):
        return str(getattr(error.orig, "sqlite_errorname", type(error.orig).__name__))
    return type(error).__name__
