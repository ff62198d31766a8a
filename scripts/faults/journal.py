"""The journal: what devices did and saw, one JSON object a line. The checker knows nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import orjson

To = str | int
"""Where a message goes: `user`, `others`, or the id of a device."""


@dataclass(frozen=True, slots=True)
class Joined:
    """An instance of a device takes part; `by` is its number in all records."""

    what: ClassVar = "joined"
    by: int
    user: int
    device: int
    instance: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The server said `connected`; `asked` is the offset that the device came with, if any."""

    what: ClassVar = "connected"
    by: int
    asked: int | None
    outcome: str
    epoch: str
    offset: int
    head: int = 0


@dataclass(frozen=True, slots=True)
class Positioned:
    """The server said that the device has everything up to here."""

    what: ClassVar = "positioned"
    by: int
    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The device sent a message; a repeat is one more record of the same `message`."""

    what: ClassVar = "sent"
    by: int
    message: str
    to: To


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The server said `ok`: the message is kept."""

    what: ClassVar = "acknowledged"
    by: int
    message: str
    epoch: str
    offset: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The server answered a message with an error."""

    what: ClassVar = "refused"
    by: int
    message: str
    code: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message above the device's position came; `whole` if it was unchanged.

    `replayed` is the mark that the server gave it.
    """

    what: ClassVar = "received"
    by: int
    message: str
    offset: int
    device: int
    instance: str
    whole: bool
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Repeated:
    """A message came at or below the position that the device had named."""

    what: ClassVar = "repeated"
    by: int
    offset: int


@dataclass(frozen=True, slots=True)
class Left:
    """The connection ended, with this close code; 1006 without one."""

    what: ClassVar = "left"
    by: int
    code: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The device has the last message of its user, and with it everything."""

    what: ClassVar = "finished"
    by: int


@dataclass(frozen=True, slots=True)
class Copying:
    """A copy of the database is about to be made."""

    what: ClassVar = "copying"
    copy: str


@dataclass(frozen=True, slots=True)
class Copied:
    """The copy is made."""

    what: ClassVar = "copied"
    copy: str


@dataclass(frozen=True, slots=True)
class CopyHolds:
    """The last offset that the copy's file has, as whoever made the copy read in it."""

    what: ClassVar = "copy holds"
    copy: str
    last: int


@dataclass(frozen=True, slots=True)
class PutBack:
    """The copy takes the place of the database; no device is connected."""

    what: ClassVar = "put back"
    copy: str


@dataclass(frozen=True, slots=True)
class Vanished:
    """The database is gone, for the `time`-th time: what is sent from now on cannot be kept."""

    what: ClassVar = "vanished"
    time: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The database is about to come back."""

    what: ClassVar = "returned"
    time: int


Record = (
    Joined
    | Connected
    | Positioned
    | Sent
    | Acknowledged
    | Refused
    | Received
    | Repeated
    | Left
    | Finished
    | Copying
    | Copied
    | CopyHolds
    | PutBack
    | Vanished
    | Returned
)

_KINDS: Final[dict[str, Any]] = {
    kind.what: kind
    for kind in (
        *(Joined, Connected, Positioned, Sent, Acknowledged),
        *(Refused, Received, Repeated, Left, Finished),
        *(Copying, Copied, CopyHolds, PutBack, Vanished, Returned),
    )
}


class Journal:
    """Appends records to a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=1 << 20)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, record: Record) -> None:
        """Append the record; closing the journal flushes it."""
        self._file.write(b'{"what":"%b",%b\n' % (record.what.encode(), orjson.dumps(record)[1:]))


def read(path: Path) -> Iterator[Record]:
    """Yield the records of a file in order; raises ValueError at a line that is none."""
    with path.open("rb") as file:
        for line in file:
            fields = orjson.loads(line)
            kind = _KINDS.get(fields.pop("what", ""))
            if kind is None:
                raise ValueError(f"this is no record: {line[:100]!r}")
            yield kind(**fields)
