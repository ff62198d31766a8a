"""How much a connection may send: a token bucket of messages and one of bytes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The limits of one connection; a rate of 0 is no limit."""

    messages_per_second: float
    messages_burst: float
    bytes_per_second: float
    bytes_burst: float

    @property
    def unlimited(self) -> bool:
        """True when nothing has to be counted."""
        return not self.messages_per_second and not self.bytes_per_second


class Rate:
    """The two buckets of one connection; they start full."""

    __slots__ = ("_bytes", "_messages", "_then", "limit", "refused")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._messages = limit.messages_burst
        self._bytes = limit.bytes_burst
        self._then = now
        self.refused = 0

    def take(self, size: int, now: float) -> bool:
        """Count a message of `size` bytes and tell whether it is within the limits.

        `refused` is how many in a row were not.
        """
        limit = self.limit
        elapsed = now - self._then
        self._then = now
        self._messages = min(
            limit.messages_burst, self._messages + elapsed * limit.messages_per_second
        )
        self._bytes = min(limit.bytes_burst, self._bytes + elapsed * limit.bytes_per_second)
        if (limit.messages_per_second and self._messages < 1) or (
            limit.bytes_per_second and self._bytes < size
        ):
            self.refused += 1
            return False
        self._messages -= 1
        self._bytes -= size
        self.refused = 0
        return True

    def give_back(self, size: int) -> None:
        """Count the message that was taken last not at all."""
        self._messages += 1
        self._bytes += size
