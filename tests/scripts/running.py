"""A server that was started for the tests, and how to sign in there."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Running:
    url: str
    handle: str
    password: str
    options: tuple[str, ...] = ()
    """Options with which the smoke test trusts the server's certificate."""
