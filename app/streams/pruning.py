"""Retention: rows that are expired, too old or too many go, a few at a time.

Expiry is told by an index. Age is told by walking the log from its oldest row to the first that is
young, which is where the next walk goes on. Numbers are counted once after the start for all users,
page by page, then for those who may have got too many since. The ids of repeats are walked once a
day. Nobody's row is looked at without need, whatever the table's size.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from app.streams.base import Pruned

STEP_ROWS: Final = 500
"""Rows of one step: some 5 ms in which no message is stored."""

PAGE_USERS: Final = 64
"""Users counted in one step; at 10,000 rows each some 30 ms of a reader's thread."""

MESSAGE_ID_MS: Final = 86_400_000
"""A repeat is recognised for at least a day."""

MAX_USERS: Final = 100_000
"""Users whose room is held in memory, about 10 MB."""

_OF_ALL: Final = """
SELECT user_id, count(*) FROM messages WHERE user_id > ? GROUP BY user_id ORDER BY user_id LIMIT ?
"""
_OF_SOME: Final = """
SELECT user_id, count(*) FROM messages WHERE user_id IN ({values}) GROUP BY user_id
"""
_VALUES_OF_SOME: Final = """
SELECT user_id, count(*) FROM messages
WHERE "key" IS NOT NULL AND user_id IN ({values}) GROUP BY user_id
"""
_EXPIRED: Final = 'SELECT "offset" FROM messages WHERE expires_at <= ? ORDER BY expires_at LIMIT ?'
_OLDEST: Final = """
SELECT "offset", user_id, "key" IS NOT NULL, created_at FROM messages
WHERE "offset" > ? ORDER BY "offset" LIMIT ?
"""
_OLDEST_OF: Final = """
SELECT "offset" FROM messages WHERE user_id = ? AND "key" IS NULL ORDER BY "offset" LIMIT ?
"""
_DELETE: Final = 'DELETE FROM messages WHERE "offset" = ?'
_RAISE: Final = """
INSERT INTO floors (user_id, "offset") VALUES (?, ?)
ON CONFLICT (user_id) DO UPDATE SET "offset" = max("offset", excluded."offset")
"""
_IDS: Final = """
SELECT i.owner, i.message_id, i."offset", i.created_at, m."offset" FROM message_ids AS i
LEFT JOIN messages AS m ON m."offset" = i."offset"
WHERE i."offset" > ? ORDER BY i."offset" LIMIT ?
"""
_DELETE_ID: Final = "DELETE FROM message_ids WHERE owner = ? AND message_id = ?"


@dataclass(frozen=True, slots=True)
class Look:
    """What a step counts first: a page of all users from this id on, or these users."""

    page: int | None
    due: Sequence[int]


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted: of a page, who has many rows; of others, how many of the log."""

    look: Look
    rows: Mapping[int, int]
    next_page: int | None


@dataclass(slots=True)
class Step:
    """What one step does, and how far the walks come with it."""

    old_upto: int
    ids_upto: int
    room: int = STEP_ROWS
    rows: int = 0
    more: bool = False
    floors: dict[int, int] = field(default_factory=dict)
    crowd: dict[int, int] = field(default_factory=dict)
    """By user, what is still too many."""

    def remove(self, connection: Connection, offsets: Sequence[int]) -> None:
        """These rows go."""
        if offsets:
            connection.exec_driver_sql(_DELETE, [(offset,) for offset in offsets])
        self.rows += len(offsets)
        self.room -= len(offsets)
        self.more = self.more or self.room <= 0

    def raise_floor(self, user_id: int, offset: int) -> None:
        """Nobody of this user resumes below this offset."""
        self.floors[user_id] = max(offset, self.floors.get(user_id, 0))


class Retention:
    """What to keep, and how far the walks have come; they begin anew with each start.

    A clock that was ahead for a while keeps what was stored in that while, and what came after it,
    for as much longer; the limit on numbers holds nevertheless.
    """

    def __init__(self, max_age_ms: int, max_rows: int) -> None:
        self._max_age_ms = max_age_ms
        self._max_rows = max_rows
        # How many rows each user may get before it is counted again; who is not in here has none.
        self._room: dict[int, int] = {}
        self._due: set[int] = set()
        self._page: int | None = -1
        self._old_upto = 0
        self._ids_upto = 0
        self._ids_began = 0

    def added(self, users: Iterable[int]) -> None:
        """These users got a row of the log each."""
        room = self._room
        if len(room) > MAX_USERS:
            room.clear()
        for user_id in users:
            left = room[user_id] = room.get(user_id, 0) - 1
            if left < 0:
                self._due.add(user_id)

    def look(self) -> Look:
        """Return what to count next."""
        if self._page is not None:
            return Look(self._page, ())
        due = sorted(self._due)[:PAGE_USERS]
        self._due.difference_update(due)
        # What is added from here on may not have been counted.
        self._room.update(dict.fromkeys(due, 0))
        return Look(None, due)

    def dropped(self, look: Look) -> None:
        """Nothing came of it; it will be looked at again."""
        self._due.update(look.due)

    def step(self, connection: Connection, counted: Counted, now: int) -> Step:
        """The transaction has a few rows less."""
        if now - self._ids_began > MESSAGE_ID_MS:
            self._ids_began, self._ids_upto = now, 0
        step = Step(self._old_upto, self._ids_upto)
        _remove_expired(connection, step, now)
        if step.room > 0:
            _remove_old(connection, step, now - self._max_age_ms)
        if counted.look.page is None:
            step.crowd = {u: n - self._max_rows for u, n in counted.rows.items()}
        # What went just now may have been among what was counted.
        if step.rows == 0:
            _remove_crowd(connection, step)
        if step.room > 0:
            _remove_ids(connection, step, now - MESSAGE_ID_MS)
        if step.floors:
            connection.exec_driver_sql(_RAISE, list(step.floors.items()))
        return step

    def done(self, counted: Counted, step: Step) -> Pruned:
        """The step is on disk."""
        self._old_upto, self._ids_upto = step.old_upto, step.ids_upto
        self._page = counted.next_page
        if counted.look.page is not None:
            self._due.update(u for u, n in counted.rows.items() if n > self._max_rows)
        for user_id, excess in step.crowd.items():
            if excess > 0:
                self._due.add(user_id)
            else:
                self._room[user_id] = self._room.get(user_id, 0) - excess
        more = step.more or self._page is not None or bool(self._due)
        return Pruned(step.rows, step.floors, more)


def count(connection: Connection, look: Look) -> Counted:
    """Count what was asked for, by the indexes alone."""
    if look.page is not None:
        found = _pairs(connection, _OF_ALL, (look.page, PAGE_USERS))
        return Counted(look, dict(found), found[-1][0] if len(found) == PAGE_USERS else None)
    if not look.due:
        return Counted(look, {}, None)
    values = ",".join("?" * len(look.due))
    rows = dict.fromkeys(look.due, 0)
    rows.update(_pairs(connection, _OF_SOME.format(values=values), look.due))
    for user_id, kept in _pairs(connection, _VALUES_OF_SOME.format(values=values), look.due):
        rows[user_id] -= kept
    return Counted(look, rows, None)


def _pairs(connection: Connection, query: str, values: Sequence[int]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in connection.exec_driver_sql(query, tuple(values))]


def _remove_expired(connection: Connection, step: Step, now: int) -> None:
    found = connection.exec_driver_sql(_EXPIRED, (now, step.room))
    step.remove(connection, found.scalars().all())


def _remove_old(connection: Connection, step: Step, before: int) -> None:
    found = connection.exec_driver_sql(_OLDEST, (step.old_upto, STEP_ROWS)).all()
    old: list[int] = []
    for offset, user_id, is_value, created_at in found:
        if not is_value:
            if created_at >= before or len(old) == step.room:
                break
            old.append(offset)
            step.raise_floor(user_id, offset)
        step.old_upto = offset
    else:
        step.more = step.more or len(found) == STEP_ROWS
    step.remove(connection, old)


def _remove_crowd(connection: Connection, step: Step) -> None:
    for user_id, excess in step.crowd.items():
        if excess > 0 and step.room > 0:
            asked = (user_id, min(excess, step.room))
            found = connection.exec_driver_sql(_OLDEST_OF, asked).scalars().all()
            step.remove(connection, found)
            # Whoever has fewer than were counted has lost them otherwise, and is counted again.
            step.crowd[user_id] = excess - len(found)
            if found:
                step.raise_floor(user_id, found[-1])


def _remove_ids(connection: Connection, step: Step, before: int) -> None:
    found = connection.exec_driver_sql(_IDS, (step.ids_upto, STEP_ROWS)).all()
    gone = []
    for owner, message_id, offset, created_at, kept in found:
        if created_at >= before:
            break
        step.ids_upto = offset
        if kept is None:
            gone.append((owner, message_id))
    else:
        step.more = step.more or len(found) == STEP_ROWS
    if gone:
        connection.exec_driver_sql(_DELETE_ID, gone)
