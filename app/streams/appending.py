"""One batch on its way into the tables: repeats, values that replace others, rows.

A batch needs few statements whatever its size, and no statement without need.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from sqlalchemy import Connection

from app.streams.base import ANY, Append, Appended, Budget, Refused, Row, RowValues, row_values
from app.streams.checksum import with_checksum
from app.streams.ids import IdBatch, IdQuota
from app.streams.latest import LatestBatch, LatestQuota
from app.streams.rows import ROW_COLUMNS, insert_rows, raise_floors

_DELETE: Final = 'DELETE FROM messages WHERE "offset" IN (SELECT value FROM json_each(?))'


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What came of a batch: an outcome for each append, and the newest offset given out.

    `limited` has the budget of each row that retention counts; `latest` and `ids` the batch's
    values and message ids if it had any.
    """

    outcomes: list[Appended | Refused]
    last: int
    limited: list[Budget]
    latest: LatestBatch | None
    ids: IdBatch | None


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What the transaction will write."""

    last: int
    at: int
    ids: IdBatch | None
    latest: LatestBatch | None
    rows: list[RowValues] = field(default_factory=list)
    limited: list[Budget] = field(default_factory=list)
    values: list[RowValues] = field(default_factory=list)
    floors: dict[int, int] = field(default_factory=dict)

    def outcome(self, append: Append) -> Appended | Refused:
        """Add the message, unless it is refused or a repeat, and return its outcome."""
        if self.ids is not None and append.message_id is not None:
            return self._identified(append, self.ids)
        return self._stored(append)

    def _identified(self, append: Append, ids: IdBatch) -> Appended | Refused:
        answered = ids.answer(append)
        if answered is not None:
            return answered
        outcome = self._stored(append)
        if isinstance(outcome, Appended):
            ids.add(append, outcome.offset)
        return outcome

    def _stored(self, append: Append) -> Appended | Refused:
        if append.key is None or self.latest is None:
            return self._row(append)
        return self._value(self.latest, append)

    def _value(self, latest: LatestBatch, append: Append) -> Appended | Refused:
        refusal = latest.refusal(append)
        if refusal is not None:
            return Refused(refusal)
        removals = [self._keyed(latest, one)[0] for one in latest.deletions(append)]
        values, floor = self._keyed(latest, append)
        if floor:
            self.floors[append.user_id] = max(floor, self.floors.get(append.user_id, 0))
        if not removals and not floor:
            return Appended(values[0], created_at=self.at)
        return Appended(
            values[0],
            created_at=self.at,
            removals=tuple(Row(*removed) for removed in removals),
            floor=floor,
        )

    def _keyed(self, latest: LatestBatch, append: Append) -> tuple[RowValues, int]:
        """Add a value or deletion, and return it with what `put` says of the floor.

        It may replace an older one of this batch.
        """
        self.last = last = self.last + 1
        floor = latest.put(append, last)
        values = row_values(append, last, self.at)
        self.values.append(values)
        if append.deleted:
            self.limited.append(append.budget)
        return values, floor

    def _row(self, append: Append) -> Appended:
        self.last = last = self.last + 1
        self.rows.append(row_values(append, last, self.at))
        self.limited.append((append.user_id, append.source_device != ANY))
        return Appended(last, created_at=self.at)


def store(
    connection: Connection,
    appends: Sequence[Append],
    *,
    last: int,
    now: int,
    at: int,
    quota: LatestQuota,
    id_quota: IdQuota,
) -> StoredBatch:
    """Write the batch, numbered from `last` + 1 on.

    Its rows are stamped `at`; by `now` ids are counted, and values that have expired do not count.
    Both are in milliseconds since 1970.
    """
    identified = [append for append in appends if append.message_id is not None]
    keyed = [append for append in appends if append.key is not None]
    ids = id_quota.begin(connection, identified, now) if identified else None
    latest = quota.begin(connection, keyed, now) if keyed else None
    batch = _Batch(last=last, at=at, ids=ids, latest=latest)
    outcomes = [batch.outcome(append) for append in appends]
    rows = batch.rows
    if latest is not None:
        replaced = latest.replaced
        # A value that a later one of this batch replaces is not stored; its offset stays a hole.
        rows = rows + [values for values in batch.values if values[0] not in replaced]
        stored = [offset for offset in replaced if offset <= last]
        if stored:
            connection.exec_driver_sql(_DELETE, (orjson.dumps(stored).decode(),))
        raise_floors(connection, batch.floors)
    insert_rows(connection, "messages", ROW_COLUMNS, [with_checksum(values) for values in rows])
    if ids is not None:
        ids.write(connection)
    return StoredBatch(outcomes, batch.last, batch.limited, latest, ids)
