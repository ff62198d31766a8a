"""At most so many new devices of one user in a day, since each leaves a tombstone for long."""

from collections.abc import Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.base.errors import Problem
from app.base.lru import Lru
from app.storage.devices import nth_newest_created_at

DAY_MS: Final = 86_400_000

REMEMBERED: Final = 4096
"""Users at the limit who are sure to be refused without a statement, about 150 bytes each."""


class NewDevices:
    """Refuses a new device of a user who had `limit` new ones in the last 24 hours; 0 is no limit.

    The database counts, so a restart begins nothing anew. `on_refused` gets the user's id.
    """

    def __init__(self, limit: int) -> None:
        self.on_refused: Callable[[int], object] = lambda _user_id: None
        self._limit = limit
        self._full_until: Lru[int, int] = Lru(REMEMBERED)

    def check_remembered(self, user_id: int, now: int) -> None:
        """Refuse the device at no cost if memory knows that the user is at the limit.

        Raises Problem 429 `too_many_devices`; `now` is in milliseconds since the epoch.
        """
        wait = (self._full_until.get(user_id) or 0) - now
        # A clock that was set back must not lock the user out for longer.
        if 0 < wait <= DAY_MS:
            raise self._refusal(user_id, wait)

    async def check(self, connection: AsyncConnection, user_id: int, now: int) -> None:
        """Raise Problem 429 `too_many_devices` if the user is at the limit."""
        if not self._limit:
            return
        created_at = await nth_newest_created_at(connection, user_id, self._limit)
        # A clock that was ahead may have dated it later than now: a day is the longest wait.
        wait = min(created_at + DAY_MS - now, DAY_MS) if created_at is not None else 0
        if wait > 0:
            self._full_until.put(user_id, now + wait)
            raise self._refusal(user_id, wait)

    def _refusal(self, user_id: int, wait_ms: int) -> Problem:
        self.on_refused(user_id)
        return Problem(
            429,
            "too_many_devices",
            "This user had too many new devices in the last 24 hours; a known one may sign in.",
            retry_after_ms=wait_ms,
        )
