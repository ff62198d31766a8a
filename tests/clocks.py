"""Clocks that a test moves by hand."""


class HandClock:
    """A clock that stands still until moved.

    `jumped` is how far the machine's clock is ahead of trusted time.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.jumped = 0.0

    def __call__(self) -> float:
        return self.now

    def trusted(self) -> float:
        return self.now

    def stamp(self) -> float:
        return self.now + max(0.0, self.jumped)

    def ahead(self) -> float:
        return self.jumped

    def advance(self, seconds: float) -> None:
        self.now += seconds
