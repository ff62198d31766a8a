"""Clocks that a test moves by hand."""


class HandClock:
    """A clock that stands still until moved; both of its readings are the same."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def trusted(self) -> float:
        return self.now

    def stamp(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
