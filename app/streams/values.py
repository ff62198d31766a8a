"""Lists of values in a statement's text.

SQLite looks up a list of row values by index only as a joined table: `(a, b) IN (VALUES …)` scans.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Table

T = TypeVar("T")

CHUNK: Final = 1000
"""Rows of one statement, far below SQLite's 32,766 variables at up to 5 each."""

MAX_INSERT: Final = 512
"""Rows of one insert, a power of two."""


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the values in pieces that one statement can have."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


@lru_cache(maxsize=256)
def markers(rows: int, width: int) -> str:
    """Return `(?,?),(?,?)` for two rows of width two."""
    row = "(" + ",".join("?" * width) + ")"
    return ",".join([row] * rows)


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, each in the order of the table's columns, with few statements.

    `executemany` would leave the interpreter to other threads, and wait to have it back, for each
    row. The numbers of rows are powers of two, so that the driver keeps all statements prepared.
    After an error some of the rows are there, until the transaction is rolled back.
    """
    done, left = 0, len(rows)
    while left:
        size = min(MAX_INSERT, 1 << (left.bit_length() - 1))
        values = tuple(chain.from_iterable(rows[done : done + size]))
        connection.exec_driver_sql(_insert(table, size), values)
        done, left = done + size, left - size


@lru_cache(maxsize=32)
def _insert(table: Table, rows: int) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    values = markers(rows, len(table.columns))
    # Else SQLite writes the pages as they were before the statement to a file, in case it fails.
    return f"INSERT OR FAIL INTO {table.name} ({columns}) VALUES {values}"  # noqa: S608
