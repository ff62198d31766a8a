"""A feature for the server under measurement: how late its event loop runs a timer, very often.

The server's own metric looks about once a second, too seldom for a percentile of some seconds.
`probe.begin` starts to look, every 5 ms; `probe.end` answers with what was seen, in microseconds.
A look that the loop had no time for counts all the same: each is due at a fixed time.
"""

import asyncio
import time
from typing import Final

from app.features.feature import Outcome, Reply
from app.node.connection import Connection
from app.protocol.messages import ClientMessage, MessageError

PAUSE_SECONDS: Final = 0.005


class Probe:
    """Looks from `begin` to `end`."""

    prefix = "probe"

    def __init__(self) -> None:
        self._late: list[int] = []
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Begin, or end with what was seen."""
        if message.type == "probe.begin":
            self._late = []
            self._due = time.monotonic()
            self._look()
            return Reply("probe.begun", None)
        if message.type == "probe.end":
            if self._timer is not None:
                self._timer.cancel()
            return Reply("probe.seen", {"late_us": self._late})
        raise MessageError("unknown_type", "the probe has only probe.begin and probe.end")

    def _look(self) -> None:
        # Not the loop's own time: uvloop's stands still while a callback runs.
        now = time.monotonic()
        while self._due <= now:
            self._late.append(round((now - self._due) * 1e6))
            self._due += PAUSE_SECONDS
        self._timer = asyncio.get_running_loop().call_later(self._due - now, self._look)


probe = Probe()
