"""How much one transaction may remove: whoever stores a message meanwhile waits for its end.

One thread writes for all. So what may have many rows is removed in steps, each in a transaction of
its own, with a pause between them in which others write.
"""

from collections.abc import Iterable
from typing import Final

STEP_ROWS: Final = 250
"""Rows that one step removes at most: some 5 ms of sessions, whose tokens are all over an index."""

STEP_BYTES: Final = 1 << 20
"""Bytes of payloads that one step removes: SQLite reads all of them, some 5 ms."""

PAUSE_SECONDS: Final = 0.05
"""Between two steps, so that writers who wait for the disk get their turn."""


def affordable(rows: Iterable[tuple[int, int]], most_bytes: int = STEP_BYTES) -> list[int]:
    """Return the ids of the first of these pairs of id and bytes that a step may remove.

    That is one at least, so that each step comes further.
    """
    ids: list[int] = []
    for row_id, size in rows:
        if ids and size > most_bytes:
            break
        most_bytes -= size
        ids.append(row_id)
    return ids
