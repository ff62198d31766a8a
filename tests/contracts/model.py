"""What a StreamLog must answer, computed in memory in the plainest way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.protocol.position import Position
from app.streams.base import EVERYONE, Append, Appended, ReadLimits, Refused, Row, Slice
from app.streams.sql import StreamLimits
from tests.memory_log import hides

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

LatestKey = tuple[int, str, str, int, int]
Outcome = Appended | Refused


def latest_key(one: Append | Row) -> LatestKey:
    return (one.user_id, one.type, one.key or "", one.target_device, one.without_device)


@dataclass
class Known:
    """A message_id that was used."""

    digest: bytes
    offset: int
    at: int


@dataclass
class Model:
    """The rows, by offset, and everything else that a log remembers."""

    limits: StreamLimits
    rows: dict[int, Row] = field(default_factory=dict)
    ids: dict[tuple[str, str], Known] = field(default_factory=dict)
    added: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How many ids each sender has added, by hour."""
    floors: dict[int, int] = field(default_factory=dict)
    cursors: dict[int, Position] = field(default_factory=dict)
    last: int = 0
    passed: set[int] = field(default_factory=set)
    """Old deletions that hid a value when they would have been removed; a start forgets them."""

    def append(self, append: Append, outcome: Outcome, now: int) -> None:
        """Check that the outcome is a right one for this append, and take the message over."""
        name = (append.owner, append.message_id or "")
        known = self.ids.get(name) if append.message_id is not None else None
        if known is not None:
            same = known.digest == append.digest
            repeat = Appended(known.offset, duplicate=True) if same else Refused("id_conflict")
            if outcome == repeat:
                return
            assert known.offset not in self.rows, "a repeat of a message that is kept is known"
            assert now - known.at > DAY_MS, "a repeat within a day is known"
        if append.message_id is not None and (wait := self._wait(append.sender, now)):
            assert outcome == Refused("too_many_ids", wait)
            return
        if append.key is not None and from_device(append) and self._backend_holds(append, now):
            assert outcome == Refused("forbidden")
            return
        if append.key is not None and not self._has_room(append, now):
            assert outcome == Refused("too_many_keys")
            return
        assert isinstance(outcome, Appended)
        assert not outcome.duplicate
        assert outcome.floor == self._replace(append, outcome, now)
        self._take(append, outcome.offset, now)

    def _wait(self, sender: str, now: int) -> int | None:
        """Return in how many milliseconds the sender may add an id again; None if it may now."""
        limits, hour = self.limits, now // HOUR_MS
        kind, _, _ = sender.partition(":")
        limit = {"user": limits.ids_per_user, "key": limits.ids_per_key}.get(kind)
        hours = [at for of, at in self.added if of == sender and hour - 24 < at <= hour]
        if not limit or sum(self.added[sender, at] for at in hours) < limit:
            return None
        return (min(hours) + 24) * HOUR_MS - now

    def _backend_holds(self, append: Append, now: int) -> bool:
        return any(
            is_value(row) and alive(row, now) and not from_device(row)
            for row in self.rows.values()
            if (row.type, row.key) == (append.type, append.key)
            and row.user_id in (append.user_id, EVERYONE)
        )

    def _has_room(self, append: Append, now: int) -> bool:
        mine = {
            latest_key(row)
            for row in self.rows.values()
            if is_value(row) and alive(row, now) and budget(row) == budget(append)
        }
        known = append.deleted or latest_key(append) in mine
        return known or len(mine) < self.limits.max_keys_per_user

    def _replace(self, append: Append, outcome: Appended, now: int) -> int:
        """Remove what the message replaces; return the floor that this has to raise, if any."""
        if append.key is None:
            return 0
        same = [row for row in self.rows.values() if self._is_named(row, append)]
        gone = [row for row in same if replaces(append, row)]
        self._take_removals(append, outcome, [row for row in gone if alive(row, now)], now)
        for row in gone:
            self.rows.pop(row.offset, None)
        lost = [row for row in gone if row.deleted and not from_device(row)]
        if not from_device(append) or not lost:
            return 0
        floor = max(row.offset for row in lost)
        self.floors[append.user_id] = max(floor, self.floors.get(append.user_id, 0))
        return floor

    def _take_removals(
        self, append: Append, outcome: Appended, gone: Sequence[Row], now: int
    ) -> None:
        """Check which devices are told that their value is gone, and take that over."""
        targets = set[int]()
        of_backend = not append.deleted and not from_device(append)
        if of_backend and append.target_device and not self._backend_holds(append, now):
            targets = {row.target_device for row in gone if is_value(row)} - {append.target_device}
        targets = {0} if 0 in targets else targets
        assert {row.target_device for row in outcome.removals} == targets
        for row in outcome.removals:
            assert self.last < row.offset < outcome.offset
            assert (row.deleted, row.payload, row.without_device) == (1, b"null", 0)
            assert (row.source_instance, row.created_at) == ("", now)
            assert row.source_device in {one.source_device for one in gone if is_value(one)} - {0}
            for one in list(self.rows.values()):
                if self._is_named(one, append) and row.target_device in (0, one.target_device):
                    del self.rows[one.offset]
            self.last = row.offset
            self.rows[row.offset] = row

    @staticmethod
    def _is_named(row: Row, append: Append) -> bool:
        return (row.user_id, row.type, row.key) == (append.user_id, append.type, append.key)

    def _take(self, append: Append, offset: int, now: int) -> None:
        assert offset > self.last, "offsets only grow"
        self.last = offset
        row = Row(
            offset=offset,
            user_id=append.user_id,
            type=append.type,
            payload=append.payload,
            target_device=append.target_device,
            without_device=append.without_device,
            without_instance=append.without_instance,
            source_device=append.source_device,
            source_instance=append.source_instance,
            key=append.key,
            created_at=now,
            expires_at=None if append.ttl is None else now + append.ttl * 1000,
            deleted=int(append.deleted),
        )
        self.rows[offset] = row
        if append.message_id is not None:
            self.ids[append.owner, append.message_id] = Known(append.digest, offset, now)
            self.added[append.sender, now // HOUR_MS] += 1

    def stream(self, user_id: int, now: int) -> list[Row]:
        """Return the rows of the user and of everyone that have not expired."""
        mine = [row for row in self.rows.values() if row.user_id in (user_id, EVERYONE)]
        return sorted((row for row in mine if alive(row, now)), key=lambda row: row.offset)

    def read(self, user_id: int, after: int, limits: ReadLimits, now: int) -> Slice:
        rows = [row for row in self.stream(user_id, now) if row.offset > after]
        taken = within(rows, limits)
        more = len(taken) < len(rows) or len(taken) == limits.rows
        through = taken[-1].offset if more else max(after, self.last)
        return Slice(rows=taken, through=through, floor=self.floor(user_id))

    def latest(
        self, user_id: int, device_id: int, after: int, upto: int, limits: ReadLimits, now: int
    ) -> Slice:
        stream = self.stream(user_id, now)
        values = [row for row in stream if is_value(row) and after < row.offset <= upto]
        rows = [row for row in values if not any(hides(one, row, device_id) for one in stream)]
        taken = within(rows, limits)
        more = len(taken) < len(rows) or len(taken) == limits.rows
        return Slice(rows=taken, through=taken[-1].offset if more else upto)

    def prune(self, now: int) -> dict[int, int]:
        """Remove all that retention has to remove; return the floors that this raised."""
        self.rows = {offset: row for offset, row in self.rows.items() if alive(row, now)}
        oldest = now - int(self.limits.retention_days * DAY_MS)
        rows = sorted(self.rows.values(), key=lambda row: row.offset)
        log = [row for row in rows if not is_value(row)]
        old = [row for row in log if row.created_at < oldest and row.offset not in self.passed]
        self.passed |= {row.offset for row in old if self._hides_any(row)}
        gone = [row for row in old if row.offset not in self.passed]
        for one in {budget(row) for row in log}:
            left = [row for row in log if budget(row) == one and row not in gone]
            gone += left[: max(0, len(left) - self.limits.retention_rows)]
        raised: dict[int, int] = {}
        for row in gone:
            del self.rows[row.offset]
            raised[row.user_id] = max(row.offset, raised.get(row.user_id, 0))
        for user_id, floor in raised.items():
            self.floors[user_id] = max(floor, self.floors.get(user_id, 0))
        return raised

    def _hides_any(self, row: Row) -> bool:
        """Tell whether the row is a deletion of an older value that is kept."""
        same = (EVERYONE, row.user_id)
        return row.deleted == 1 and any(
            is_value(one) and one.user_id in same and one.offset < row.offset
            for one in self.rows.values()
            if (one.type, one.key) == (row.type, row.key)
        )

    def floor(self, user_id: int) -> int:
        return max(self.floors.get(user_id, 0), self.floors.get(EVERYONE, 0))


def budget(one: Append | Row) -> tuple[int, bool]:
    return (one.user_id, from_device(one))


def from_device(one: Append | Row) -> bool:
    return one.source_device != 0


def replaces(append: Append, row: Row) -> bool:
    """Tell whether the value or deletion removes this row of the same user, type and key."""
    if append.deleted:
        return append.target_device in (0, row.target_device)
    same = latest_key(append) == latest_key(row)
    return same or (not from_device(append) and from_device(row) and is_value(row))


def is_value(row: Row) -> bool:
    return row.key is not None and not row.deleted


def alive(row: Row, now: int) -> bool:
    return row.expires_at is None or row.expires_at > now


def within(rows: Sequence[Row], limits: ReadLimits) -> list[Row]:
    taken: list[Row] = []
    size = 0
    for row in rows[: limits.rows]:
        size += len(row.payload)
        if taken and size > limits.bytes:
            break
        taken.append(row)
    return taken
