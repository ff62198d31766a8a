"""What a store of durable messages promises, and the values that go in and out of it. Pure.

The classes of which each message needs one are not frozen, since a frozen dataclass takes five
times as long to make. No code changes one once it is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, Literal, Protocol

from app.protocol.position import Numbering, Position

EVERYONE: Final = 0
"""The user id of rows that are for everyone; no user has it."""

ANY: Final = 0
"""No device: the row is for all devices, leaves none out, or comes from none."""

MAX_TIME: Final = (1 << 63) - 1
"""The last millisecond that a database can hold."""

Refusal = Literal["forbidden", "too_many_keys", "too_many_ids", "id_conflict"]

Budget = tuple[int, bool]
"""A user (or EVERYONE), and whether devices are the authors: each pair has limits of its own."""


@dataclass(slots=True)
class Append:
    """A durable message on its way into the log.

    `payload` is JSON text. Of messages with the same `key` only the newest is kept; a `deleted` one
    says that the key has no value any more. `ttl` is in seconds. The log remembers `message_id`
    together with `digest`, 16 bytes, for its `owner` (`device:7`, `key:3`), and counts it among the
    ids of `sender` (`user:5` for all devices of the user, `key:3`), which are limited.

    `source_device` is its author. What a feature sends in answer to a device has that device, and
    no `source_instance`.
    """

    user_id: int
    type: str
    payload: bytes
    _: KW_ONLY
    target_device: int = ANY
    without_device: int = ANY
    without_instance: str = ""
    source_device: int = ANY
    source_instance: str = ""
    key: str | None = None
    ttl: int | None = None
    deleted: bool = False
    owner: str = ""
    sender: str = ""
    message_id: str | None = None
    digest: bytes = b""

    @property
    def budget(self) -> Budget:
        """Whose limits the message counts against."""
        return (self.user_id, self.source_device != ANY)


@dataclass(slots=True)
class Appended:
    """The outcome of a message that is on disk at `offset`; a `duplicate` was there before.

    `created_at` is that of the row, in milliseconds since 1970. Of a duplicate it means nothing.
    `removals` are deletions of values that it removed, stored before it. If the `floor` of its user
    is not 0, it was raised that far.
    """

    offset: int
    duplicate: bool = False
    created_at: int = field(default=0, compare=False)
    removals: "tuple[Row, ...]" = ()
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """The outcome of a message of which nothing was stored.

    The log would take it in `retry_after_ms` milliseconds; None if time alone changes nothing.
    """

    code: Refusal
    retry_after_ms: int | None = None


@dataclass(slots=True)
class Row:
    """One durable message as it is stored; times are milliseconds since 1970, UTC.

    Make one with names, or of `row_values`, or of what `SELECT` gives for the columns of the same
    names and order (`app.streams.rows.ROW_COLUMNS`).
    """

    offset: int
    user_id: int
    type: str
    payload: bytes
    target_device: int = ANY
    without_device: int = ANY
    without_instance: str = ""
    source_device: int = ANY
    source_instance: str = ""
    key: str | None = None
    created_at: int = 0
    expires_at: int | None = None
    deleted: int = 0
    # Of the other fields, so it says nothing that they do not.
    crc: int | None = field(default=None, compare=False)

    def is_for(self, device_id: int, instance: str) -> bool:
        """Tell whether this instance of this device gets the row, which is for the device's user.

        A row that leaves out a device without naming an instance leaves out all of its instances.
        """
        if self.target_device not in (ANY, device_id):
            return False
        return self.without_device != device_id or self.without_instance not in ("", instance)


RowValues = tuple[
    int, int, str, bytes, int, int, str, int, str, str | None, int, int | None, int, int | None
]
"""The fields of a Row, in their order."""


def row_values(append: Append, offset: int, created_at: int) -> RowValues:
    """Return the fields of the row that stores the message; `created_at` in milliseconds."""
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
        created_at,
        None if ttl is None else min(created_at + ttl * 1000, MAX_TIME),
        int(append.deleted),
        None,
    )


@dataclass(slots=True, kw_only=True)
class Slice:
    """Rows in the order of their offsets; no row of the stream up to `through` is missing.

    Retention may have removed rows at or below `floor`.
    """

    rows: Sequence[Row]
    through: int
    floor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """How much one read returns at most; it returns the first row whatever its size."""

    rows: int = 100
    bytes: int = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a device stands in the stream of its user.

    `head` is at or above every row for the user, `floor` is the newest offset that retention has
    removed (0: none); both count the rows of everyone. `keys` tells whether the user or everyone
    has `latest` values, deleted ones apart.
    """

    head: int
    floor: int
    cursor: Position | None
    keys: bool


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position that a device has acknowledged."""

    user_id: int
    position: Position


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one small step of retention did: rows removed, floors raised, whether more is due."""

    rows: int
    floors: Mapping[int, int]
    more: bool


class StreamLog(Protocol):
    """A store of durable messages, all in one numbering that never gives a number twice.

    The guarantee: what `append` returned is on disk and survives a crash, and what it refused is
    not there at all. After it raised, the batch is there as a whole or not at all. A slice has
    every stored row of its user and of everyone between `after` and `through`, as of one instant.
    Offsets only grow, across restarts and after everything was removed; holes are normal.
    What devices append neither replaces nor displaces anything that has another author.
    `numbering` has the epoch, which is another after a reset, and a generation that no other
    history of the log has: whatever copy was put back, a position holds in it only if the messages
    up to there are the log's own.
    """

    @property
    def epoch(self) -> str:
        """The incarnation of the numbering, an opaque string."""

    @property
    def numbering(self) -> Numbering:
        """The epoch and its generations.

        The newest generation begins when the log is opened, and at a reset, which closes every
        connection: never while a connection is live.
        """

    @property
    def last(self) -> int:
        """The newest offset that was ever given out, 0 before the first."""

    async def append(self, appends: Sequence[Append]) -> list[Appended | Refused]:
        """Store all messages in one transaction, in this order; return one outcome for each.

        Raises StorageUnavailable when the storage fails. Then a doubt remains: `last` tells
        whether the messages were written all the same, as far as the storage can be read.
        """

    async def read(self, user_id: int, after: int, limits: ReadLimits) -> Slice:
        """Return the next rows of the user and of everyone above `after`, oldest first.

        Expired rows are left out. `through` is the last row's offset when there may be more, else
        the newest offset given out when the read began. Raises StorageUnavailable, also when one of
        the rows is damaged.
        """

    async def latest(
        self, user_id: int, device_id: int, *, after: int, upto: int, limits: ReadLimits
    ) -> Slice:
        """Return the `latest` values of the user and of everyone above `after`, up to `upto`.

        Left out is a value below a deletion of the same type and key that the device gets, or that
        leaves it out because it knows. `through` is `upto` when there are no more. Raises
        StorageUnavailable.
        """

    async def standings(self, devices: Sequence[tuple[int, int]]) -> list[Standing]:
        """Return where each (user id, device id) stands; raises StorageUnavailable."""

    async def save_cursors(self, cursors: Mapping[int, Cursor]) -> None:
        """Store the cursors of these devices, by device id; raises StorageUnavailable."""

    async def prune(self) -> Pruned:
        """Remove a few rows that are too old, too many or expired; call it again if `more`.

        A deletion is a row like those of the log. However old, it stays as long as it hides a value
        that is kept. Raises StorageUnavailable.
        """

    async def reset(self) -> str:
        """Begin a new numbering and return its epoch; rows stay, cursors lose their meaning.

        Raises StorageUnavailable.
        """
