"""Retention: remove rows that are expired, too old or too many, a few at a time.

A deletion counts as one of the rows of the log, and raises the floor when it is removed: a device
below it may still have the value, and learns by its `reset` that the value is gone. One that was
kept for what it hides is looked at again after the next start.

An index finds expired rows. For age, a walk goes up the log from its oldest row to the first that
is young; the next walk continues there. For the number of rows, a walk counts those of all users
once after the start, page by page; later steps count only users who may have got too many, and a
walk through the rows of one user removes the oldest of a budget that has too many. Once a day a
walk goes over the message ids. So no step takes longer because the table is larger.

What is limited are the rows of the log and the deletions of values; values are exempt.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from sqlalchemy import Connection

from app.storage.steps import STEP_BYTES, affordable
from app.streams.base import Budget, Pruned
from app.streams.ids import HOUR_MS, WINDOW_HOURS
from app.streams.rows import raise_floors

STEP_ROWS: Final = 500
"""Rows that one step removes at most: some 5 ms in which no message is stored."""

WALK_ROWS: Final = 2500
"""Rows that the walks of one step pass by: in an index, some 3 ms; most may be of other authors."""

PAGE_USERS: Final = 64
"""Users that one step counts; at 10,000 rows each some 30 ms of a reader's thread."""

MESSAGE_ID_MS: Final = 86_400_000
"""How long a repeat is recognised at least: a day."""

MAX_BUDGETS: Final = 100_000
"""Budgets whose allowance is in memory, about 14 MB."""

_OF_ALL: Final = """
SELECT user_id, count(*) FROM messages WHERE user_id > ? GROUP BY user_id ORDER BY user_id LIMIT ?
"""
# All rows of a user, those of devices, and the values, which are exempt: each by its index.
_OF_SOME: Final = """
SELECT user_id, count(*) FROM messages INDEXED BY messages_user_id_offset
WHERE user_id IN ({values}) GROUP BY user_id
"""
_OF_DEVICES: Final = """
SELECT user_id, count(*) FROM messages INDEXED BY messages_from_devices
WHERE source_device <> 0 AND user_id IN ({values}) GROUP BY user_id
"""
_VALUES: Final = """
SELECT user_id, sum(source_device <> 0), sum(source_device = 0)
FROM messages INDEXED BY messages_latest
WHERE "key" IS NOT NULL AND deleted = 0 AND user_id IN ({values}) GROUP BY user_id
"""
_EXPIRED: Final = """
SELECT "offset", length(payload) FROM messages WHERE expires_at <= ? ORDER BY expires_at LIMIT ?
"""
_IS_VALUE: Final = '"key" IS NOT NULL AND deleted = 0'
_IS_VALUE_BRACKETED: Final = f"({_IS_VALUE})"
_LIVES: Final = "(expires_at IS NULL OR expires_at > :now)"
# Whether it is a value, and whether it is a deletion that may hide an older value from a device.
_OLDEST: Final = f"""
SELECT "offset", user_id, created_at, length(payload), {_IS_VALUE}, deleted = 1 AND EXISTS (
    SELECT 1 FROM messages AS v INDEXED BY messages_latest
    WHERE v.user_id IN (messages.user_id, 0) AND v.type = messages.type AND v."key" = messages."key"
        AND v.deleted = 0 AND v."offset" < messages."offset"
) FROM messages WHERE "offset" > ? ORDER BY "offset" LIMIT ?
"""  # noqa: S608 - constants, as below
# Without a look at the rows themselves, whose payloads may be long.
_OFFSETS: Final = """
SELECT "offset" FROM messages INDEXED BY messages_user_id_offset
WHERE user_id = ? AND "offset" > ? ORDER BY "offset" LIMIT ?
"""
_OFFSETS_OF_DEVICES: Final = """
SELECT "offset" FROM messages INDEXED BY messages_from_devices
WHERE source_device <> 0 AND user_id = ? AND "offset" > ? ORDER BY "offset" LIMIT ?
"""
_OFFSETS_OF_VALUES: Final = f"""
SELECT "offset" FROM messages INDEXED BY messages_latest
WHERE user_id = ? AND "offset" > ? AND "offset" <= ? AND {_IS_VALUE}
"""  # noqa: S608
_SIZES: Final = """
SELECT "offset", length(payload) FROM messages
WHERE "offset" IN (SELECT value FROM json_each(?)) ORDER BY "offset"
"""
_DELETE: Final = 'DELETE FROM messages WHERE "offset" = ?'
_IDS: Final = """
SELECT i."offset", i.created_at, m."offset" FROM message_ids AS i
LEFT JOIN messages AS m ON m."offset" = i."offset"
WHERE i."offset" > ? ORDER BY i."offset" LIMIT ?
"""
_DELETE_ID: Final = 'DELETE FROM message_ids WHERE "offset" = ?'
_PAST_COUNTS: Final = "SELECT hour, sender FROM message_id_counts WHERE hour <= ? LIMIT ?"
_FUTURE_COUNTS: Final = "SELECT hour, sender FROM message_id_counts WHERE hour > ? LIMIT ?"
_DELETE_COUNT: Final = "DELETE FROM message_id_counts WHERE hour = ? AND sender = ?"

# Of what is neither expired nor too old: how many of the log each budget has, in two numbers.
_DUE_NOW: Final = f"""
SELECT sum(expires_at <= :now),
    sum({_LIVES} AND NOT {_IS_VALUE_BRACKETED} AND created_at < :before)
FROM messages
"""  # noqa: S608
_YOUNG: Final = f"""
SELECT count(*) FROM messages
WHERE {_LIVES} AND NOT {_IS_VALUE_BRACKETED} AND created_at >= :before
GROUP BY user_id, source_device <> 0 HAVING count(*) > :most
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Uncounted:
    """The users whose rows the next step counts: `due`, or a page of all with ids above `after`."""

    after: int | None
    due: Sequence[int]


@dataclass(frozen=True, slots=True)
class Counted:
    """The rows of each budget of the users that were due, or after which user the next page begins.

    Of a page, `many` are the users who may have too many rows: all of theirs are counted together,
    `latest` values too. `next_page` is None after the last page.
    """

    uncounted: Uncounted
    rows: Mapping[Budget, int]
    many: Collection[int] = ()
    next_page: int | None = None


@dataclass(slots=True, kw_only=True)
class Step:
    """The removals of one transaction: what it did, and up to which offsets its walks came."""

    old_upto: int
    """Every row of the log up to here that is too old is removed."""
    ids_upto: int
    """Every message id of an offset up to here is removed, if nothing needs it any more."""
    left: int = STEP_ROWS
    """How many rows the step may still remove."""
    bytes_left: int = STEP_BYTES
    """How many bytes of payloads it may still remove."""
    rows: int = 0
    more: bool = False
    look_at: int = WALK_ROWS
    """How many rows the walks for excess may still pass by."""
    floors: dict[int, int] = field(default_factory=dict)
    excess: dict[Budget, int] = field(default_factory=dict)
    """How many rows are above the limit, and, if negative, how many are below it."""
    walked: dict[Budget, int] = field(default_factory=dict)
    """Up to these offsets nothing of the budget is left that may be removed."""

    def remove(self, connection: Connection, offsets: Sequence[int]) -> None:
        """Delete the rows with these offsets, and count them."""
        if offsets:
            connection.exec_driver_sql(_DELETE, [(offset,) for offset in offsets])
        self.rows += len(offsets)
        self.left -= len(offsets)
        self.more = self.more or self.left <= 0

    def affordable(self, rows: Sequence[tuple[int, int]]) -> list[int]:
        """Return the offsets of the first rows, pairs of offset and bytes, that it may remove."""
        offsets = affordable(rows, self.bytes_left)
        self.bytes_left -= sum(size for _, size in rows[: len(offsets)])
        self.more = self.more or len(offsets) < len(rows)
        return offsets

    def raise_floor(self, user_id: int, offset: int) -> None:
        """Have this user's floor at or above the offset, so that nobody resumes below it."""
        self.floors[user_id] = max(offset, self.floors.get(user_id, 0))


class Retention:
    """The limits of age and number, and how far the walks have come since the server's start.

    After a clock was ahead for a while, the rows stored in that while stay for as much longer; the
    limit on numbers holds nevertheless.
    """

    def __init__(self, *, max_age_ms: int, max_rows: int) -> None:
        self._max_age_ms = max_age_ms
        self._max_rows = max_rows
        # How many rows each may get before its user has to be counted again; 0 if absent.
        self._allowances: dict[Budget, int] = {}
        # How far the walks for excess have come; they begin anew if absent.
        self._walked: dict[Budget, int] = {}
        self._due: set[int] = set()
        self._page: int | None = -1
        self._old_upto = 0
        self._ids_upto = 0
        self._ids_began = 0

    def added(self, budgets: Iterable[Budget]) -> None:
        """Take note that a limited row was stored for each of these budgets."""
        allowances = self._allowances
        if len(allowances) > MAX_BUDGETS:
            allowances.clear()
        for budget in budgets:
            left = allowances[budget] = allowances.get(budget, 0) - 1
            if left < 0:
                self._due.add(budget[0])

    def next_uncounted(self) -> Uncounted:
        """Return the users to count next; give them to `failed` if nothing comes of it."""
        if self._page is not None:
            return Uncounted(self._page, ())
        due = sorted(self._due)[:PAGE_USERS]
        self._due.difference_update(due)
        # Rows that are added from here on may or may not be among those counted.
        self._allowances.update(dict.fromkeys(_budgets(due), 0))
        return Uncounted(None, due)

    def failed(self, uncounted: Uncounted) -> None:
        """Have these users counted again."""
        self._due.update(uncounted.due)

    def remove(self, connection: Connection, counted: Counted, now: int) -> Step:
        """Remove a few rows in this transaction; `now` is in milliseconds since 1970."""
        # Also after the clock was put back, or if it was ahead when the walk began.
        if abs(now - self._ids_began) > MESSAGE_ID_MS:
            # A day is enough for rows that the walk over old rows has passed over, too.
            self._ids_began, self._ids_upto, self._old_upto = now, 0, 0
        step = Step(old_upto=self._old_upto, ids_upto=self._ids_upto)
        step.excess = {budget: rows - self._max_rows for budget, rows in counted.rows.items()}
        _remove_expired(connection, step, now)
        if step.left > 0:
            _remove_old(connection, step, now, now - self._max_age_ms)
        # Rows that were removed just now may have been among those counted.
        if step.rows == 0:
            self._remove_excess(connection, step)
        if step.left > 0:
            _remove_ids(connection, step, now - MESSAGE_ID_MS)
            _remove_counts(connection, step, now // HOUR_MS)
        raise_floors(connection, step.floors)
        return step

    def committed(self, counted: Counted, step: Step) -> Pruned:
        """Continue after this step, which is on disk, and return what it did."""
        self._old_upto, self._ids_upto = step.old_upto, step.ids_upto
        self._page = counted.next_page
        self._due.update(counted.many)
        if len(self._walked) > MAX_BUDGETS:
            self._walked.clear()
        self._walked.update(step.walked)
        for budget, excess in step.excess.items():
            if excess > 0:
                self._due.add(budget[0])
            else:
                self._allowances[budget] = self._allowances.get(budget, 0) - excess
        more = step.more or self._page is not None or bool(self._due)
        return Pruned(step.rows, step.floors, more)

    def count(self, connection: Connection, uncounted: Uncounted) -> Counted:
        """Count the rows of these users, by the indexes alone but for the values."""
        if uncounted.after is None:
            return Counted(uncounted, _count_due(connection, uncounted.due))
        found = _pairs(connection, _OF_ALL, (uncounted.after, PAGE_USERS))
        many = [user_id for user_id, rows in found if rows > self._max_rows]
        next_page = found[-1][0] if len(found) == PAGE_USERS else None
        return Counted(uncounted, {}, many, next_page)

    def _remove_excess(self, connection: Connection, step: Step) -> None:
        for budget, excess in step.excess.items():
            if excess > 0 and step.left > 0 and step.look_at > 0:
                self._remove_oldest(connection, step, budget)

    def _remove_oldest(self, connection: Connection, step: Step, budget: Budget) -> None:
        wanted = min(step.excess[budget], step.left)
        walked = self._walked.get(budget, 0)
        offsets, kept = _walk(connection, budget, walked, step.look_at)
        old: list[int] = []
        for offset in offsets:
            if len(old) == wanted:
                break
            walked = offset
            if offset not in kept:
                old.append(offset)
        at_end = len(offsets) < step.look_at and len(old) < wanted
        sizes = _pairs(connection, _SIZES, [orjson.dumps(old).decode()])
        chosen = step.affordable(sizes)
        if len(chosen) < len(sizes):
            walked, at_end = chosen[-1], False
        step.remove(connection, chosen)
        # A budget with fewer rows than were counted lost them otherwise, and is counted again.
        step.excess[budget] -= len(chosen)
        if chosen:
            step.raise_floor(budget[0], chosen[-1])
        step.walked[budget] = 0 if at_end else walked
        step.look_at -= len(offsets)


def count_due(connection: Connection, *, now: int, max_age_ms: int, max_rows: int) -> int:
    """Return how many rows are expired, too old or too many; it looks at every row.

    Deletions that hide a value are among them, and stay nevertheless.
    """
    values = {"now": now, "before": now - max_age_ms, "most": max_rows}
    expired, old = connection.exec_driver_sql(_DUE_NOW, values).one()
    young = connection.exec_driver_sql(_YOUNG, values).scalars()
    return int(expired or 0) + int(old or 0) + sum(int(rows) - max_rows for rows in young)


def _walk(
    connection: Connection, budget: Budget, after: int, most: int
) -> tuple[Sequence[int], set[int]]:
    """Return the next offsets of the user, or of devices alone, and those that have to stay."""
    user_id, of_devices = budget
    here = (user_id, after, most)
    query = _OFFSETS_OF_DEVICES if of_devices else _OFFSETS
    offsets = connection.exec_driver_sql(query, here).scalars().all()
    if not offsets:
        return (), set()
    values = (user_id, after, offsets[-1])
    kept = set(connection.exec_driver_sql(_OFFSETS_OF_VALUES, values).scalars())
    if not of_devices:
        kept.update(connection.exec_driver_sql(_OFFSETS_OF_DEVICES, here).scalars())
    return offsets, kept


def _budgets(users: Iterable[int]) -> Iterator[Budget]:
    return ((user_id, of_devices) for user_id in users for of_devices in (False, True))


def _count_due(connection: Connection, users: Sequence[int]) -> dict[Budget, int]:
    """Return how many limited rows each budget of these users has."""
    if not users:
        return {}
    values = ",".join("?" * len(users))
    rows = dict.fromkeys(_budgets(users), 0)
    for user_id, number in _pairs(connection, _OF_SOME.format(values=values), users):
        rows[user_id, False] = number
    for user_id, number in _pairs(connection, _OF_DEVICES.format(values=values), users):
        rows[user_id, False] -= number
        rows[user_id, True] = number
    exempt = connection.exec_driver_sql(_VALUES.format(values=values), tuple(users))
    for user_id, of_devices, of_all_else in exempt:
        rows[user_id, True] -= of_devices
        rows[user_id, False] -= of_all_else
    return rows


def _pairs(connection: Connection, query: str, values: Sequence[object]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in connection.exec_driver_sql(query, tuple(values))]


def _remove_expired(connection: Connection, step: Step, now: int) -> None:
    step.remove(connection, step.affordable(_pairs(connection, _EXPIRED, (now, step.left))))


def _remove_old(connection: Connection, step: Step, now: int, before: int) -> None:
    found = connection.exec_driver_sql(_OLDEST, (step.old_upto, STEP_ROWS)).all()
    old: list[int] = []
    for offset, user_id, created_at, size, is_value, hides in found:
        # Those behind a row of a clock that was ahead may be old nevertheless.
        if not is_value and created_at <= now:
            if created_at >= before or len(old) == step.left:
                break
            # Without the deletion a device would get the older value again.
            if not hides:
                if old and size > step.bytes_left:
                    step.more = True
                    break
                step.bytes_left -= size
                old.append(offset)
                step.raise_floor(user_id, offset)
        step.old_upto = offset
    else:
        step.more = step.more or len(found) == STEP_ROWS
    step.remove(connection, old)


def _remove_ids(connection: Connection, step: Step, before: int) -> None:
    found = connection.exec_driver_sql(_IDS, (step.ids_upto, STEP_ROWS)).all()
    old: list[tuple[int]] = []
    for offset, created_at, row_offset in found:
        if created_at >= before:
            break
        step.ids_upto = offset
        if row_offset is None:
            old.append((offset,))
    else:
        step.more = step.more or len(found) == STEP_ROWS
    if old:
        connection.exec_driver_sql(_DELETE_ID, old)


def _remove_counts(connection: Connection, step: Step, hour: int) -> None:
    """Remove the counts of hours that are over, or so far ahead that the clock was wrong then."""
    for query, limit in ((_PAST_COUNTS, hour - WINDOW_HOURS), (_FUTURE_COUNTS, hour + 1)):
        found = connection.exec_driver_sql(query, (limit, STEP_ROWS)).all()
        if found:
            connection.exec_driver_sql(_DELETE_COUNT, [tuple(row) for row in found])
        step.more = step.more or len(found) == STEP_ROWS
