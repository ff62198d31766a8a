"""The quota of `latest` keys: how many each user has, known without counting for each append."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from sqlalchemy import Connection

from app.streams.base import Append
from app.streams.rows import chunks, markers

LatestKey = tuple[int, str, str, int, int]
"""User, type, key, target and excluded device: a newer value replaces the older one of the same."""

MAX_USERS: Final = 50_000
"""Users whose numbers are in memory, about 5 MB; with one more, counting begins anew."""

_EXISTING: Final = """
WITH wanted (user_id, type, "key", target_device, without_device) AS (VALUES {values})
SELECT m."offset", m.expires_at, m.user_id, m.type, m."key", m.target_device, m.without_device
FROM wanted AS w CROSS JOIN messages AS m ON m."key" IS NOT NULL
    AND m.user_id = w.user_id AND m.type = w.type AND m."key" = w."key"
    AND m.target_device = w.target_device AND m.without_device = w.without_device
"""
_COUNT: Final = """
SELECT user_id, count(*), sum(expires_at IS NULL OR expires_at > ?)
FROM messages WHERE "key" IS NOT NULL AND user_id IN ({values}) GROUP BY user_id
"""


def latest_key(append: Append) -> LatestKey:
    """Return the key under which the message is the newest value."""
    key = append.key or ""
    return (append.user_id, append.type, key, append.target_device, append.without_device)


class LatestBatch:
    """The `latest` values of one batch: which rows they replace, and which are above the quota.

    `existing` has the offset of each value that is stored, and whether it has not expired;
    `counts` the values of each user, `bounds` an upper bound of the user's rows.
    """

    def __init__(
        self,
        *,
        existing: Mapping[LatestKey, tuple[int, bool]],
        counts: dict[int, int],
        bounds: dict[int, int],
        limit: int,
    ) -> None:
        self._existing = existing
        self._live = {key for key, (_, live) in existing.items() if live}
        self._counts = counts
        self.bounds = bounds
        self._limit = limit
        self.replaced: set[int] = set()

    def admit(self, key: LatestKey) -> bool:
        """Count the value, and note the row that it replaces; False when it is above the quota."""
        user_id = key[0]
        if key not in self._live:
            if self._counts[user_id] >= self._limit:
                return False
            self._counts[user_id] += 1
            self.bounds[user_id] += 1
            self._live.add(key)
        prior = self._existing.get(key)
        if prior is not None:
            self.replaced.add(prior[0])
        return True


class LatestQuota:
    """How many `latest` values a user may have, and an upper bound of the rows that each has.

    A bound counts expired rows too. A batch that would be above the quota by its users' bounds
    has those users counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bounds: dict[int, int] = {}

    def forget(self) -> None:
        """Have every user counted again, since nobody knows what the last batch stored."""
        self._bounds.clear()

    def begin(self, connection: Connection, appends: Iterable[Append], now: int) -> LatestBatch:
        """Return the batch of these appends, with none admitted yet; `now` in milliseconds."""
        wanted = {latest_key(append) for append in appends}
        existing = _existing(connection, wanted, now)
        new = Counter(one[0] for one in wanted if not existing.get(one, (0, False))[1])
        users = {one[0] for one in wanted}
        counts = {user: self._bounds.get(user, self._limit) for user in users}
        bounds = dict(counts)
        tight = {user for user in users if counts[user] + new[user] > self._limit}
        for user in tight:
            counts[user] = bounds[user] = 0
        for user, rows, live in _counted(connection, tight, now):
            counts[user], bounds[user] = live, rows
        return LatestBatch(existing=existing, counts=counts, bounds=bounds, limit=self._limit)

    def committed(self, batch: LatestBatch) -> None:
        """Take over the bounds of a batch that is on disk."""
        if len(self._bounds) > MAX_USERS:
            self._bounds.clear()
        self._bounds.update(batch.bounds)


def _existing(
    connection: Connection, wanted: Collection[LatestKey], now: int
) -> dict[LatestKey, tuple[int, bool]]:
    found: dict[LatestKey, tuple[int, bool]] = {}
    for chunk in chunks(sorted(wanted)):
        query = _EXISTING.format(values=markers(len(chunk), 5))
        flat = tuple(value for key in chunk for value in key)
        for offset, expires_at, *key in connection.exec_driver_sql(query, flat):
            live = expires_at is None or expires_at > now
            user_id, type_, text, target, without = key
            found[user_id, type_, text, target, without] = (offset, live)
    return found


def _counted(
    connection: Connection, users: Collection[int], now: int
) -> list[tuple[int, int, int]]:
    counted = []
    for chunk in chunks(sorted(users)):
        query = _COUNT.format(values=",".join("?" * len(chunk)))
        for user_id, rows, live in connection.exec_driver_sql(query, (now, *chunk)):
            counted.append((user_id, rows, live))
    return counted
