"""What the database says of its numbering: epoch, generation, the last offset."""

import secrets
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from app.storage.schema import meta
from app.streams.generation import NO_GENERATION, Guard, Mark, make_generation

LAST: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'"
"""AUTOINCREMENT's own memory: it outlives the rows."""

_STATE: Final = select(meta.c.key, meta.c.value).where(meta.c.key.in_(("epoch", "generation")))


@dataclass(frozen=True, slots=True)
class State:
    """Where the numbering stands."""

    epoch: str
    generation: str
    last: int

    @property
    def mark(self) -> Mark:
        """What the guard has to vouch for."""
        return Mark(self.generation, self.last)


@dataclass(frozen=True, slots=True)
class Begun:
    """A state, and why its epoch is new: None when it is not."""

    state: State
    reason: str | None


def read_last(connection: Connection) -> int:
    """Return the newest offset that was ever given out, 0 before the first."""
    found = connection.exec_driver_sql(LAST).scalar_one_or_none()
    return int(found or 0)


def read_state(connection: Connection) -> State:
    """Return the state of the database; a database without an epoch has the empty one."""
    values = {row.key: row.value for row in connection.execute(_STATE)}
    generation = values.get("generation", NO_GENERATION)
    return State(values.get("epoch", ""), generation, read_last(connection))


def begin(connection: Connection, guard: Guard, *, reset: bool) -> Begun:
    """The transaction has a new generation, which is announced; its commit has to be confirmed.

    The epoch is a new one after a reset, and when the guard does not vouch for the database.
    """
    found = read_state(connection)
    vouched = _vouched(found, guard)
    reason = "reset" if reset else None if vouched else "database put back or guard lost"
    state = replace(found, generation=make_generation())
    if reason is not None or not found.epoch:
        state = replace(state, epoch=secrets.token_urlsafe(12))
    guard.announce(vouched, state.mark)
    _write(connection, "epoch", state.epoch)
    _write(connection, "generation", state.generation)
    return Begun(state, reason)


def _vouched(found: State, guard: Guard) -> Mark | None:
    """Return the mark that vouches for the database; one that never had a guard needs none."""
    marks = guard.marks()
    if marks is None:
        return found.mark if found.generation == NO_GENERATION else None
    fitting = [mark for mark in marks if mark.vouches_for(found.generation, found.last)]
    return fitting[0] if fitting else None


def _write(connection: Connection, key: str, value: str) -> None:
    made = insert(meta).values(key=key, value=value)
    changed = made.on_conflict_do_update(index_elements=[meta.c.key], set_={"value": value})
    connection.execute(changed)
