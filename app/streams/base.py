"""What a store of streams promises, and the shapes that go in and out of it. Pure.

The shapes are not frozen, which would make each of them on the way to disk cost five times as much;
nobody changes one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from app.protocol.position import Position

EVERYONE: Final = 0
"""The user id under which rows of everyone are kept; no user has it."""

ANY: Final = 0
"""No device: the row is for all of them, leaves none out, comes from none."""

Refusal = Literal["too_many_keys", "id_conflict"]


@dataclass(slots=True)
class Append:
    """A durable message on its way into the log.

    `payload` is JSON text. With a `key` only the newest of its kind is kept. `ttl` is in seconds.
    `message_id` is remembered for its `owner` (`device:7`, `key:3`), together with `digest`.
    """

    user_id: int
    type: str
    payload: bytes
    target_device: int = ANY
    without_device: int = ANY
    without_instance: str = ""
    source_device: int = ANY
    source_instance: str = ""
    key: str | None = None
    ttl: int | None = None
    owner: str = ""
    message_id: str | None = None
    digest: bytes = b""


@dataclass(slots=True)
class Appended:
    """The message is on disk at `offset`; a `duplicate` was there already."""

    offset: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The message is not kept; nothing of it is."""

    code: Refusal


@dataclass(slots=True)
class Row:
    """One durable message, as it is kept."""

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
    """Milliseconds since 1970, UTC, like `expires_at`."""
    expires_at: int | None = None

    def is_for(self, device_id: int, instance: str) -> bool:
        """Tell whether this instance of this device, of a user that the row is for, gets it.

        A device that is left out without an instance is left out as a whole.
        """
        if self.target_device not in (ANY, device_id):
            return False
        return self.without_device != device_id or self.without_instance not in ("", instance)


def row_of(append: Append, offset: int, created_at: int = 0) -> Row:
    """Return the row as which the message is kept; `created_at` in milliseconds since 1970.

    A row that is only handed over needs no time, and then none of its times mean anything.
    """
    return Row(
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
        None if append.ttl is None else created_at + append.ttl * 1000,
    )


@dataclass(slots=True)
class Slice:
    """Rows in the order of their offsets; nothing between them is missing, up to `through`.

    But what was at or below `floor` may have been pruned.
    """

    rows: Sequence[Row]
    through: int
    floor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """How much one read returns at most; the first row comes whatever its size."""

    rows: int = 100
    bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a device stands in the stream of its user.

    `head` is at or above every row for the user, `floor` the highest row that was pruned (0: none),
    both with the rows of everyone; `keys` tells whether there are `latest` values.
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
    """What one small step removed: rows, the floors it raised, and whether there is more to do."""

    rows: int
    floors: Mapping[int, int]
    more: bool


class StreamLog(Protocol):
    """Keeps durable messages in one numbering that never gives a number twice.

    The guarantee: what `append` returned is on disk and survives a crash, and what it raised or
    refused is not there at all. A slice has every row of its user and of everyone that is still
    kept between `after` and `through`, as of one instant. Offsets only grow, across restarts and
    after everything was pruned; holes are normal. `epoch` names the numbering: a database that was
    put back to an earlier state, or reset, has another one.
    """

    @property
    def epoch(self) -> str:
        """The incarnation of the numbering, an opaque string."""

    @property
    def last(self) -> int:
        """The newest offset that was ever given out, 0 before the first."""

    async def append(self, appends: Sequence[Append]) -> list[Appended | Refused]:
        """Keep all of them in one transaction, in this order; one outcome for each.

        Raises StorageUnavailable when nothing of it could be written.
        """

    async def read(self, user_id: int, after: int, limits: ReadLimits) -> Slice:
        """Return the next rows of the user and of everyone above `after`, oldest first.

        Rows whose time is over are left out. `through` is the last row's offset when there may be
        more, else the newest offset given out as of the same instant. Raises StorageUnavailable.
        """

    async def latest(self, user_id: int, after: int, upto: int, limits: ReadLimits) -> Slice:
        """Return the `latest` values of the user and of everyone above `after`, up to `upto`.

        `through` is `upto` when there are no more. Raises StorageUnavailable.
        """

    async def standings(self, devices: Sequence[tuple[int, int]]) -> list[Standing]:
        """Return where each (user id, device id) stands; raises StorageUnavailable."""

    async def save_cursors(self, cursors: Mapping[int, Cursor]) -> None:
        """Remember the cursors of these devices, by device id.

        Raises StorageUnavailable when they could not be written.
        """

    async def prune(self) -> Pruned:
        """Remove a few of the rows that are too old, too many or expired; call it again if `more`.

        Raises StorageUnavailable.
        """

    async def reset(self) -> str:
        """Begin a new numbering and return its epoch; what is kept stays, no cursor holds.

        Raises StorageUnavailable.
        """
