"""A feature such as an operator may have, which logs a line for every message; the trial `log`."""

import logging
from typing import Final

from app.features import ClientMessage, Connection, Outcome

LINE: Final = "x" * 4000

log = logging.getLogger(__name__)


class Talkative:
    """`talk.say` writes a long line to the log."""

    prefix = "talk"

    def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Write the line."""
        log.info("said", extra={"fields": {"line": LINE}})
        return None


talkative = Talkative()
