"""An event loop that tells which timers it has."""

import asyncio
from collections import Counter
from typing import Any


class WatchedLoop(asyncio.SelectorEventLoop):
    """Remembers every timer that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self._given: list[tuple[asyncio.TimerHandle, str]] = []

    def call_at(self, when: float, callback: Any, *args: Any, **more: Any) -> asyncio.TimerHandle:
        """Call it at that time; `call_later` comes here, too."""
        timer = super().call_at(when, callback, *args, **more)
        self._given.append((timer, str(callback)))
        return timer

    def timers(self) -> Counter[str]:
        """Return what is still to be called, and was not cancelled."""
        now = self.time()
        waiting = [
            what for timer, what in self._given if timer.when() > now and not timer.cancelled()
        ]
        return Counter(waiting)
