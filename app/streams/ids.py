"""Message ids: which are known already, and how many more each sender may add.

A sender is all devices of one user together, or one API key. Ids are counted by hour, in the
transaction that adds them, so that neither a restart nor another device of the user has more.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection

from app.base.logs import fields
from app.streams.base import Append, Appended, Refused
from app.streams.rows import chunks, insert_rows, markers

HOUR_MS: Final = 3_600_000

WINDOW_HOURS: Final = 24
"""The limit is on the ids of so many hours: the one that runs, and those before it."""

MAX_SENDERS: Final = 50_000
"""Senders whose numbers are in memory, about 5 MB; with one more, counting begins anew."""

OPERATOR: Final = "operator"
"""Owns the ids of messages that commands send, and may add as many as it likes."""

HASH_BYTES: Final = 16
"""Two texts with the same 16 bytes of SHA-256 take 2**64 attempts to find, and whoever has found
some has two ids of their own that are taken for one."""

_KEY_PREFIX: Final = "key:"

_KNOWN: Final = """
SELECT hash, digest, "offset" FROM message_ids WHERE hash IN ({values})
"""
_COUNTS: Final = """
WITH wanted (sender) AS (VALUES {senders}), hours (hour) AS (VALUES {hours})
SELECT c.sender, c.hour, c.ids FROM wanted AS w CROSS JOIN hours AS h
CROSS JOIN message_id_counts AS c ON c.hour = h.hour AND c.sender = w.sender
"""
_ID_COLUMNS: Final = ("offset", "hash", "digest", "created_at")
_COUNT_COLUMNS: Final = ("hour", "sender", "ids")
_ADD: Final = " ON CONFLICT (hour, sender) DO UPDATE SET ids = ids + excluded.ids"

_IdName = tuple[str, str]
"""Owner and message id."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdLimits:
    """How many ids may be added in WINDOW_HOURS, by all devices of a user and by one API key.

    0 is no limit. What a feature adds in a name of its own is limited as if by devices, apart from
    theirs and for each user.
    """

    devices: int
    key: int

    def of(self, sender: str) -> int:
        """Return the limit of this sender."""
        if sender == OPERATOR:
            return 0
        return self.key if sender.startswith(_KEY_PREFIX) else self.devices


class IdBatch:
    """The message ids of one batch: which are repeats, which are above the limit, which are new.

    `hashes` has all that the batch names, `known` what was added before, by hash: digest and
    offset. `now` is in milliseconds.
    """

    def __init__(
        self,
        *,
        now: int,
        hashes: Mapping[_IdName, bytes],
        known: dict[bytes, tuple[bytes, int]],
        counts: "_Counts",
    ) -> None:
        self._now = now
        self.hour = now // HOUR_MS
        self._hashes = hashes
        self._known = known
        self._counts = counts
        self._new: list[tuple[int, bytes, bytes, int]] = []
        self._added: Counter[str] = Counter()
        self.refused: set[str] = set()
        """The senders of whom an id was refused."""

    @property
    def bounds(self) -> Mapping[str, int]:
        """An upper bound of the ids of each sender who has a limit, once the batch is on disk."""
        return self._counts.bounds

    def answer(self, append: Append) -> Appended | Refused | None:
        """Return the outcome of a repeat or of an id too many; None for one that may be added."""
        prior = self._known.get(self._hash(append))
        if prior is not None:
            digest, offset = prior
            same = digest == append.digest
            return Appended(offset, duplicate=True) if same else Refused("id_conflict")
        hour = self._counts.full_since(append.sender)
        if hour is None:
            return None
        self.refused.add(append.sender)
        return Refused("too_many_ids", (hour + WINDOW_HOURS) * HOUR_MS - self._now)

    def add(self, append: Append, offset: int) -> None:
        """Remember the id of a message that is stored at this offset."""
        name = self._hash(append)
        self._known[name] = (append.digest, offset)
        self._new.append((offset, name, append.digest, self._now))
        self._added[append.sender] += 1
        self._counts.add(append.sender)

    def write(self, connection: Connection) -> None:
        """Write what was added."""
        counts = [(self.hour, sender, ids) for sender, ids in self._added.items()]
        insert_rows(connection, "message_ids", _ID_COLUMNS, self._new)
        insert_rows(connection, "message_id_counts", _COUNT_COLUMNS, counts, _ADD)

    def _hash(self, append: Append) -> bytes:
        return self._hashes[append.owner, append.message_id or ""]


class _Counts:
    """How many ids the senders of a batch have, of those who have a limit.

    `numbers` are exact for those who have an hour in `oldest`, and an upper bound for the others,
    who cannot reach the limit in this batch.
    """

    def __init__(
        self, limits: Mapping[str, int], numbers: dict[str, int], oldest: Mapping[str, int]
    ) -> None:
        self._limits = limits
        self._oldest = oldest
        self.bounds = numbers

    def full_since(self, sender: str) -> int | None:
        """Return the first hour whose ids fill the sender's limit; None if there are fewer."""
        if sender not in self._limits or self.bounds[sender] < self._limits[sender]:
            return None
        return self._oldest[sender]

    def add(self, sender: str) -> None:
        """Count one more id."""
        if sender in self._limits:
            self.bounds[sender] += 1


class IdQuota:
    """How many ids each sender may add, and an upper bound of those that it has added of late.

    A batch that would be above a limit by its senders' bounds has those senders counted.
    """

    def __init__(self, limits: IdLimits) -> None:
        self._limits = limits
        self._bounds: dict[str, int] = {}
        self._told: dict[str, int] = {}
        """The hour of the last line in the log about a sender."""

    def forget(self) -> None:
        """Have every sender counted again, since nobody knows what the last batch stored."""
        self._bounds.clear()

    def begin(self, connection: Connection, appends: Iterable[Append], now: int) -> IdBatch:
        """Return the batch of these appends, which have ids; `now` is in milliseconds."""
        hashes: dict[_IdName, bytes] = {}
        senders: Counter[str] = Counter()
        for append in appends:
            name = (append.owner, append.message_id or "")
            if name not in hashes:
                hashes[name] = id_hash(*name)
                senders[append.sender] += 1
        known = _known(connection, sorted(hashes.values()))
        counts = self._count(connection, senders, now // HOUR_MS)
        return IdBatch(now=now, hashes=hashes, known=known, counts=counts)

    def committed(self, batch: IdBatch) -> None:
        """Take over the bounds of a batch that is on disk, and log who has reached the limit."""
        for kept in (self._bounds, self._told):
            if len(kept) > MAX_SENDERS:
                kept.clear()
        self._bounds.update(batch.bounds)
        for sender in batch.refused:
            if self._told.get(sender) != batch.hour:
                self._told[sender] = batch.hour
                log.warning(
                    "too many message ids",
                    extra=fields(sender=sender, limit=self._limits.of(sender)),
                )

    def _count(self, connection: Connection, new: Mapping[str, int], hour: int) -> _Counts:
        limits = {one: limit for one in new if (limit := self._limits.of(one))}
        numbers = {one: self._bounds.get(one, limit) for one, limit in limits.items()}
        tight = [one for one, limit in limits.items() if numbers[one] + new[one] > limit]
        # A sender without any has its first hour now.
        oldest = dict.fromkeys(tight, hour)
        numbers |= dict.fromkeys(tight, 0)
        for sender, at, ids in ids_by_hour(connection, sorted(tight), hour):
            numbers[sender] += ids
            oldest[sender] = min(oldest[sender], at)
        return _Counts(limits, numbers, oldest)


def id_hash(owner: str, message_id: str) -> bytes:
    """Return what tells this id of this owner from all others: HASH_BYTES of SHA-256.

    What is stored depends on it, so it never changes.
    """
    # No owner has a NUL.
    return sha256(f"{owner}\0{message_id}".encode()).digest()[:HASH_BYTES]


def ids_by_hour(
    connection: Connection, senders: Sequence[str], hour: int
) -> list[tuple[str, int, int]]:
    """Return each sender with an hour and its ids, for the WINDOW_HOURS that end with `hour`."""
    found: list[tuple[str, int, int]] = []
    hours = tuple(range(hour - WINDOW_HOURS + 1, hour + 1))
    for chunk in chunks(senders):
        query = _COUNTS.format(senders=markers(len(chunk), 1), hours=markers(len(hours), 1))
        rows = connection.exec_driver_sql(query, (*chunk, *hours))
        found += [(sender, at, ids) for sender, at, ids in rows]
    return found


def _known(connection: Connection, hashes: Sequence[bytes]) -> dict[bytes, tuple[bytes, int]]:
    known: dict[bytes, tuple[bytes, int]] = {}
    for chunk in chunks(hashes):
        query = _KNOWN.format(values=",".join("?" * len(chunk)))
        for name, digest, offset in connection.exec_driver_sql(query, tuple(chunk)):
            known[name] = (digest, offset)
    return known
