"""Commands on tokens: each is one session of a device, or of a user without a device."""

from typing import Final

from pydantic import Field

from app.control.command import Arguments, Command, Id, Result
from app.control.devices import Revoked


class IssuedToken(Result):
    """A new token, shown this once: the database keeps only its hash."""

    token: str = Field(repr=False)
    session_id: int
    user_id: int
    device_id: int | None
    connections_closed: int = 0


class TokenView(Result):
    """A session as an operator sees one; times are milliseconds since 1970 (UTC)."""

    session_id: int
    user_id: int
    device_id: int | None
    label: str | None
    created_at: int
    last_used: int
    expires_at: int


class NewToken(Arguments):
    """The user and the device that the token is for."""

    user: str
    device_uuid: str
    device_type: str
    device_name: str | None = None
    label: str | None = None


class WhoseTokens(Arguments):
    """The user whose tokens to list."""

    user: str


class OneToken(Arguments):
    """A token, by the number of its session or by its own text."""

    session_id: Id | None = None
    token: str = Field(default="", repr=False)


ISSUE: Final = Command[NewToken, IssuedToken]("tokens.issue", NewToken, IssuedToken)
LIST: Final = Command[WhoseTokens, list[TokenView]]("tokens.list", WhoseTokens, list[TokenView])
REVOKE: Final = Command[OneToken, Revoked]("tokens.revoke", OneToken, Revoked)
