"""How many `latest` values each user has, so that appending need not count."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from sqlalchemy import Connection

from app.streams.base import Append
from app.streams.values import chunks, markers

Identity = tuple[int, str, str, int, int]
"""User, type, key, target and excluded device: what a newer value takes the place of."""

MAX_USERS: Final = 50_000
"""Counts held in memory, about 5 MB; then counting begins anew."""

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


def identity_of(append: Append) -> Identity:
    """Return what the value is the newest of."""
    key = append.key or ""
    return (append.user_id, append.type, key, append.target_device, append.without_device)


class Held:
    """The values that a batch meets and makes: which it replaces, which there is no room for."""

    def __init__(
        self,
        existing: Mapping[Identity, tuple[int, bool]],
        counts: dict[int, int],
        bounds: dict[int, int],
        limit: int,
    ) -> None:
        self._existing = existing
        self._live = {identity for identity, (_, live) in existing.items() if live}
        self._counts = counts
        self.bounds = bounds
        self._limit = limit
        self.replaced: set[int] = set()

    def admit(self, identity: Identity) -> bool:
        """Tell whether there is room for it, and count it; the row it replaces has to go."""
        user_id = identity[0]
        if identity not in self._live:
            if self._counts[user_id] >= self._limit:
                return False
            self._counts[user_id] += 1
            self.bounds[user_id] += 1
            self._live.add(identity)
        prior = self._existing.get(identity)
        if prior is not None:
            self.replaced.add(prior[0])
        return True


class Keys:
    """Upper bounds of each user's `latest` rows, expired ones included; exact ones are asked for
    only when a bound leaves no room.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bounds: dict[int, int] = {}

    def forget(self) -> None:
        """Count again: what was kept is not certain."""
        self._bounds.clear()

    def hold(self, connection: Connection, appends: Iterable[Append], now: int) -> Held:
        """Return what there is of these appends' values, and how much room their users have."""
        wanted = {identity_of(append) for append in appends}
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
        return Held(existing, counts, bounds, self._limit)

    def remember(self, held: Held) -> None:
        """The batch is on disk, so its bounds hold."""
        if len(self._bounds) > MAX_USERS:
            self._bounds.clear()
        self._bounds.update(held.bounds)


def _existing(
    connection: Connection, wanted: Collection[Identity], now: int
) -> dict[Identity, tuple[int, bool]]:
    found: dict[Identity, tuple[int, bool]] = {}
    for chunk in chunks(sorted(wanted)):
        query = _EXISTING.format(values=markers(len(chunk), 5))
        flat = tuple(value for identity in chunk for value in identity)
        for offset, expires_at, *identity in connection.exec_driver_sql(query, flat):
            live = expires_at is None or expires_at > now
            user_id, type_, key, target, without = identity
            found[user_id, type_, key, target, without] = (offset, live)
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
