"""Lists of values in a statement's text.

SQLite looks up a list of row values by index only as a joined table: `(a, b) IN (VALUES …)` scans.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeVar

T = TypeVar("T")

CHUNK: Final = 1000
"""Rows of one statement, far below SQLite's 32,766 variables at up to 5 each."""


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the values in pieces that one statement can have."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]


@lru_cache(maxsize=256)
def markers(rows: int, width: int) -> str:
    """Return `(?,?),(?,?)` for two rows of width two."""
    row = "(" + ",".join("?" * width) + ")"
    return ",".join([row] * rows)
