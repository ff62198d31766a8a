"""Where time comes from, so that tests need not wait."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds since the epoch."""


def milliseconds(seconds: float) -> int:
    """Return the time as the database keeps it."""
    return int(seconds * 1000)
