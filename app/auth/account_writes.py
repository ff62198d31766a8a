"""What all writes on accounts share: how they finish, and checks within their transaction."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.endings import ToClose, connections_of
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.base.clock import WALL, Clock
from app.base.errors import Problem
from app.base.tasks import complete
from app.protocol.close import REVOKED, Close
from app.settings import Settings
from app.storage.database import Database
from app.storage.endings import Ending
from app.storage.schema import milliseconds
from app.storage.users import User, user_by_id

T = TypeVar("T")


class AccountWrites:
    """Writes that end sessions: in the database, then in memory, then told to the caller."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        sessions: Sessions,
        passwords: Passwords,
        clock: Clock = WALL,
    ) -> None:
        self._database = database
        self._settings = settings
        self._sessions = sessions
        self._passwords = passwords
        self._clock = clock

    def _now(self) -> int:
        return milliseconds(self._clock.stamp())

    async def _finish(self, work: Coroutine[Any, Any, T], to_close: Callable[[T], ToClose]) -> T:
        """Finish a write, also when the caller is cancelled, and return its outcome.

        A cancelled caller cannot close the connections that the write has ended: `on_ended` gets
        them.
        """
        task = asyncio.ensure_future(work)
        try:
            return await complete(task)
        except asyncio.CancelledError:
            if not task.cancelled() and task.exception() is None:
                self._sessions.on_ended(to_close(task.result()))
            raise

    async def _finish_ending(self, work: Coroutine[Any, Any, ToClose]) -> ToClose:
        return await self._finish(work, lambda to_close: to_close)

    def _end(self, endings: Sequence[Ending], close: Close = REVOKED) -> ToClose:
        """End in memory what a committed write has ended; return the connections to close."""
        self._sessions.end(endings)
        return connections_of(endings, close)


async def require_user(connection: AsyncConnection, user_id: int) -> User:
    """Return the user; raises Problem 404 `user_not_found`."""
    user = await user_by_id(connection, user_id)
    if user is None:
        raise user_not_found()
    return user


async def require_admin(connection: AsyncConnection, user_id: int) -> None:
    """Raise Problem 403 `forbidden` if the user, as stored now, is no administrator."""
    user = await user_by_id(connection, user_id)
    if user is None or not (user.active and user.is_admin):
        raise not_an_admin()


def user_not_found() -> Problem:
    """Return the answer for a user who does not exist."""
    return Problem(404, "user_not_found", "There is no such user.")


def not_an_admin() -> Problem:
    """Return the refusal of what only administrators may do."""
    return Problem(403, "forbidden", "This is for administrators.")
