"""Where a listener stands in its stream: what it asks for, what is new to it. Pure."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from app.protocol.position import Position

PLAIN: Final = "plain"

Start = Literal["plain", "live", "cursor"] | int
"""Where to begin: at now, at the device's cursor, or above an offset of the server's epoch.

A plain listener names no position at all, as a simple client.
"""


class Progress:
    """The position up to which everything was shown, None until there is one.

    It follows the rules for positioned clients in docs/protocol.md: a snapshot moves nothing, and
    what is not above the position was there before.
    """

    def __init__(self, start: Start = PLAIN) -> None:
        self.position: Position | None = None
        self._start = start
        self._epoch = ""
        self._seen = 0
        self._settled = False

    @property
    def acknowledgeable(self) -> Position | None:
        """The position if this connection has reached it; None while there is a snapshot."""
        return self.position if self._settled else None

    @property
    def positioned(self) -> bool:
        """True for a listener that names its position, or how it wants one."""
        return self._start != PLAIN

    def query(self) -> dict[str, str]:
        """Return the parameters with which the next connection goes on from here."""
        if not self.positioned:
            return {}
        if self.position is not None:
            return {"epoch": self.position.epoch, "offset": str(self.position.offset)}
        # The epoch to which an offset belongs has to be heard first: the server has only one.
        return {"snapshot": "1"} if self._start == "cursor" else {"resume": "live"}

    def connected(self, resume: Mapping[str, Any]) -> bool:
        """Take where the server lets this connection start; False: connect again, from there."""
        self._epoch, self._seen = str(resume["epoch"]), int(resume["offset"])
        self._settled = False
        known = self.position
        if known is None and isinstance(self._start, int):
            self.position = Position(self._epoch, self._start)
            return False
        if resume["outcome"] == "resumed" and known is not None and known.epoch == self._epoch:
            # A plain one is resumed from the device's cursor, which may be behind what it has.
            self._seen = max(self._seen, known.offset)
        return True

    def is_new(self, message: Mapping[str, Any]) -> bool:
        """Tell whether to show the message: all are new but those up to the position."""
        offset = _moves_to(message)
        return offset is None or offset > self._seen

    def shown(self, message: Mapping[str, Any]) -> None:
        """The message has been shown."""
        offset = _moves_to(message)
        if offset is not None:
            self._move(offset)

    def reached(self, payload: Mapping[str, Any]) -> None:
        """Take a `position` of the server: everything up to there is here."""
        if payload["epoch"] == self._epoch:
            self._move(max(int(payload["offset"]), self._seen))

    def _move(self, offset: int) -> None:
        self._seen = offset
        self._settled = True
        self.position = Position(self._epoch, offset)


def _moves_to(message: Mapping[str, Any]) -> int | None:
    """Return the offset of a durable message; a snapshot's moves nothing."""
    offset = message.get("offset")
    return offset if isinstance(offset, int) and message.get("snapshot") is not True else None
