"""revoke: thousands of sessions end, and their connections close at once and get nothing more."""

import argparse
import asyncio
import random
from pathlib import Path
from typing import Final

from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors
from scripts.faults.latencies import in_words
from scripts.faults.outcome import Outcome
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.revoking import KINDS
from scripts.faults.server import Server

DEVICES_EACH: Final = 10
MOST_SECONDS: Final = 1.0
"""From the request that ends a session to the close of its connection: the 99th percentile."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--devices", type=int, default=5000)
    parser.add_argument("--per-second", type=int, default=50, help="requests that end sessions")
    parser.add_argument("--messages-per-second", type=int, default=200, help="each to nine devices")
    parser.add_argument("--untimed", action="store_true", help="latencies are not judged")


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """End all sessions but one of each user, while messages flow."""
    allow_descriptors(options.devices + 1000)
    users = -(-options.devices // DEVICES_EACH)
    do = {
        "per_second": options.per_second,
        "messages_per_second": options.messages_per_second,
    }
    with Server(folder / "data", {"HEARTBEAT_SECONDS": "25"}) as server:
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))[: options.devices]
        seed = random.Random(options.seed).getrandbits(32)
        people = accounts(tokens, DEVICES_EACH)
        plan = Plan(server.port, seed, str(folder / "journal"), people, do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.revoking", plan, folder) as program:
            program.until("ready")
            before = int(server.metric("switchboard_connections"))
            program.tell("go")
            done = program.until("done", seconds=1800)
            closed = program.until("closed")["count"]
        server.stop()
        errors = server.errors()
    figures = done["latencies"]
    facts = {
        "connections": f"{before:,}",
        "closed": f"{closed:,}",
        "messages meanwhile": f"{done['received']:,} received",
    }
    facts |= {kind: f"from request to close {in_words(figures, kind)}" for kind in KINDS}
    faults = [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    faults += [f"{what}, {times} times" for what, times in done["wrong"].items()]
    if closed != options.devices - users:
        faults.append(f"{closed} connections were closed, not {options.devices - users}")
    if not options.untimed:
        faults += [
            f"{kind}: the p99 is {figures[f'{kind} p99']:.2f} s"
            for kind in KINDS
            if figures[f"{kind} p99"] >= MOST_SECONDS
        ]
    return Outcome(facts, faults, checked=True)
