"""One batch on its way into the tables: repeats, values that replace others, rows.

A batch needs few statements whatever its size, and no statement without need.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from sqlalchemy import Connection

from app.streams.base import Append, Appended, Refused, RowValues, row_values
from app.streams.latest import LatestBatch, LatestKey, LatestQuota, latest_key
from app.streams.rows import ROW_COLUMNS, chunks, insert_rows, markers

_DELETE: Final = 'DELETE FROM messages WHERE "offset" IN (SELECT value FROM json_each(?))'
_KNOWN_IDS: Final = """
WITH wanted (owner, message_id) AS (VALUES {values})
SELECT i.owner, i.message_id, i.digest, i."offset" FROM wanted AS w
CROSS JOIN message_ids AS i ON i.owner = w.owner AND i.message_id = w.message_id
"""
_ID_COLUMNS: Final = ("owner", "message_id", "digest", "offset", "created_at")

_Id = tuple[str, str, bytes, int, int]
"""The values of `_ID_COLUMNS`."""

_KnownIds = dict[tuple[str, str], tuple[bytes, int]]
"""By owner and message id: digest and offset."""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What came of a batch: an outcome for each append, and the newest offset given out.

    `log_users` has the user of each row that retention counts, `latest` the batch's values if it
    had any.
    """

    outcomes: list[Appended | Refused]
    last: int
    log_users: list[int]
    latest: LatestBatch | None


@dataclass(slots=True, kw_only=True)
class _Batch:
    """What the transaction will write."""

    last: int
    now: int
    known: _KnownIds
    latest: LatestBatch | None
    rows: list[RowValues] = field(default_factory=list)
    ids: list[_Id] = field(default_factory=list)
    log_users: list[int] = field(default_factory=list)
    values: dict[LatestKey, RowValues] = field(default_factory=dict)

    def outcome(self, append: Append) -> Appended | Refused:
        """Add the message, unless it is refused or a repeat, and return its outcome."""
        if append.message_id is not None:
            return self._identified(append, append.message_id)
        if append.key is not None:
            return self._value(append)
        return self._row(append)

    def _identified(self, append: Append, message_id: str) -> Appended | Refused:
        name = (append.owner, message_id)
        prior = self.known.get(name)
        if prior is not None:
            same = prior[0] == append.digest
            return Appended(prior[1], duplicate=True) if same else Refused("id_conflict")
        outcome = self._value(append) if append.key is not None else self._row(append)
        if isinstance(outcome, Appended):
            self.known[name] = (append.digest, outcome.offset)
            self.ids.append((*name, append.digest, outcome.offset, self.now))
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
        self.values[latest_key(append)] = row_values(append, last, self.now)
        return Appended(last, created_at=self.now)

    def _row(self, append: Append) -> Appended:
        self.last = last = self.last + 1
        self.rows.append(row_values(append, last, self.now))
        self.log_users.append(append.user_id)
        return Appended(last, created_at=self.now)


def store(
    connection: Connection, appends: Sequence[Append], *, last: int, now: int, quota: LatestQuota
) -> StoredBatch:
    """Write the batch, numbered from `last` + 1 on; `now` is in milliseconds since 1970."""
    identified = [append for append in appends if append.message_id is not None]
    keyed = [append for append in appends if append.key is not None]
    known = _known_ids(connection, identified) if identified else {}
    latest = quota.begin(connection, keyed, now) if keyed else None
    batch = _Batch(last=last, now=now, known=known, latest=latest)
    outcomes = [batch.outcome(append) for append in appends]
    if latest is not None and latest.replaced:
        connection.exec_driver_sql(_DELETE, (orjson.dumps([*latest.replaced]).decode(),))
    insert_rows(connection, "messages", ROW_COLUMNS, batch.rows + list(batch.values.values()))
    insert_rows(connection, "message_ids", _ID_COLUMNS, batch.ids)
    return StoredBatch(outcomes, batch.last, batch.log_users, latest)


def _known_ids(connection: Connection, appends: Collection[Append]) -> _KnownIds:
    wanted = sorted({(append.owner, append.message_id or "") for append in appends})
    known: _KnownIds = {}
    for chunk in chunks(wanted):
        query = _KNOWN_IDS.format(values=markers(len(chunk), 2))
        flat = tuple(value for pair in chunk for value in pair)
        for owner, message_id, digest, offset in connection.exec_driver_sql(query, flat):
            known[owner, message_id] = (digest, offset)
    return known
