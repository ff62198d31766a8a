"""Sums over tables, by which a row that is missing, or one too many, shows.

A checksum in a row tells that the row was changed. That a row is not found any more, because an
index lost it, no row tells. So triggers keep for each of these tables how many rows it has, and the
sum of a number made of each row; whoever walks the table, or an index of it, must come to the same.
A walk over an index takes SQLite 0.2 s for a million rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

_PART: Final = (1 << 28) - 1
_SUMMED: Final = (1 << 36) - 1
"""Of each row's number so much counts: the sum of 100 million rows fits into an integer."""

_TRIGGERS: Final = """
SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'sums_%'
"""

_OLD: Final = "unchecked"

READ_UNCHECKED: Final = f"SELECT rows, sum FROM sums WHERE name = '{_OLD}'"  # noqa: S608 - a constant
"""The row of `sums` that has the newest offset of a message without a checksum."""


@dataclass(frozen=True, slots=True)
class Summed:
    """What is summed: integer columns of a table, of the rows that the condition admits.

    The walk goes over `index`, or over the table itself.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    index: str | None = None
    condition: str | None = None

    def number(self, row: str) -> str:
        """Return the expression for a row's number; no single bit of a column leaves it the same.

        That holds for the lower 56 bits. Every step stays below 2**63.
        """
        first, second, *third = (_folded(f'{row}"{column}"') for column in self.columns)
        sum_ = f"{first} * ({second} * 2 + 1) + {second} * 2654435761"
        if third:
            sum_ += f" + {third[0]} * 2246822519"
        return f"ifnull(({sum_}) & {_SUMMED}, 0)"

    def walk(self, *, over_index: bool) -> str:
        """Return the statement that counts and sums the rows."""
        how = f"INDEXED BY {self.index}" if over_index and self.index else "NOT INDEXED"
        where = f" WHERE {self.condition}" if self.condition else ""
        number = self.number("")
        return f"SELECT count(*), ifnull(sum({number}), 0) FROM {self.table} {how}{where}"  # noqa: S608 - constants, like all here

    def triggers(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the statement of each trigger."""
        new, old = self.number("NEW."), self.number("OLD.")
        changes = {"INSERT": f"+ 1, + {new}", "DELETE": f"- 1, - {old}"}
        rows = {"INSERT": "NEW.", "DELETE": "OLD."}
        for event, change in changes.items():
            count, number = change.split(", ", 1)
            when = f" WHEN {rows[event]}{self.condition}" if self.condition else ""
            yield self._trigger(event.lower(), event, when, f"rows {count}", f"sum {number}")
        if self.condition is None:
            columns = ", ".join(f'"{column}"' for column in self.columns)
            change = f"sum + {new} - {old}"
            yield self._trigger("update", f"UPDATE OF {columns}", "", "rows", change)

    def _trigger(self, ending: str, event: str, when: str, rows: str, sum_: str) -> tuple[str, str]:
        name = f"sums_{self.name}_{ending}"
        update = f"UPDATE sums SET rows = {rows}, sum = {sum_} WHERE name = '{self.name}'"  # noqa: S608
        begin = f"CREATE TRIGGER {name} AFTER {event} ON {self.table}{when}"
        return name, f"{begin} BEGIN {update}; END"


def _folded(column: str) -> str:
    return f"(({column} & {_PART}) + (({column} >> 28) & {_PART}) * 3)"


TABLES: Final = (
    Summed("messages", "messages", ("offset", "user_id"), "messages_user_id_offset"),
    Summed("latest", "messages", ("offset", "user_id"), "messages_latest", '"key" IS NOT NULL'),
    Summed("floors", "floors", ("user_id", "offset")),
    Summed("cursors", "cursors", ("device_id", "user_id", "offset")),
    Summed("generations", "generations", ("number", "first")),
)
"""All that decides which messages a device is given."""


def install(connection: Connection) -> None:
    """Make the triggers that are missing or changed, and then count and sum anew."""
    found = {str(name): str(sql) for name, sql in connection.exec_driver_sql(_TRIGGERS)}
    wanted = {name: sql for one in TABLES for name, sql in one.triggers()}
    if found == wanted:
        return
    for name in found:
        connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
    for statement in wanted.values():
        connection.exec_driver_sql(statement)
    recount(connection)
    last = connection.exec_driver_sql(
        "SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'"
    ).scalar_one()
    # Of the first time: later triggers are made anew for messages with a checksum.
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO sums (name, rows, sum) VALUES (?, ?, ?)", (_OLD, last, ~last)
    )


def recount(connection: Connection) -> None:
    """Believe the tables as they are."""
    for one in TABLES:
        counted = connection.exec_driver_sql(one.walk(over_index=False)).one()
        connection.exec_driver_sql(
            "INSERT OR REPLACE INTO sums (name, rows, sum) VALUES (?, ?, ?)", (one.name, *counted)
        )


def mismatches(connection: Connection, *, over_index: bool) -> list[str]:
    """Return the names of those that do not have the rows that they should have.

    Over the indexes alone it costs little, and tells whether reads that go by them miss a row.
    """
    known = {
        name: (rows, sum_)
        for name, rows, sum_ in connection.exec_driver_sql("SELECT name, rows, sum FROM sums")
    }
    return [
        one.name
        for one in TABLES
        if tuple(connection.exec_driver_sql(one.walk(over_index=over_index)).one())
        != known.get(one.name)
    ]


def last_unchecked(connection: Connection) -> int:
    """Return the newest offset that a message without a checksum may have.

    Messages of before there were checksums have none.
    """
    row = connection.exec_driver_sql(READ_UNCHECKED).first()
    return newest_unchecked(tuple(row) if row is not None else None)


def newest_unchecked(row: tuple[int, int] | None) -> int:
    """Return what `last_unchecked` does, of the row that READ_UNCHECKED gives."""
    if row is None or row[0] != ~row[1]:
        # Damaged itself: better to believe a message than to take a good one for damaged.
        return (1 << 63) - 1
    return int(row[0])
