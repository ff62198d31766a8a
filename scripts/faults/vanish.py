"""vanish: removes, replaces and destroys the database while many devices write."""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final, TypeVar

from app.auth.tokens import new_token
from scripts.benchmark.population import populate
from scripts.faults.losing import VANISHINGS, WRECKS, Act, Keeper
from scripts.faults.outcome import Outcome, check_wrecked, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

T = TypeVar("T")

USERS: Final = 5
DEVICES_EACH: Final = 4

HOLD_SECONDS: Final = 1.0
"""How long devices go on writing without a database."""

NOTICE_SECONDS: Final = 30
"""After so long `/ready` must say that the database is gone."""

RETURNS: Final = ("running", "killed", "stopped")
"""What becomes of the server before the files come back."""


@dataclass(slots=True)
class Losses:
    """Takes the database away, and looks at what the server says of it."""

    server: Server
    rng: random.Random
    faults: list[str] = field(default_factory=list)
    noticed: list[float] = field(default_factory=list)
    """Seconds until `/ready` said so."""
    done: Counter[str] = field(default_factory=Counter)

    def lose(self, kind: str, act: Act, program: Program, times: int) -> None:
        """Take it away while devices write, and have them write on."""
        time.sleep(self.rng.uniform(0, 0.05))
        act(self.server.database)
        gone = time.monotonic()
        program.tell("gone")
        program.until("noted", times)
        while self.server.status("/ready") != 503:
            if time.monotonic() > gone + NOTICE_SECONDS:
                self.faults.append(f"{kind}: /ready did not tell within {NOTICE_SECONDS} s")
                break
            time.sleep(0.01)
        self.noticed.append(time.monotonic() - gone)
        self._expect(kind, "/health", 200)
        # An answer of 401 would sign the client out.
        self._expect(kind, "/v1/auth/session", 503, new_token())
        time.sleep(HOLD_SECONDS)
        self.done[kind] += 1

    def refuse_to_start(self, kind: str) -> None:
        """Look whether a start without the database makes none."""
        if not self.server.folder.exists():
            return
        said = self.server.refuses()
        if str(self.server.database) not in said or "--new-database" not in said:
            self.faults.append(f"{kind}: the start was refused with {said!r}")

    def _expect(self, kind: str, path: str, status: int, token: str | None = None) -> None:
        found = self.server.status(path, token)
        if found != status:
            self.faults.append(f"{kind}: {path} answered {found}, not {status}")

    def read_log(self) -> None:
        """Look whether the log tells of each loss once."""
        lines = [line for line in self.server.log.read_text().splitlines() if line[:1] == "{"]
        found = [line for line in map(json.loads, lines) if line["level"] == "critical"]
        if len(found) != self.done.total():
            self.faults.append(f"the log tells of {len(found)} losses, not {self.done.total()}")
        self.faults += [f"the server logged an error: {one[:300]}" for one in self.server.errors()]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--losses", type=int, default=54, help="after which the files come back")
    parser.add_argument("--wrecks", type=int, default=12, help="after which they do not")
    parser.add_argument("--messages", type=int, default=60_000)


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Lose the database again and again, and have the checker judge the journals."""
    rng = random.Random(options.seed)
    began = time.monotonic()
    with _writing(folder / "lost", options.messages, rng) as (server, program, journal):
        losses = Losses(server, rng)
        ends = _lose_on(losses, program, options, Keeper(server.database, folder / "kept"))
        program.tell("finish")
        program.until("done", seconds=600)
        server.stop()
        losses.read_log()
    checked = run_checker([journal])
    wrecks = _wreck_all(options.wrecks, folder, rng)
    facts = {
        "losses": f"{losses.done.total()} ({_told(losses.done)})",
        "came back to": f"a server {_told(ends)}",
        "wrecks": f"{wrecks.done.total()} ({_told(wrecks.done)})",
        "slowest notice": f"{max(losses.noticed + wrecks.noticed):.2f} s",
        "duration": f"{time.monotonic() - began:.0f} s",
    }
    return Outcome(facts, [*losses.faults, *wrecks.faults], checked)


@contextmanager
def _writing(
    folder: Path, messages: int, rng: random.Random
) -> Iterator[tuple[Server, Program, Path]]:
    """Give a server, and a program of devices that has begun to write to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with Server(folder / "data", log=folder / "log") as server:
        tokens = asyncio.run(populate(server.database, USERS, DEVICES_EACH))
        journal = folder / "journal"
        do = {"messages": messages}
        who = accounts(tokens, DEVICES_EACH)
        plan = Plan(server.port, rng.getrandbits(32), str(journal), who, do)
        server.start()
        server.wait_until_started()
        with Program("scripts.faults.vanishing", plan, folder) as program:
            program.until("ready")
            program.tell("go")
            yield server, program, journal


def _lose_on(
    losses: Losses, program: Program, options: argparse.Namespace, keeper: Keeper
) -> Counter[str]:
    """Spread the losses over the messages; return what became of the server in each."""
    rng, server = losses.rng, losses.server
    points = sorted(rng.uniform(0, 0.95 * options.messages) for _ in range(options.losses))
    ends: Counter[str] = Counter()
    kinds = zip(
        _deal([*VANISHINGS.items()], options.losses, rng),
        _deal(RETURNS, options.losses, rng),
        points,
        strict=True,
    )
    for place, ((kind, act), end, point) in enumerate(kinds):
        program.until("answered", int(point))
        keeper.keep()
        losses.lose(kind, act, program, 2 * place + 1)
        if end == "killed":
            server.kill()
        elif end == "stopped":
            server.stop()
        if end != "running" and kind in ("removed", "renamed"):
            losses.refuse_to_start(kind)
        # A start may make no journal of what it did before the devices know that it may.
        program.tell("back")
        program.until("noted", 2 * place + 2)
        keeper.put_back()
        if end != "running":
            server.start()
            server.wait_until_started()
        ends[end] += 1
    return ends


def _wreck_all(count: int, folder: Path, rng: random.Random) -> Losses:
    """Destroy a database each time, and return what was found."""
    every = Losses(Server(folder / "none"), rng)
    for place, (kind, act) in enumerate(_deal([*WRECKS.items()], count, rng)):
        at = folder / f"wreck-{place}"
        with _writing(at, 1_000_000, rng) as (server, program, journal):
            losses = Losses(server, rng, every.faults, every.noticed)
            program.until("answered", rng.randint(50, 1000))
            losses.lose(kind, act, program, 1)
            program.tell("end")
            if rng.random() < 0.5:
                server.kill()
            else:
                server.stop()
            if kind == "emptied":
                losses.refuse_to_start(kind)
            losses.read_log()
            every.done += losses.done
        if (said := check_wrecked(journal)) is not None:
            every.faults.append(f"{kind}: the checker found {said}")
    return every


def _deal(things: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """Return so many of the things at random, each as often as the others."""
    shuffled = rng.sample(things, len(things))
    return list(islice(cycle(shuffled), count))


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
