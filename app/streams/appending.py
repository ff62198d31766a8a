"""One batch on its way into the tables: repeats, values that replace others, rows.

A batch needs few statements whatever its size, and no statement without need.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from sqlalchemy import Connection

from app.streams.base import Append, Appended, Refused, RowValues, row_values
from app.streams.ids import IdBatch, IdQuota
from app.streams.latest import LatestBatch, LatestKey, LatestQuota, latest_key
from app.streams.rows import ROW_COLUMNS, insert_rows

_DELETE: Final = 'DELETE FROM messages WHERE "offset" IN (SELECT value FROM json_each(?))'


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What came of a batch: an outcome for each append, and the newest offset given out.

    `log_users` has the user of each row that retention counts; `latest` and `ids` the batch's
    values and message ids if it had any.
    """

    outcomes: list[Appended | Refused]
    last: int
    log_users: list[int]
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
    log_users: list[int] = field(default_factory=list)
    values: dict[LatestKey, RowValues] = field(default_factory=dict)

    def outcome(self, append: Append) -> Appended | Refused:
        """Add the message, unless it is refused or a repeat, and return its outcome."""
        if self.ids is not None and append.message_id is not None:
            return self._identified(append, self.ids)
        if append.key is not None:
            return self._value(append)
        return self._row(append)

    def _identified(self, append: Append, ids: IdBatch) -> Appended | Refused:
        answered = ids.answer(append)
        if answered is not None:
            return answered
        outcome = self._value(append) if append.key is not None else self._row(append)
        if isinstance(outcome, Appended):
            ids.add(append, outcome.offset)
        return outcome

    def _value(self, append: Append) -> Appended | Refused:
        latest = self.latest
        if append.deleted and latest is not None:
            for key in latest.delete(append):
                self.values.pop(key, None)
            # Until its time is over, a deletion is one of the rows that retention counts.
            self.log_users.append(append.user_id)
        elif latest is None or not latest.admit(append):
            return Refused("too_many_keys")
        self.last = last = self.last + 1
        # Replaces an older value of the same batch, whose offset stays a hole.
        self.values[latest_key(append)] = row_values(append, last, self.at)
        return Appended(last, created_at=self.at)

    def _row(self, append: Append) -> Appended:
        self.last = last = self.last + 1
        self.rows.append(row_values(append, last, self.at))
        self.log_users.append(append.user_id)
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
    if latest is not None and latest.replaced:
        connection.exec_driver_sql(_DELETE, (orjson.dumps([*latest.replaced]).decode(),))
    insert_rows(connection, "messages", ROW_COLUMNS, batch.rows + list(batch.values.values()))
    if ids is not None:
        ids.write(connection)
    return StoredBatch(outcomes, batch.last, batch.log_users, latest, ids)
