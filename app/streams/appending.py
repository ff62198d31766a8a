"""One batch on its way into the tables: repeats, values that take another's place, rows.

The statements are few whatever the batch's size, and only those that it needs.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from app.storage.schema import MAX_ID, message_ids, messages
from app.streams.base import Append, Appended, Refused
from app.streams.keys import Held, Identity, Keys, identity_of
from app.streams.values import chunks, insert_rows, markers

_DELETE: Final = 'DELETE FROM messages WHERE "offset" IN (SELECT value FROM json_each(?))'
_KNOWN_IDS: Final = """
WITH wanted (owner, message_id) AS (VALUES {values})
SELECT i.owner, i.message_id, i.digest, i."offset" FROM wanted AS w
CROSS JOIN message_ids AS i ON i.owner = w.owner AND i.message_id = w.message_id
"""

_Ids = dict[tuple[str, str], tuple[bytes, int]]


@dataclass(slots=True)
class Stored:
    """What came of a batch: an outcome for each append, and the newest offset given out."""

    outcomes: list[Appended | Refused]
    last: int
    users: list[int]
    """Of each row that went into the log."""
    held: Held | None


@dataclass(slots=True)
class _Batch:
    """What will be written."""

    last: int
    now: int
    known: _Ids
    held: Held | None
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    ids: list[tuple[Any, ...]] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    values: dict[Identity, tuple[Any, ...]] = field(default_factory=dict)

    def outcome(self, append: Append) -> Appended | Refused:
        if append.message_id is not None:
            return self._identified(append, append.message_id)
        if append.key is not None:
            return self._value(append)
        return Appended(self._row(append))

    def _identified(self, append: Append, message_id: str) -> Appended | Refused:
        name = (append.owner, message_id)
        prior = self.known.get(name)
        if prior is not None:
            same = prior[0] == append.digest
            return Appended(prior[1], duplicate=True) if same else Refused("id_conflict")
        outcome = self._value(append) if append.key is not None else Appended(self._row(append))
        if isinstance(outcome, Appended):
            self.known[name] = (append.digest, outcome.offset)
            self.ids.append((*name, append.digest, outcome.offset, self.now))
        return outcome

    def _value(self, append: Append) -> Appended | Refused:
        identity = identity_of(append)
        if self.held is None or not self.held.admit(identity):
            return Refused("too_many_keys")
        self.last = last = self.last + 1
        # An older value of the same batch gave out its offset, and is gone.
        self.values[identity] = _row_of(append, last, self.now)
        return Appended(last)

    def _row(self, append: Append) -> int:
        self.last = last = self.last + 1
        self.rows.append(_row_of(append, last, self.now))
        self.users.append(append.user_id)
        return last


def store(
    connection: Connection, appends: Sequence[Append], last: int, now: int, keys: Keys
) -> Stored:
    """The transaction has the batch, numbered from `last` + 1 on; `now` is in milliseconds."""
    identified = [append for append in appends if append.message_id is not None]
    keyed = [append for append in appends if append.key is not None]
    known = _known_ids(connection, identified) if identified else {}
    held = keys.hold(connection, keyed, now) if keyed else None
    batch = _Batch(last, now, known, held)
    outcomes = [batch.outcome(append) for append in appends]
    if held is not None and held.replaced:
        connection.exec_driver_sql(_DELETE, (orjson.dumps([*held.replaced]).decode(),))
    rows = batch.rows + list(batch.values.values())
    insert_rows(connection, messages, rows)
    insert_rows(connection, message_ids, batch.ids)
    return Stored(outcomes, batch.last, batch.users, held)


def _row_of(append: Append, offset: int, now: int) -> tuple[Any, ...]:
    """Return the row in the order of the table's columns."""
    ttl = append.ttl
    return (
        offset,
        append.user_id,
        append.type,
        append.payload,
        append.target_device,
        append.without_device,
        append.without_instance,
        append.source_device,
        append.source_instance,
        append.key,
        now,
        None if ttl is None else min(now + ttl * 1000, MAX_ID),
    )


def _known_ids(connection: Connection, appends: Collection[Append]) -> _Ids:
    wanted = sorted({(append.owner, append.message_id or "") for append in appends})
    known: _Ids = {}
    for chunk in chunks(wanted):
        query = _KNOWN_IDS.format(values=markers(len(chunk), 2))
        flat = tuple(value for pair in chunk for value in pair)
        for owner, message_id, digest, offset in connection.exec_driver_sql(query, flat):
            known[owner, message_id] = (digest, offset)
    return known
