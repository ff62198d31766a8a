"""Keys of `latest` values: who holds one, what a value replaces, how many each budget has.

A type and a key are one *name*. Under it each target and excluded device is a *slot*, of which the
newest value is stored. A *deletion* is stored in its place, and removes what is in all slots of
its targets: whoever is left out of it knows already.

The backend goes before the devices: while it has a value under a name, devices may neither set nor
delete one there, and a value of its own removes theirs.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from app.streams.base import ANY, EVERYONE, Append, Budget, Refusal
from app.streams.rows import chunks, markers

Name = tuple[int, str, str]
"""User, type and key."""

Slot = tuple[int, int]
"""Target and excluded device."""

MAX_BUDGETS: Final = 100_000
"""Budgets whose numbers are in memory, about 14 MB; with one more, counting begins anew."""

_HELD: Final = """
WITH wanted (user_id, type, "key") AS (VALUES {values})
SELECT m.user_id, m.type, m."key", m.target_device, m.without_device,
    m."offset", m.source_device, m.expires_at, m.deleted
FROM wanted AS w CROSS JOIN messages AS m INDEXED BY messages_latest
ON m."key" IS NOT NULL AND m.user_id = w.user_id AND m.type = w.type AND m."key" = w."key"
"""
_COUNT: Final = """
SELECT user_id, sum(of_device), sum(of_device AND live), sum(NOT of_device),
    sum(live AND NOT of_device)
FROM (
    SELECT user_id, source_device <> 0 AS of_device, coalesce(expires_at > ?, 1) AS live
    FROM messages INDEXED BY messages_latest
    WHERE "key" IS NOT NULL AND deleted = 0 AND user_id IN ({values})
) GROUP BY user_id
"""


@dataclass(slots=True)
class _Held:
    """What is stored in a slot: a value that may have expired, or the deletion of one.

    It is a `key` of its author if it is a value and has not expired.
    """

    offset: int
    source_device: int
    key: bool
    deleted: bool


_Slots = dict[Slot, _Held]

_NO_SLOTS: Final[_Slots] = {}


class LatestBatch:
    """The `latest` values of one batch: which rows they replace, and which are refused.

    `counts` has the keys of each budget, `bounds` an upper bound of its rows where one is known.
    `replaced` has the offsets of all rows that the batch removes, its own among them.
    """

    def __init__(
        self,
        *,
        held: dict[Name, _Slots],
        counts: dict[Budget, int],
        bounds: dict[Budget, int],
        limit: int,
    ) -> None:
        self._held = held
        self._counts = counts
        self.bounds = bounds
        self._limit = limit
        self.replaced: set[int] = set()

    def refusal(self, append: Append) -> Refusal | None:
        """Return why the value or deletion may not be stored; None if it may."""
        user_id, type_, key = name = _name_of(append)
        slots = self._held.get(name, _NO_SLOTS)
        if append.source_device != ANY:
            everyones = self._held.get((EVERYONE, type_, key), _NO_SLOTS)
            if _has_key_of_backend(slots) or (everyones and _has_key_of_backend(everyones)):
                return "forbidden"
        if append.deleted or _is_key_of(append, slots.get(_slot_of(append))):
            return None
        full = self._counts[user_id, append.source_device != ANY] >= self._limit
        return "too_many_keys" if full else None

    def deletions(self, append: Append) -> list[Append]:
        """Return what tells devices that the value removes another which they have got.

        That is a deletion for each target that has a value of devices and does not get the new
        one. It counts as the device's own. None would do for a target of which the backend has an
        older value, which it would delete too: that may be in a database of before there were
        budgets, and of what is kept for everyone.
        """
        if append.source_device != ANY or append.deleted:
            return []
        _, type_, key = name = _name_of(append)
        slots = self._held.get(name, _NO_SLOTS)
        removed = {
            slot[0]: held.source_device
            for slot, held in slots.items()
            if held.key and held.source_device != ANY and not _covers(append, slot)
        }
        everyones = self._held.get((EVERYONE, type_, key), _NO_SLOTS)
        if not removed or _has_key_of_backend(slots) or _has_key_of_backend(everyones):
            return []
        if ANY in removed:
            removed = {ANY: removed[ANY]}
        return [_deletion(append, target, author) for target, author in removed.items()]

    def put(self, append: Append, offset: int) -> int:
        """Note and count what was admitted, and all that it removes.

        Returns the offset of the backend's newest deletion that a device has replaced, else 0: a
        device that was away since before it may never learn of it.
        """
        slots = self._held.setdefault(_name_of(append), {})
        user_id, source_device = append.user_id, append.source_device
        slot = _slot_of(append)
        gone = [slot] if slot in slots else []
        if append.deleted:
            gone = [one for one in slots if _covers(append, one)]
        elif source_device == ANY:
            gone += [
                one for one, held in slots.items() if one != slot and _is_value_of_device(held)
            ]
        lost = 0
        for one in gone:
            held = slots.pop(one)
            self._remove(user_id, held)
            if held.deleted and held.source_device == ANY != source_device:
                lost = max(lost, held.offset)
        deleted = append.deleted
        slots[slot] = _Held(offset, source_device, not deleted, deleted)
        if not deleted:
            self._count((user_id, source_device != ANY), 1, key=True)
        return lost

    def _remove(self, user_id: int, held: _Held) -> None:
        self.replaced.add(held.offset)
        if not held.deleted:
            self._count((user_id, held.source_device != ANY), -1, key=held.key)

    def _count(self, budget: Budget, number: int, *, key: bool) -> None:
        if key:
            self._counts[budget] += number
        if budget in self.bounds:
            self.bounds[budget] += number


class LatestQuota:
    """How many `latest` values a budget may have, and an upper bound of the rows that each has.

    A bound counts expired values too, and no deletions. A batch that would be above the quota by
    its bounds has their users counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bounds: dict[Budget, int] = {}

    def forget(self) -> None:
        """Have every budget counted again, since nobody knows what the last batch stored."""
        self._bounds.clear()

    def begin(self, connection: Connection, appends: Sequence[Append], now: int) -> LatestBatch:
        """Return the batch of these appends, with none admitted yet; `now` in milliseconds."""
        held = _held(connection, _names_of(appends), now)
        budgets = [
            (user, by_device) for user in {a.user_id for a in appends} for by_device in _BOTH
        ]
        bounds = {one: self._bounds[one] for one in budgets if one in self._bounds}
        counts = {one: bounds.get(one, self._limit) for one in budgets}
        new = Counter(budget for budget, _, _ in _new_keys(appends, held))
        tight = {user for (user, by), more in new.items() if counts[user, by] + more > self._limit}
        for user in tight:
            for budget in ((user, by_device) for by_device in _BOTH):
                counts[budget] = bounds[budget] = 0
        for budget, rows, live in _counted(connection, tight, now):
            counts[budget], bounds[budget] = live, rows
        return LatestBatch(held=held, counts=counts, bounds=bounds, limit=self._limit)

    def committed(self, batch: LatestBatch) -> None:
        """Take over the bounds of a batch that is on disk."""
        if len(self._bounds) > MAX_BUDGETS:
            self._bounds.clear()
        self._bounds.update(batch.bounds)


_BOTH: Final = (False, True)


def _name_of(append: Append) -> Name:
    return (append.user_id, append.type, append.key or "")


def _slot_of(append: Append) -> Slot:
    return (append.target_device, append.without_device)


def _names_of(appends: Iterable[Append]) -> set[Name]:
    """Return all names that decide about these appends."""
    names = {_name_of(append) for append in appends}
    # What the backend keeps for everyone, it keeps for each user.
    return names | {(EVERYONE, type_, key) for _, type_, key in names}


def _new_keys(
    appends: Iterable[Append], held: dict[Name, _Slots]
) -> set[tuple[Budget, Name, Slot]]:
    """Return the keys that their budgets do not have yet."""
    return {
        (append.budget, _name_of(append), _slot_of(append))
        for append in appends
        if not append.deleted
        and not _is_key_of(append, held.get(_name_of(append), {}).get(_slot_of(append)))
    }


def _is_key_of(append: Append, held: _Held | None) -> bool:
    """Tell whether this is a key of the budget that the append counts against."""
    if held is None or not held.key:
        return False
    return (held.source_device != ANY) == (append.source_device != ANY)


def _has_key_of_backend(slots: _Slots) -> bool:
    # Each device's value passes here, and `any` with a generator takes twice as long.
    for held in slots.values():  # noqa: SIM110
        if held.key and held.source_device == ANY:
            return True
    return False


def _is_value_of_device(held: _Held) -> bool:
    return held.source_device != ANY and not held.deleted


def _covers(append: Append, slot: Slot) -> bool:
    """Tell whether all devices that the slot is for get the append, or are left out, and know."""
    return append.target_device in (ANY, slot[0])


def _deletion(append: Append, target: int, author: int) -> Append:
    return Append(
        append.user_id,
        append.type,
        b"null",
        target_device=target,
        source_device=author,
        key=append.key,
        deleted=True,
    )


def _held(connection: Connection, names: Collection[Name], now: int) -> dict[Name, _Slots]:
    found: dict[Name, _Slots] = {}
    for chunk in chunks(sorted(names)):
        query = _HELD.format(values=markers(len(chunk), 3))
        flat = tuple(value for name in chunk for value in name)
        for user_id, type_, key, target, without, *stored in connection.exec_driver_sql(
            query, flat
        ):
            offset, source_device, expires_at, deleted = stored
            is_key = not deleted and (expires_at is None or expires_at > now)
            one = _Held(offset, source_device, is_key, bool(deleted))
            found.setdefault((user_id, type_, key), {})[target, without] = one
    return found


def _counted(
    connection: Connection, users: Collection[int], now: int
) -> Iterator[tuple[Budget, int, int]]:
    """Yield how many values each budget of these users has, and how many have not expired."""
    for chunk in chunks(sorted(users)):
        query = _COUNT.format(values=",".join("?" * len(chunk)))
        for user_id, *numbers in connection.exec_driver_sql(query, (now, *chunk)):
            yield (user_id, True), numbers[0], numbers[1]
            yield (user_id, False), numbers[2], numbers[3]
