"""When a listener comes back: the rules of docs/protocol.md for clients."""

import random
from collections.abc import Callable
from typing import Final

from app.listen.signing import ListenEnded
from app.protocol.close import CLOSES

MAX_BACKOFF_SECONDS: Final = 30

_COME_BACK_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Return:
    """Says after each end how long to wait before the next try, and tells the person why.

    `asked_seconds` is what a `goaway` asked for.
    """

    def __init__(self, tell: Callable[[str], None], jitter: Callable[[], float] | None) -> None:
        self._tell = tell
        self._jitter = jitter or random.random
        self._failures = 0
        self.was_connected = False
        self.asked_seconds = 0.0

    def connected(self) -> None:
        """The next wait is a short one again."""
        self._failures = 0
        self.was_connected = True

    def after_close(self, code: int, reason: str) -> float:
        """Return seconds to wait; raise ListenEnded when the code forbids coming back."""
        known = next((one for one in CLOSES if (one.code, one.reason) == (code, reason)), None)
        meaning = known.meaning if known else "The connection was lost."
        if not may_come_back(code):
            raise ListenEnded(f"Closed with {code} {reason}: {meaning}")
        return self._pause(f"Closed with {code} {reason}: {meaning}", self.asked_seconds)

    def after_refusal(self, status: int, retry_after: str) -> float:
        """Return seconds to wait; raise ListenEnded when the upgrade was refused for good."""
        if status == 401:
            raise ListenEnded("The session is over or was never valid (401): sign in again.")
        if status not in _COME_BACK_STATUSES:
            raise ListenEnded(f"The server refused the connection with status {status}.")
        asked = retry_after.isascii() and retry_after.isdigit()
        return self._pause(f"The server is busy ({status}).", float(retry_after) if asked else 0.0)

    def after_failure(self, sentence: str) -> float:
        """Return seconds to wait; raise ListenEnded when the server was never reached."""
        if not self.was_connected:
            raise ListenEnded(sentence)
        return self._pause(sentence)

    def _pause(self, sentence: str, floor: float = 0.0) -> float:
        """Return a wait of full jitter above the floor: many who were cut off come back spread."""
        ceiling = min(MAX_BACKOFF_SECONDS, 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        pause = floor + self._jitter() * ceiling
        self._tell(f"{sentence} Trying again in {pause:.1f} s.")
        return pause


def may_come_back(code: int) -> bool:
    """Tell whether a close code lets a client reconnect: by the table, else by its range."""
    known = [close.reconnect for close in CLOSES if close.code == code]
    return any(known) if known else not 4500 <= code < 5000
