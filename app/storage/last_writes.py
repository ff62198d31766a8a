"""What is written when the server stops, though the disk may not take it."""

import logging
from collections.abc import Awaitable

from sqlalchemy.exc import SQLAlchemyError

from app.base.errors import StorageUnavailable
from app.base.logs import fields
from app.storage.faults import Faults, reason_of

log = logging.getLogger(__name__)


class LastWrites:
    """The writes of a stop: one that fails hinders no other, and one line tells of all that did."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._refused: list[str] = []
        self._reason = ""

    async def attempt(self, what: str, writing: Awaitable[object]) -> None:
        """Await a write; remember `what` if the disk does not take it."""
        try:
            await writing
        except (OSError, SQLAlchemyError, StorageUnavailable) as error:
            self._refused.append(what)
            self._reason = self._faults.current or reason_of(error)

    def tell(self) -> None:
        """Log what was not written, if anything was not."""
        if self._refused:
            told = fields(what=", ".join(self._refused), reason=self._reason)
            log.warning("not written at the stop", extra=told)
