"""What all writes on accounts have in common."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.sessions import Ended, Sessions, closed_by
from app.base.errors import Problem
from app.protocol.close import REVOKED, Close
from app.settings import Settings
from app.storage.completion import complete
from app.storage.database import Database
from app.storage.endings import Ending
from app.storage.schema import milliseconds
from app.storage.users import User, user_by_id

T = TypeVar("T")


class Writes:
    """Writes that end sessions: in the database, then in memory, then told to the caller."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        sessions: Sessions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._settings = settings
        self._sessions = sessions
        self._clock = clock

    def _now(self) -> int:
        return milliseconds(self._clock())

    async def _finish(self, work: Coroutine[Any, Any, T], ended: Callable[[T], Ended]) -> T:
        """Return the outcome of a write, which is finished also when the caller is cancelled.

        Then nobody is left to close the connections that it ended, so `on_ended` is told.
        """
        outcome: list[T] = []

        async def finish() -> T:
            outcome.append(await work)
            return outcome[0]

        try:
            return await complete(finish())
        except asyncio.CancelledError:
            for result in outcome:
                self._sessions.on_ended(ended(result))
            raise

    async def _end(self, work: Coroutine[Any, Any, Ended]) -> Ended:
        return await self._finish(work, lambda ended: ended)

    def _ended(self, endings: Sequence[Ending], close: Close = REVOKED) -> Ended:
        """Memory knows what a committed write has ended; return the connections to close."""
        self._sessions.end(endings)
        return closed_by(endings, close)


async def require_user(connection: AsyncConnection, user_id: int) -> User:
    """Return the user; raises Problem 404 `user_not_found`."""
    user = await user_by_id(connection, user_id)
    if user is None:
        raise user_not_found()
    return user


def user_not_found() -> Problem:
    return Problem(404, "user_not_found", "There is no such user.")
