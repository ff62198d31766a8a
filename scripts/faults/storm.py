"""storm: thousands of devices come back at once after a restart, with messages that they missed."""

import argparse
import asyncio
import random
import time
from pathlib import Path

from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors, cpu_seconds
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

DEVICES_EACH = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--most", type=int, default=400, help="messages that a device may miss")
    parser.add_argument("--window", type=int, default=5, help="seconds in which all come back")
    parser.add_argument(
        "--rows", type=int, help="messages that are kept for a user; all if left out"
    )
    parser.add_argument(
        "--how",
        choices=("kill", "stop"),
        default="kill",
        help="kill: all come with their position; stop: every other one leaves it to its cursor",
    )


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Restart the server under all devices, and have them come back."""
    allow_descriptors(options.devices + 1000)
    rng = random.Random(options.seed)
    users = -(-options.devices // DEVICES_EACH)
    settings = {"HEARTBEAT_SECONDS": "25"}
    removes = options.rows is not None
    if removes:
        settings["RETENTION_ROWS"] = str(options.rows)
    with Server(folder / "data", settings) as server:
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))[: options.devices]
        do = {"most": options.most, "seconds": options.window, "by_cursor": options.how == "stop"}
        people = accounts(tokens, DEVICES_EACH)
        journal = folder / "journal"
        plan = Plan(server.port, rng.getrandbits(32), str(journal), people, do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.storming", plan, folder) as program:
            facts = _storm(program, server, options)
        server.stop()
        errors = server.errors()
    checked = run_checker([journal], expect=users * (options.most + 1), removes=removes)
    faults = [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    return Outcome(facts, faults, checked)


def _storm(program: Program, server: Server, options: argparse.Namespace) -> dict[str, str]:
    program.until("ready")
    program.tell("go")
    written = program.until("written", seconds=600)
    if options.how == "kill":
        server.kill()
    else:
        server.stop()
    server.start()
    server.wait_until_healthy()
    began, spent = time.monotonic(), cpu_seconds(server.pid)
    program.tell("back")
    caught = program.until("caught", seconds=600)
    spent = cpu_seconds(server.pid) - spent
    program.until("done")
    return {
        "restarted by": "kill -9" if options.how == "kill" else "SIGTERM",
        "came back": f"{options.devices:,} in {caught['last_back'] - began:.1f} s",
        "messages missed": f"{written['missed']:,}, up to {options.most} each",
        "last has everything": f"{caught['at'] - began:.2f} s after the restart",
        "to catch up": f"p50 {caught['p50']:.3f} s, p99 {caught['p99']:.3f} s each",
        "server CPU": f"{spent:.2f} s, {spent / options.devices * 1e6:,.0f} µs per resume",
    }
