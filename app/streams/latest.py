"""`latest` values: which rows a new value or a deletion replaces, and how many keys a user has.

The number of keys is known without counting for each append.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from app.streams.base import ANY, Append
from app.streams.rows import chunks, markers

LatestKey = tuple[int, str, str, int, int]
"""User, type, key, target and excluded device: a newer value replaces the older one of the same."""

ValueName = tuple[int, str, str]
"""User, type and key: what tells the values apart that a device knows."""

MAX_USERS: Final = 50_000
"""Users whose numbers are in memory, about 5 MB; with one more, counting begins anew."""

_EXISTING: Final = """
WITH wanted (user_id, type, "key") AS (VALUES {values})
SELECT m."offset", m.deleted, m.expires_at,
    m.user_id, m.type, m."key", m.target_device, m.without_device
FROM wanted AS w CROSS JOIN messages AS m ON m."key" IS NOT NULL
    AND m.user_id = w.user_id AND m.type = w.type AND m."key" = w."key"
"""
_COUNT: Final = """
SELECT user_id, count(*), sum(expires_at IS NULL OR expires_at > ?) FROM messages
WHERE "key" IS NOT NULL AND deleted = 0 AND user_id IN ({values}) GROUP BY user_id
"""


def value_name(append: Append) -> ValueName:
    """Return the name of the value that the message sets or deletes."""
    return (append.user_id, append.type, append.key or "")


def latest_key(append: Append) -> LatestKey:
    """Return the key under which the message is the newest value."""
    key = append.key or ""
    return (append.user_id, append.type, key, append.target_device, append.without_device)


def covers(deletion: Append, value: LatestKey) -> bool:
    """Tell whether the deletion leaves nobody an older value under this key of the same name.

    Whoever is left out of a deletion knows of it already.
    """
    target = value[3]
    return deletion.target_device in (ANY, target)


@dataclass(slots=True)
class _Held:
    """A row under a LatestKey: its offset, 0 if this batch writes it, and what it is."""

    offset: int
    deleted: bool
    live: bool
    """Neither deleted nor expired."""


_Values = dict[ValueName, dict[LatestKey, _Held]]


class LatestBatch:
    """The values and deletions of one batch: which rows they replace, and what is above the quota.

    `held` has the rows that are stored under the names of the batch; `counts` the values of each
    user, `bounds` an upper bound of the rows of each user's values.
    """

    def __init__(
        self, *, held: _Values, counts: dict[int, int], bounds: dict[int, int], limit: int
    ) -> None:
        self._held = held
        self._counts = counts
        self.bounds = bounds
        self._limit = limit
        self.replaced: list[int] = []

    def admit(self, append: Append) -> bool:
        """Count the value, and note the row that it replaces; False when it is above the quota."""
        user_id, key = append.user_id, latest_key(append)
        held = self._held.setdefault(value_name(append), {})
        prior = held.get(key)
        if prior is None or not prior.live:
            if self._counts[user_id] >= self._limit:
                return False
            self._counts[user_id] += 1
            self.bounds[user_id] += 1
        self._replace(prior)
        held[key] = _Held(0, deleted=False, live=True)
        return True

    def delete(self, append: Append) -> list[LatestKey]:
        """Note the rows that the deletion replaces, and return their keys."""
        held = self._held.setdefault(value_name(append), {})
        key = latest_key(append)
        gone = [one for one in held if covers(append, one)]
        for one in gone:
            prior = held.pop(one)
            self._counts[append.user_id] -= prior.live
            self.bounds[append.user_id] -= not prior.deleted
            self._replace(prior)
        held[key] = _Held(0, deleted=True, live=False)
        return gone

    def _replace(self, prior: _Held | None) -> None:
        if prior is not None and prior.offset:
            self.replaced.append(prior.offset)


class LatestQuota:
    """How many `latest` values a user may have, and an upper bound of how many rows hold them.

    A bound counts expired rows too. A batch that would be above the quota by its users' bounds
    has those users counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bounds: dict[int, int] = {}

    def forget(self) -> None:
        """Have every user counted again, since nobody knows what the last batch stored."""
        self._bounds.clear()

    def begin(self, connection: Connection, appends: Sequence[Append], now: int) -> LatestBatch:
        """Return the batch of these appends, with none admitted yet; `now` in milliseconds."""
        held = _held(connection, {value_name(append) for append in appends}, now)
        live = {key for values in held.values() for key, one in values.items() if one.live}
        wanted = {latest_key(append) for append in appends if not append.deleted}
        new = Counter(user_id for user_id, *_ in wanted - live)
        users = {append.user_id for append in appends}
        counts = {user: self._bounds.get(user, self._limit) for user in users}
        bounds = dict(counts)
        tight = {user for user in users if counts[user] + new[user] > self._limit}
        # A deletion lowers the bound, so it needs a true one.
        tight |= {one.user_id for one in appends if one.deleted} - self._bounds.keys()
        for user in tight:
            counts[user] = bounds[user] = 0
        for user, rows, values in _counted(connection, tight, now):
            counts[user], bounds[user] = values, rows
        return LatestBatch(held=held, counts=counts, bounds=bounds, limit=self._limit)

    def committed(self, batch: LatestBatch) -> None:
        """Take over the bounds of a batch that is on disk."""
        if len(self._bounds) > MAX_USERS:
            self._bounds.clear()
        self._bounds.update(batch.bounds)


def _held(connection: Connection, names: Collection[ValueName], now: int) -> _Values:
    found: _Values = {}
    for chunk in chunks(sorted(names)):
        query = _EXISTING.format(values=markers(len(chunk), 3))
        flat = tuple(value for name in chunk for value in name)
        for offset, deleted, expires_at, *key in connection.exec_driver_sql(query, flat):
            user_id, type_, text, target, without = key
            live = not deleted and (expires_at is None or expires_at > now)
            held = _Held(offset, deleted=bool(deleted), live=live)
            values = found.setdefault((user_id, type_, text), {})
            values[user_id, type_, text, target, without] = held
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
