"""What the commands on tokens do."""

from typing import Final

from app.control import tokens as commands
from app.control.actions.action import Action
from app.control.devices import Revoked
from app.control.operations import Operations
from app.control.tokens import IssuedToken, NewToken, OneToken, TokenView, WhoseTokens
from app.storage.sessions import SessionRecord


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


ACTIONS: Final = (
    Action(commands.ISSUE, _issue),
    Action(commands.LIST, _list),
    Action(commands.REVOKE, _revoke),
)
