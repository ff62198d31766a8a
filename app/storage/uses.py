"""When sessions, devices and API keys were used last: gathered here, written for many at once."""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.database import Database

# Given to the driver as they are: SQLAlchemy would take 3 µs of the event loop for each row.
_SESSIONS: Final = """
UPDATE sessions SET last_used = ? WHERE id = ? AND last_used NOT BETWEEN ? AND ?
"""
_DEVICES: Final = """
UPDATE devices SET last_seen = ? WHERE id = ? AND last_seen NOT BETWEEN ? AND ?
"""
_API_KEYS: Final = """
UPDATE api_keys SET last_used = ?
WHERE id = ? AND coalesce(last_used, 0) NOT BETWEEN ? AND ?
"""

SHOWN_MS: Final = 86_400_000
"""What is further ahead was written by a clock that was; people would see it until then."""

DECIDING_MS: Final = 2**62
"""No time of use is too far ahead to stay: what goes by it must not end too early."""

STEP: Final = 1000
"""Rows of one transaction: some 5 ms in which nobody else writes."""


class Uses:
    """The last uses of rows, by id, until they are written; milliseconds since the epoch."""

    def __init__(self, statement: str, ahead: int) -> None:
        self._statement = statement
        self._ahead = ahead
        self._pending: dict[int, int] = {}

    @classmethod
    def of_sessions(cls) -> "Uses":
        """Return the uses of sessions, for the column `last_used`."""
        return cls(_SESSIONS, DECIDING_MS)

    @classmethod
    def of_devices(cls) -> "Uses":
        """Return the uses of devices, for the column `last_seen`."""
        return cls(_DEVICES, SHOWN_MS)

    @classmethod
    def of_api_keys(cls) -> "Uses":
        """Return the uses of API keys, for the column `last_used`."""
        return cls(_API_KEYS, SHOWN_MS)

    def __bool__(self) -> bool:
        return bool(self._pending)

    def mark(self, row_id: int, at: int) -> None:
        """Record a use of the row."""
        self._pending[row_id] = at

    def mark_all(self, row_ids: Iterable[int], at: int) -> None:
        """Record a use of every row."""
        self._pending.update(dict.fromkeys(row_ids, at))

    def last(self, row_id: int) -> int:
        """Return the last use of the row that is not yet written; 0 if there is none."""
        return self._pending.get(row_id, 0)

    async def write(
        self, connection: AsyncConnection, among: Iterable[int] | None = None
    ) -> Mapping[int, int]:
        """Write the uses of the rows `among` these until now, of all if not given; return them.

        A later use that the database knows stays. Give what this returned to `forget` when the
        caller's transaction is committed.
        """
        if among is None:
            uses = dict(self._pending)
        else:
            uses = {row_id: self._pending[row_id] for row_id in among if row_id in self._pending}
        ahead = self._ahead
        if rows := [(at, row_id, at, at + ahead) for row_id, at in uses.items()]:
            await connection.exec_driver_sql(self._statement, rows)
        return uses

    @property
    def pending(self) -> list[int]:
        """The ids of the rows with uses that are not yet written."""
        return list(self._pending)

    def forget(self, written: Mapping[int, int]) -> None:
        """Forget the uses that were written, but for rows that were used again meanwhile."""
        for row_id, at in written.items():
            if self._pending.get(row_id) == at:
                del self._pending[row_id]


async def flush(database: Database, *kinds: Uses) -> None:
    """Write the uses until now of each kind, STEP rows of it in a transaction."""
    pending = [uses.pending for uses in kinds]
    for begin in range(0, max(map(len, pending)), STEP):
        async with database.write() as connection:
            written = [
                await uses.write(connection, ids[begin : begin + STEP])
                for uses, ids in zip(kinds, pending, strict=True)
            ]
        for uses, rows in zip(kinds, written, strict=True):
            uses.forget(rows)
