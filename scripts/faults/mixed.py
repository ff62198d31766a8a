"""mixed: hours of writing with kills, cut connections and slow readers; memory stays."""

import argparse
import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.benchmark.population import populate
from scripts.benchmark.process import memory
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

TABS_EVERY: Final = 10

STALL_SECONDS: Final = 3
"""The server's setting: some readers stop for longer and are closed, others go on in time."""

MEGABYTE: Final = 1 << 20
MAX_GROWTH: Final = 16 * MEGABYTE
"""Of one server from the time when everybody is back until it is killed; and of the last server
beside the first, whose database is small."""

WARM_SHARE: Final = 1 / 3
"""The part of a server's life after which everybody is back and its caches are filled."""


@dataclass(frozen=True, slots=True)
class Life:
    """Bytes of one server's memory when it is warm, and before its end."""

    warm: int
    last: int

    @property
    def growth(self) -> int:
        """How much it grew, in bytes."""
        return self.last - self.warm


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--kill-minutes", type=float, default=1, help="between two kills")
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--users", type=int, default=25)
    parser.add_argument("--per-second", type=int, default=200, help="messages of all devices")
    parser.add_argument("--cuts", type=int, default=60, help="connections cut in a minute")
    parser.add_argument("--stalls", type=int, default=60, help="readers that stop in a minute")


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Let the devices write under all kinds of trouble, and have the checker judge the journals."""
    rng = random.Random(options.seed)
    each = -(-options.devices // options.users)
    journal = folder / "journal"
    do = {
        "seconds": options.minutes * 60,
        "per_second": options.per_second,
        "cuts": options.cuts,
        "stalls": options.stalls,
        "stall_seconds": 2 * STALL_SECONDS,
    }
    with Server(folder / "data", {"STALL_SECONDS": str(STALL_SECONDS)}) as server:
        tokens = asyncio.run(populate(server.database, options.users, each))[: options.devices]
        people = accounts(tokens, each, TABS_EVERY)
        plan = Plan(server.port, rng.getrandbits(32), str(journal), people, do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.mixing", plan, folder) as program:
            program.until("ready")
            program.tell("go")
            lives = _live(server, options.minutes * 60, options.kill_minutes * 60)
            written = program.until("written")
            answered = program.until("answered")["count"]
            program.until("done")
        server.stop()
        errors = server.errors()
    checked = run_checker([journal])
    facts = {
        "minutes": f"{options.minutes:g}",
        "kills": f"{len(lives) - 1:,}",
        "cuts": f"{written['cuts']:,}",
        "readers that stopped": f"{written['stalls']:,}",
        "answers": f"{answered:,}",
        "memory, warm": f"{_told(lives[0].warm)} of the first, {_told(lives[-1].warm)} of the last",
        "memory grew by": f"{_told(max(life.growth for life in lives))} at most in one life",
    }
    faults = [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    return Outcome(facts, faults + _growths(lives), checked)


def _live(server: Server, seconds: float, life: float) -> list[Life]:
    """Kill the server after each `life` and start it again, until all the seconds are over.

    What a start takes does not count: on a busy machine it may be longer than a life.
    """
    lives: list[Life] = []
    left = seconds
    while True:
        # What would be left for the next one must be a whole life.
        last = left < 2 * life
        lives.append(_one_life(server, left if last else life))
        if last:
            return lives
        left -= life
        server.kill()
        server.start()
        server.wait_until_healthy()


def _one_life(server: Server, seconds: float) -> Life:
    time.sleep(seconds * WARM_SHARE)
    warm = memory(server.pid).rss
    time.sleep(seconds * (1 - WARM_SHARE))
    return Life(warm, memory(server.pid).rss)


def _growths(lives: list[Life]) -> list[str]:
    faults = [
        f"memory of server {number} grew by {_told(life.growth)}"
        for number, life in enumerate(lives, 1)
        if life.growth > MAX_GROWTH
    ]
    if (beside := lives[-1].warm - lives[0].warm) > MAX_GROWTH:
        faults.append(f"the last server took {_told(beside)} more than the first")
    return faults


def _told(count: int) -> str:
    return f"{count / MEGABYTE:.1f} MB"
