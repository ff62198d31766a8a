"""crash: kills the server again and again while many devices write and read."""

import argparse
import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scripts.benchmark.population import populate
from scripts.faults.image import examine, examine_torn
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

Moment = Literal["writing", "starting", "returning"]

STARTING_SECONDS = 1.5
"""About what a start takes; a kill falls somewhere into it."""

RETURNING_SECONDS = 0.5
"""Time after a start in which all devices come back and most are behind."""

TABS_EVERY = 10


@dataclass(slots=True)
class Kills:
    """Kills the server, and examines the files that each kill leaves."""

    server: Server
    images: Path
    rng: random.Random
    moments: dict[Moment, int] = field(
        default_factory=lambda: {"writing": 0, "starting": 0, "returning": 0}
    )
    faults: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """From each start to the first answer."""

    @property
    def count(self) -> int:
        """How often the server was killed."""
        return sum(self.moments.values())

    def strike(self, moment: Moment, wait: float) -> None:
        """Kill the server after so many seconds, and examine its files."""
        time.sleep(wait)
        self.server.kill()
        self.moments[moment] += 1
        image = examine(self.server.database, self.images)
        torn = examine_torn(self.server.database, self.images, self.rng)
        if not image.good:
            self.faults.append(f"the crash image of kill {self.count}: {image.integrity}")
        if torn != image:
            self.faults.append(f"the torn image of kill {self.count}: {torn}, not {image}")

    def restart(self) -> None:
        """Start it and wait until it answers."""
        began = time.monotonic()
        self.server.start()
        self.server.wait_until_healthy()
        self.seconds.append(time.monotonic() - began)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--messages", type=int, default=100_000)


def plan_moments(kills: int, rng: random.Random) -> list[Moment]:
    """Return the moment of each kill: most while devices write, some where it hurts most.

    The first falls while devices write, so that there is something to lose and to come back to.
    """
    kinds: tuple[Moment, ...] = ("writing", "starting", "returning")
    return [*kinds[:1], *rng.choices(kinds, weights=(6, 2, 2), k=kills)][:kills]


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Kill and restart the server, and have the checker judge the journals."""
    rng = random.Random(options.seed)
    each = -(-options.devices // options.users)
    with Server(folder / "data") as server:
        tokens = asyncio.run(populate(server.database, options.users, each))[: options.devices]
        journal = folder / "journal"
        plan = Plan(
            server.port,
            rng.getrandbits(32),
            str(journal),
            accounts(tokens, each, TABS_EVERY),
            {"messages": options.messages},
        )
        kills = Kills(server, folder / "image", rng)
        kills.restart()
        began = time.monotonic()
        with Program("scripts.faults.writing", plan, folder) as program:
            program.until("ready")
            program.tell("go")
            _kill_on(program, kills, options)
            program.until("done")
        seconds = time.monotonic() - began
        server.stop()
        last = examine(server.database, folder / "image")
        errors = server.errors()
    checked = run_checker([journal])
    if not last.good:
        kills.faults.append(f"the database at the end: {last.integrity}")
    kills.faults += [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    facts = {
        "kills": f"{kills.count} {_moments(kills)}",
        "rows at the end": f"{last.messages:,}",
        "slowest restart": f"{max(kills.seconds):.2f} s",
        "duration": f"{seconds:.0f} s",
    }
    return Outcome(facts, kills.faults, checked)


def _kill_on(program: Program, kills: Kills, options: argparse.Namespace) -> None:
    """Spread the kills over the messages; one at a start follows the kill before it at once."""
    moments = plan_moments(options.kills, kills.rng)
    # Some messages come after the last kill.
    points = sorted(kills.rng.uniform(0, 0.95 * options.messages) for _ in moments)
    for moment, point in zip(moments, points, strict=True):
        if moment == "writing":
            program.until("answered", int(point))
            kills.strike("writing", kills.rng.uniform(0, 0.05))
        elif moment == "returning":
            kills.strike("returning", kills.rng.uniform(0, RETURNING_SECONDS))
        else:
            kills.server.stop()
            kills.server.start()
            kills.strike("starting", kills.rng.uniform(0, STARTING_SECONDS))
        kills.restart()


def _moments(kills: Kills) -> str:
    told = ", ".join(f"{count} {moment}" for moment, count in kills.moments.items() if count)
    return f"({told})"
