"""repeat: sends every message several times, over reconnects and restarts; each is stored once."""

import argparse
import asyncio
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from scripts.benchmark.population import populate
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

USERS = 10
DEVICES_EACH = 4
REPEATS = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--restarts", type=int, default=20, help="every other one is a kill -9")


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Send while the server restarts, and have the checker judge the journals."""
    rng = random.Random(options.seed)
    with Server(folder / "data") as server:
        tokens = asyncio.run(populate(server.database, USERS, DEVICES_EACH))
        journal = folder / "journal"
        do = {
            "messages": options.messages,
            "window": 8,
            "repeats": REPEATS,
            "nameless_share": 0,
            "abandoned_share": 0,
        }
        plan = Plan(
            server.port, rng.getrandbits(32), str(journal), accounts(tokens, DEVICES_EACH), do
        )
        server.start()
        server.wait_until_healthy()
        began = time.monotonic()
        with Program("scripts.faults.writing", plan, folder) as program:
            program.until("ready")
            program.tell("go")
            _restart_on(program, server, options, rng)
            program.until("done", seconds=1800)
        seconds = time.monotonic() - began
        server.stop()
        with closing(sqlite3.connect(server.database)) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM messages").fetchone()
        errors = server.errors()
    checked = run_checker([journal], expect=options.messages)
    faults = [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    if rows != options.messages:
        faults.append(f"the table has {rows} rows, not {options.messages}")
    facts = {
        "restarts": f"{options.restarts}",
        "rows in the table": f"{rows:,}",
        "duration": f"{seconds:.0f} s",
    }
    return Outcome(facts, faults, checked)


def _restart_on(
    program: Program, server: Server, options: argparse.Namespace, rng: random.Random
) -> None:
    points = sorted(rng.uniform(0, 0.95 * options.messages) for _ in range(options.restarts))
    for place, point in enumerate(points):
        program.until("answered", int(point), seconds=1800)
        time.sleep(rng.uniform(0, 0.05))
        if place % 2:
            server.stop()
        else:
            server.kill()
        server.start()
        server.wait_until_healthy()
