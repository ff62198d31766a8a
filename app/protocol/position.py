"""Positions in a stream, and where a connection that asks for one starts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

Outcome = Literal["resumed", "live", "reset"]

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

MAX_OFFSET: Final = (1 << 63) - 1
"""The largest offset that a database can hold."""


@dataclass(frozen=True, slots=True)
class Position:
    """The offset, in the numbering `epoch`, up to which a connection or device has everything.

    In a client's position `epoch` is the text that names the generation too (`Numbering.text`); in
    a cursor, and wherever else the server names a place of its own database, it is the bare epoch.
    """

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Start:
    """Where a connection starts, and what came of the position it asked for."""

    outcome: Outcome
    offset: int


@dataclass(slots=True)
class Query:
    """The query parameters of an upgrade; `positioned` when any of `PARAMETERS` was given."""

    instance: str | None = None
    positioned: bool = False
    position: Position | None = None
    live: bool = False
    snapshot: bool = False


PLAIN: Final = Query()

PARAMETERS: Final = frozenset({"instance", "epoch", "offset", "resume", "snapshot"})
"""A client that gives any of these knows the frames that only positioned clients get."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A part of the numbering that begins at a start of the server, with the offset `first`."""

    id: str
    first: int


class Numbering:
    """An epoch with its generations, and the rule which positions hold in them.

    `generations` come in the order in which they began, none left out. The text of the first one
    is the bare epoch, since positions named nothing else before there were generations. A copy of
    the database lacks the generations that began after it, and has a newer one that ends those it
    knows where it was taken: so no position of the history that it lost holds in it.
    """

    def __init__(self, epoch: str, generations: Sequence[Generation]) -> None:
        self.epoch = epoch
        self.newest = generations[-1]
        texts = [epoch, *(f"{epoch}.{one.id}" for one in generations[1:])]
        self.text: str = texts[-1]
        """What clients are told as their epoch: it names the newest generation."""
        # The newest one has no end.
        self._ends = {text: one.first for text, one in zip(texts, generations[1:], strict=False)}

    def holds(self, position: Position, last: int) -> bool:
        """Tell whether a client at this position, of this text, has the database's own messages.

        `last` is the newest offset that was ever given out.
        """
        if position.epoch == self.text:
            return position.offset <= last
        return position.offset < self._ends.get(position.epoch, 0)

    def of_cursor(self, cursor: Position) -> Position:
        """Return the cursor as a client's position: it needs no generation of its own.

        The database that was put back brought its cursors along, so they lie in its history.
        """
        return Position(self.text, cursor.offset) if cursor.epoch == self.epoch else cursor


def resume(
    wanted: Position | None, numbering: Numbering, *, head: int, floor: int, last: int
) -> Start:
    """Return where a connection that has `wanted` starts, in a stream kept from `floor` on.

    `head` is the stream's newest offset, `last` the newest that was ever given out. With `reset`
    the state has to be fetched again. A position of another history says nothing about what is
    kept, so the connection starts at the head. One below the floor lacks only what was removed:
    the connection starts there, and gets what is still kept.
    """
    if wanted is None:
        return Start("live", head)
    if not numbering.holds(wanted, last):
        return Start("reset", head)
    return Start("reset" if wanted.offset < floor else "resumed", wanted.offset)
