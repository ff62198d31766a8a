"""The command that removes at once what the server removes by and by."""

from typing import Final

from app.control.command import Arguments, Feed, Result


class HowToPrune(Arguments):
    """Whether to remove what is past, or only to count it."""

    dry_run: bool = False


class Gone(Result):
    """How many rows of each kind went, or with `dry_run` would go.

    `messages` have expired, are too old or too many; `sessions` and `jwts` are beyond their end;
    `devices` and `users` are tombstones that nothing names any more; `leftovers` are rows of what
    has ended: of deleted users, of sessions after a password change. `at` is the time by which
    things are past, in milliseconds since 1970 (UTC): the one that the server trusts.
    """

    messages: int
    sessions: int
    jwts: int
    devices: int
    users: int
    leftovers: int
    at: int
    dry_run: bool


PRUNE: Final = Feed[HowToPrune, Gone]("prune", HowToPrune, Gone)
"""A feed of one item, since it may take longer than a command may."""
