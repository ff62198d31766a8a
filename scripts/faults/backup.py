"""backup: backs up a large database again and again while devices send.

The other runs are without backups. The 99th percentile of durable messages, from sending to
arrival, must not be longer with them by more than LONGER_SECONDS.
"""

import argparse
import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import orjson

from app.settings import ENV_PREFIX
from app.streams.base import Append, row_values
from app.streams.checksum import with_checksum
from app.streams.rows import ROW_COLUMNS, quoted
from scripts.benchmark.population import populate
from scripts.faults.latencies import Figures, in_words
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import ROOT, Server

USERS: Final = 10
DEVICES_EACH: Final = 4
SIZE: Final = 200

LONGER_SECONDS: Final = 0.025
"""A tenth of what a sync of 500 MB at the end took where docs/decisions/0034 was measured."""

FILL_ROWS: Final = 10_000
FILL_BYTES: Final = 900
NOBODY: Final = 1 << 40
"""The user whose messages fill the database."""


@dataclass(slots=True)
class Flow:
    """What one run showed."""

    latencies: Figures = field(default_factory=dict)
    checked: bool = False
    errors: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Of each backup."""
    bytes: int = 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--messages", type=int, default=12_000, help="every other one is durable")
    parser.add_argument("--per-second", type=int, default=400)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--untimed", action="store_true", help="latencies are not judged")


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Let messages flow without and with backups, in turn."""
    rng = random.Random(options.seed)
    runs: dict[str, list[Flow]] = {"no backup": [], "with backups": []}
    for turn in range(max(1, options.turns)):
        for name, flows in runs.items():
            place = folder / f"{turn}-{name.replace(' ', '-')}"
            place.mkdir()
            flows.append(_flow(options, place, rng.getrandbits(32), backups=name == "with backups"))
    every = [flow for flows in runs.values() for flow in flows]
    faults = [f"the server logged an error: {one[:300]}" for flow in every for one in flow.errors]
    facts = {
        f"{name}{f' {turn}' if turn else ''}": in_words(flow.latencies, "durable")
        for name, flows in runs.items()
        for turn, flow in enumerate(flows)
    }
    seconds = [one for flow in runs["with backups"] for one in flow.seconds]
    facts["backups"] = str(len(seconds))
    facts["size"] = f"{runs['with backups'][-1].bytes / 1e6:,.0f} MB"
    facts["seconds of one"] = f"{median(seconds):.1f} (most {max(seconds):.1f})"
    p99 = {
        name: median(flow.latencies["durable p99"] for flow in flows)
        for name, flows in runs.items()
    }
    longer = p99["with backups"] - p99["no backup"]
    facts["durable p99 longer by"] = f"{longer * 1000:.1f} ms"
    if longer > LONGER_SECONDS and not options.untimed:
        faults.append(f"backups make the p99 of durable messages {longer * 1000:.0f} ms longer")
    return Outcome(facts, faults, all(flow.checked for flow in every))


def _flow(options: argparse.Namespace, folder: Path, seed: int, *, backups: bool) -> Flow:
    flow = Flow()
    do = {
        "messages": options.messages,
        "per_second": options.per_second,
        "size": SIZE,
        "busy_users": 0,
        "busy_share": 0,
        "hung_each": 0,
        "stall": False,
    }
    journal = folder / "journal"
    with Server(folder / "data", {"HEARTBEAT_SECONDS": "25"}) as server:
        tokens = asyncio.run(populate(server.database, USERS, DEVICES_EACH))
        _fill(server.database, options.megabytes)
        plan = Plan(server.port, seed, str(journal), accounts(tokens, DEVICES_EACH), do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.stalling", plan, folder) as program:
            program.until("ready")
            program.tell("go")
            if backups:
                _back_up_until(options.messages, program, server, flow)
            flow.latencies = program.until("sent", seconds=1800)
            program.tell("release")
            program.until("done")
        server.stop()
        flow.errors = server.errors()
    # The next run must not find the disk busy with the removal of this one's files.
    for path in (server.database, *folder.glob("*.db")):
        path.unlink()
    os.sync()
    flow.checked = run_checker([journal], expect=options.messages // 2 + USERS)
    return flow


def _back_up_until(messages: int, program: Program, server: Server, flow: Flow) -> None:
    """Make one backup after the other, each a file of its own, until most messages are sent."""
    while program.until("sending")["count"] < 0.9 * messages:
        told = _back_up(server.folder, server.folder.parent / f"{len(flow.seconds)}.db")
        flow.seconds.append(float(str(told["seconds"])))
        flow.bytes = int(str(told["bytes"]))


def _back_up(data_dir: Path, target: Path) -> Mapping[str, object]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
    words = ["backup", str(target), "--json", "--data-dir", str(data_dir)]
    command = [sys.executable, "-m", "app", *words]
    outcome = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, check=False)
    if outcome.returncode:
        raise OSError(f"backup failed: {outcome.stderr.decode()}")
    told: Mapping[str, object] = orjson.loads(outcome.stdout)
    return told


LAST: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'"
"""The newest offset that was ever given out."""


def _fill(database: Path, megabytes: int) -> None:
    """Store messages of nobody until the file has this size."""
    now = int(time.time() * 1000)
    places = ", ".join("?" * len(ROW_COLUMNS))
    insert = f"INSERT INTO messages ({quoted(ROW_COLUMNS)}) VALUES ({places})"  # noqa: S608
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        (last,) = connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'messages'"
        ).fetchone()
        while database.stat().st_size < megabytes * 1_000_000:
            text = b'"%b"' % os.urandom(FILL_BYTES // 2).hex().encode()
            filled = Append(NOBODY, "note.text", text)
            rows = [row_values(filled, last + 1 + row, now) for row in range(FILL_ROWS)]
            connection.executemany(insert, map(with_checksum, rows))
            last += FILL_ROWS
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
