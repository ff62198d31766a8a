"""A server that was started for the tests, and how to sign in there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Running:
    url: str
    handle: str
    password: str
    options: tuple[str, ...] = ()
    """What the smoke test needs to believe its certificate."""
