"""At most so many sessions of one user: those used least recently end for a new one."""

import logging
from collections.abc import Callable, Collection
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from app.base.foreign import handle_shown
from app.base.logs import fields
from app.storage.endings import SessionEnding
from app.storage.sessions import end_excess
from app.storage.uses import Uses

log = logging.getLogger(__name__)


class SessionLimit:
    """Ends a user's sessions above `limit`, a step of them at a time; 0 is no limit.

    `connected` returns the ids of a user's sessions that have a connection.
    """

    def __init__(self, limit: int, session_uses: Uses) -> None:
        self.limit = limit
        self.connected: Callable[[int], Collection[int]] = lambda _user_id: ()
        self.above: set[int] = set()
        """Users who still have too many after a step."""
        self._uses = session_uses

    async def enforce(
        self,
        connection: AsyncConnection,
        user_id: int,
        but: Collection[int] = (),
        handle: str | None = None,
    ) -> list[SessionEnding]:
        """End sessions of the user above the limit, never one of `but`, and return their ends.

        That are those used least recently without a connection; with one, only if all others are
        gone. `handle` is for the log, None if the caller does not know it.
        """
        if not self.limit:
            return []
        end = partial(
            end_excess,
            user_id=user_id,
            limit=self.limit,
            but=but,
            connected=self.connected(user_id),
            used=self._uses.last,
        )
        excess = await connection.run_sync(end)
        if excess.more:
            self.above.add(user_id)
        if excess.ended:
            told = fields(
                user=user_id,
                handle=handle_shown(handle),
                sessions=len(excess.ended),
                limit=self.limit,
            )
            log.info("ended sessions above max_sessions_per_user", extra=told)
        return [SessionEnding(user_id=user_id, session_id=one) for one in excess.ended]
