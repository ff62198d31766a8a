"""What a StreamLog must answer, computed in memory in the plainest way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.protocol.position import Position
from app.streams.base import EVERYONE, Append, Appended, ReadLimits, Refused, Row, Slice
from app.streams.sql import StreamLimits
from tests.memory_log import hides, replaces

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
        if append.key is not None and not append.deleted and not self._has_room(append, now):
            assert outcome == Refused("too_many_keys")
            return
        assert isinstance(outcome, Appended)
        assert not outcome.duplicate
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

    def _has_room(self, append: Append, now: int) -> bool:
        values = [row for row in self.rows.values() if is_value(row) and alive(row, now)]
        mine = {latest_key(row) for row in values if row.user_id == append.user_id}
        return latest_key(append) in mine or len(mine) < self.limits.max_keys_per_user

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
        if append.key is not None:
            self.rows = {at: one for at, one in self.rows.items() if not replaces(row, one)}
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
        for user_id in {row.user_id for row in log}:
            left = [row for row in log if row.user_id == user_id and row not in gone]
            gone += left[: max(0, len(left) - self.limits.retention_rows)]
        raised: dict[int, int] = {}
        for row in gone:
            del self.rows[row.offset]
            raised[row.user_id] = max(row.offset, raised.get(row.user_id, 0))
        self.floors |= raised
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
