"""A feature for the server under measurement: it samples how late the event loop runs a timer.

The server's own metric has about one sample a second, too few for percentiles of some seconds.
`probe.begin` starts to take one every 5 ms; `probe.end` answers with all of them, in microseconds.
Samples are due at fixed times, so those that fell into a stall count as well.
"""

import asyncio
import time
from typing import Final

from app.features.feature import Outcome, Reply
from app.node.connection import Connection
from app.protocol.messages import ClientMessage, MessageError

PAUSE_SECONDS: Final = 0.005


class Probe:
    """Samples the loop from `probe.begin` to `probe.end`."""

    prefix = "probe"

    def __init__(self) -> None:
        self._late: list[int] = []
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Begin to sample, or end and return the samples."""
        if message.type == "probe.begin":
            self._late = []
            self._due = time.monotonic()
            self._sample()
            return Reply("probe.begun", None)
        if message.type == "probe.end":
            if self._timer is not None:
                self._timer.cancel()
            return Reply("probe.seen", {"late_us": self._late})
        raise MessageError("unknown_type", "the probe has only probe.begin and probe.end")

    def _sample(self) -> None:
        # Not the loop's own time: uvloop's stands still while a callback runs.
        now = time.monotonic()
        while self._due <= now:
            self._late.append(round((now - self._due) * 1e6))
            self._due += PAUSE_SECONDS
        self._timer = asyncio.get_running_loop().call_later(self._due - now, self._sample)


probe = Probe()
