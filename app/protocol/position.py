"""Positions in a stream, and where a connection that asks for one starts. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

Outcome = Literal["resumed", "live", "reset"]

MAX_OFFSET: Final = (1 << 63) - 1
"""The largest offset that a database can hold."""


@dataclass(frozen=True, slots=True)
class Position:
    """The offset, in the numbering `epoch`, up to which a connection or device has everything."""

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


def resume(wanted: Position | None, *, epoch: str, head: int, floor: int, last: int) -> Start:
    """Return where a connection that has `wanted` starts, in a stream kept from `floor` on.

    `head` is the stream's newest offset, `last` the newest that was ever given out. A position
    that says nothing about what is kept is `reset`: the connection starts at the head, and the
    state has to be fetched again.
    """
    if wanted is None:
        return Start("live", head)
    if wanted.epoch != epoch or wanted.offset > last or wanted.offset < floor:
        return Start("reset", head)
    return Start("resumed", wanted.offset)
