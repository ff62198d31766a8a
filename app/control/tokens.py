"""Commands on tokens: each is one session of a device, or of a user without a device."""

from pydantic import Field

from app.control.devices import Revoked
from app.control.operations import Arguments, Command, Id, Operations, Result
from app.storage.sessions import SessionRecord


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


def _view(session: SessionRecord) -> TokenView:
    return TokenView(
        session_id=session.id,
        user_id=session.user_id,
        device_id=session.device_id,
        label=session.label,
        created_at=session.created_at,
        last_used=session.last_used,
        expires_at=session.expires_at,
    )


async def _issue(operations: Operations, arguments: NewToken) -> IssuedToken:
    user = await operations.user(arguments.user)
    signed_in = await operations.accounts.issue_token(
        user.id,
        arguments.device_uuid,
        arguments.device_type,
        device_name=arguments.device_name,
        label=arguments.label,
    )
    return IssuedToken(
        token=signed_in.token,
        session_id=signed_in.session_id,
        user_id=user.id,
        device_id=signed_in.device.id if signed_in.device else None,
        connections_closed=operations.end(signed_in.ended),
    )


async def _list(operations: Operations, arguments: WhoseTokens) -> list[TokenView]:
    user = await operations.user(arguments.user)
    return [_view(session) for session in await operations.accounts.list_sessions(user.id)]


async def _revoke(operations: Operations, arguments: OneToken) -> Revoked:
    which = arguments.session_id or arguments.token
    ended = await operations.accounts.revoke_token(which)
    return Revoked(connections_closed=operations.end(ended))


ISSUE = Command("tokens.issue", NewToken, IssuedToken, _issue)
LIST = Command("tokens.list", WhoseTokens, list[TokenView], _list)
REVOKE = Command("tokens.revoke", OneToken, Revoked, _revoke)
