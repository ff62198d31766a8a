"""`token.refresh`: a connection goes on with a newer token, before the one that it has ends."""

import logging

from app.auth.sessions import Sessions
from app.base.errors import Problem
from app.features.dispatch import who
from app.features.feature import Outcome, Reply
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.messages import ClientMessage, MessageError

log = logging.getLogger(__name__)


class TokenFeature:
    """Puts another token of the same user and device in the place of a connection's own."""

    prefix = "token"

    def __init__(self, node: Node, sessions: Sessions) -> None:
        self._node = node
        self._sessions = sessions

    async def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Take the new token; the `ok` tells when it ends.

        Raises MessageError `unknown_type`; `invalid_message` without an `id` or a token;
        `invalid_token` for one that does not hold, or is another user's or device's. Then the
        connection goes on with the token that it has.
        """
        token = _token_in(message)
        holder = (connection.user_id, connection.device_id)
        try:
            identity = await self._sessions.resolve(token, "header", holder)
        except Problem:
            raise MessageError(
                "invalid_token", "this is no valid token of this user and device"
            ) from None
        deadlines = self._node.deadlines
        deadlines.renew(connection, session_id=identity.session_id, expires_at=identity.expires_at)
        log.debug("token refreshed", extra=who(connection))
        expires_in = deadlines.expires_in(connection)
        ends = {} if expires_in is None else {"expires_in": expires_in}
        return Reply("ok", {"delivered": [], **ends})


def _token_in(message: ClientMessage) -> str:
    if message.type != "token.refresh":
        raise MessageError("unknown_type", "the feature token has only token.refresh")
    body = message.payload
    token = body.get("token") if isinstance(body, dict) else None
    if message.id is None or not isinstance(token, str):
        raise MessageError("invalid_message", "token.refresh needs an id, and the token as text")
    return token
