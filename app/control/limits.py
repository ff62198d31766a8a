"""The command that asks who is at a limit."""

from typing import Final

from app.control.command import Arguments, Command, Offline, Result


class MetLimit(Result):
    """A limit that a user has met in the last hour; times are milliseconds since 1970 (UTC)."""

    user_id: int
    user_handle: str | None
    subject: str | None
    """Of a user from outside, who has no handle."""
    limit: str
    """Not a closed set: a server of another version may know more limits."""
    count: int
    """How often since `began_at`."""
    began_at: int
    last_at: int


class WhoseLimits(Arguments):
    """Whose limits to list: everybody's without a user."""

    user: str | None = None


LIST: Final = Command[WhoseLimits, list[MetLimit]](
    "limits.list", WhoseLimits, list[MetLimit], offline=Offline.NEVER
)
