"""What message ids cost: the space that one user can fill in a day, and the time of an append.

    python -m scripts.benchmark.ids

It adds ids of one user until the log refuses one, as by the settings' defaults, and as many
messages without ids to another log.
"""

import argparse
import asyncio
import logging
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from app.settings import Settings
from app.storage.database import Database
from app.streams.base import Append, Refused
from app.streams.ids import HASH_BYTES
from app.streams.sql import SqlStreamLog, StreamLimits

_USER: Final = 1
_SPACE: Final = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name LIKE 'message_id%'"


@dataclass(frozen=True, slots=True)
class Cost:
    """Appends until one was refused, their time in seconds, and the bytes of all ids."""

    appends: int
    seconds: float
    cpu_seconds: float
    bytes: int


async def fill(folder: Path, limits: StreamLimits, most: int, batch: int, *, ids: bool) -> Cost:
    """Append until an id is refused, or `most` messages in transactions of `batch`."""
    path = folder / "switchboard.db"
    database = await Database.open(path)
    log = await SqlStreamLog.open(database, folder / "streams.guard", limits)
    began, spent, taken = time.perf_counter(), time.process_time(), 0
    try:
        for start in range(0, most, batch):
            numbers = range(start, min(most, start + batch))
            outcomes = await log.append([_append(number, ids=ids) for number in numbers])
            refused = sum(isinstance(one, Refused) for one in outcomes)
            taken += len(outcomes) - refused
            if refused:
                break
        seconds, spent = time.perf_counter() - began, time.process_time() - spent
    finally:
        await log.close()
        await database.close()
    with closing(sqlite3.connect(path)) as connection:
        return Cost(taken, seconds, spent, connection.execute(_SPACE).fetchone()[0])


def _append(number: int, *, ids: bool) -> Append:
    # As random as those of clients: the low digits come first.
    text = str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)))
    device = 1 + number % 3
    return Append(
        _USER,
        "bench.tick",
        b'{"n":1}',
        source_device=device,
        owner=f"device:{device}",
        sender=f"user:{_USER}",
        message_id=text if ids else None,
        digest=bytes(HASH_BYTES),
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    about, _, more = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m scripts.benchmark.ids", description=f"{about}\n{more}"
    )
    parser.add_argument("--batch", type=int, default=64, help="messages in a transaction")
    return parser.parse_args(arguments)


def measure(batch: int) -> tuple[Cost, Cost]:
    """Return the cost of as many ids as a user may add in a day, and of as many without ids."""
    per_user = Settings.model_fields["message_ids_per_user"].default
    limits = StreamLimits(30, 10_000, 1000, ids_per_user=per_user)
    costs: list[Cost] = []
    for ids in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            # Without an id nothing is refused.
            most = costs[0].appends if costs else 10 * per_user
            costs.append(asyncio.run(fill(Path(folder), limits, most, batch, ids=ids)))
    return costs[0], costs[1]


def main(arguments: Sequence[str]) -> None:
    """Print the figures: of ids in transactions of `--batch` messages."""
    # The log of the server would say that the user has reached the limit.
    logging.disable(logging.WARNING)
    with_ids, without = measure(_options(arguments).batch)
    each = with_ids.bytes / with_ids.appends
    print(f"ids that a user may add in 24 hours   {with_ids.appends:,}")
    print(f"bytes of each                         {each:.0f}")
    print(f"megabytes a day                       {with_ids.bytes / 1e6:.1f}")
    for name, cost in (("with", with_ids), ("without", without)):
        rate, spent = cost.appends / cost.seconds, cost.cpu_seconds / cost.appends * 1e6
        print(f"messages a second {name:<8}            {rate:,.0f}, {spent:.1f} µs of CPU each")


if __name__ == "__main__":
    main(sys.argv[1:])
