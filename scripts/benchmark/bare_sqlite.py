"""The ceiling of `durable`: rows committed to a database like ours, and nothing else.

    python -m scripts.benchmark.bare_sqlite DATABASE ROWS BATCH

BATCH is the number of rows of a commit; with a fraction, commits alternate between two sizes. It
prints one line of JSON. A row's latency is that of its commit.
"""

import asyncio
import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from app.storage.database import Database
from app.streams.base import Append, row_values
from app.streams.rows import ROW_COLUMNS, quoted
from scripts.benchmark.texts import DELIVERY


async def _make(path: Path) -> None:
    """Make the tables and indexes that our server has."""
    await (await Database.open(path)).close()


def _insert() -> str:
    columns = ROW_COLUMNS[1:]
    names = quoted(columns)
    return f"INSERT INTO messages ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


def _row(user: int, now: int) -> tuple[Any, ...]:
    """Return the columns of a row as our server writes them, but for the offset."""
    payload = json.dumps(json.loads(DELIVERY)["payload"], separators=(",", ":")).encode()
    append = Append(
        user,
        "bench.tick",
        payload,
        without_device=user,
        without_instance="default",
        source_device=user,
        source_instance="default",
    )
    return row_values(append, 0, now)[1:]


def write(path: Path, rows: int, batch: float) -> dict[str, float]:
    """Commit so many rows and return the figures; latencies are in seconds."""
    asyncio.run(_make(path))
    statement, written = _insert(), 0
    taken: list[float] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        began, spent = time.perf_counter(), time.process_time()
        while written < rows:
            started = time.perf_counter()
            # Keeps the average of all commits up to this one at BATCH rows.
            due = max(1, round((len(taken) + 1) * batch) - written)
            now = time.time_ns() // 1_000_000
            some = [_row(1 + (written + place) % 64, now) for place in range(due)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, some)
            connection.execute("COMMIT")
            written += due
            taken.append(time.perf_counter() - started)
        seconds, spent = time.perf_counter() - began, time.process_time() - spent
    ordered = sorted(taken)
    return {
        "rows": written,
        "seconds": seconds,
        "cpu_seconds": spent,
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
    }


if __name__ == "__main__":
    print(json.dumps(write(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
