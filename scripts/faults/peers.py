"""peers: hundreds of peers vanish without a word, and the server frees what it keeps for them.

They are stopped with SIGSTOP, so that their system still acknowledges what arrives, or their
network is cut, so that nothing arrives. The trial runs in a network of its own; it needs iproute2
and util-linux, and root or user namespaces.
"""

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

from scripts.benchmark.backend import add_key, post
from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors
from scripts.faults.network import APART, HERE, Cable, enter_own_network
from scripts.faults.outcome import Outcome
from scripts.faults.plan import Account, Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

DEVICES_EACH: Final = 10
LATE_SECONDS: Final = 5
"""By which the server may free them later than its settings say."""
FOREVER_SECONDS: Final = 120
"""The same where no time is judged: who is not free by then never will be."""
HEARTBEATS: Final = 1.5
SAMPLE_SECONDS: Final = 0.05
LARGE: Final = "x" * 60_000
"""A message of which a few fill the buffers of a peer's system and of the server's."""
MOST_MESSAGES: Final = 200

EMPTY: Final = ("05", "06", "0A")
"""States in which a socket holds no bytes: FIN_WAIT2 without an owner, TIME_WAIT and LISTEN (the
kernel's tcp_states.h)."""

How = Literal["stopped", "cut"]
What = Literal["idle", "with unsent bytes", "behind", "in a frame"]
HOWS: Final[tuple[How, ...]] = ("stopped", "cut")
WHATS: Final[tuple[What, ...]] = ("idle", "with unsent bytes", "behind", "in a frame")

FILLED: Final[Mapping[What, tuple[str, str]]] = {
    "with unsent bytes": ("none", "switchboard_slow_connections"),
    "behind": ("log", "switchboard_behind_connections"),
}
"""How messages are kept that peers do not take, and the metric that tells how many do not."""


@dataclass(frozen=True, slots=True)
class Case:
    """How peers vanish, and what they were doing."""

    how: How
    what: What

    def __str__(self) -> str:
        return f"{self.how}, {self.what}"


@dataclass(frozen=True, slots=True)
class Freed:
    """Seconds from the vanishing until the first and the last peer was freed, and close codes.

    `left` were not free in time. `orphans` are sockets with bytes that the kernel still had then:
    it tries to deliver the close for up to `stall_seconds`.
    """

    first: float
    last: float
    codes: dict[str, int]
    left: int
    orphans: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--peers", type=int, default=300, help="that vanish in each way")
    parser.add_argument("--how", choices=HOWS, help="the only way in which they vanish")
    parser.add_argument("--heartbeat", type=float, default=25, help="the server's, in seconds")
    parser.add_argument("--stall", type=float, default=60, help="the server's stall_seconds")
    parser.add_argument("--message", type=float, default=30, help="the server's message_seconds")
    parser.add_argument("--untimed", action="store_true", help="let them be free late")


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Have peers vanish in each way, and time how long the server keeps them."""
    enter_own_network()
    allow_descriptors(options.peers + 1000)
    settings = {
        "HOST": "0.0.0.0",  # noqa: S104 (of a network where nobody else is)
        "HEARTBEAT_SECONDS": str(options.heartbeat),
        "STALL_SECONDS": str(options.stall),
        "MESSAGE_SECONDS": str(options.message),
    }
    cases = [Case(how, what) for how, what in product(HOWS, WHATS) if options.how in (None, how)]
    with Server(folder / "data", settings) as server:
        users = -(-options.peers // DEVICES_EACH)
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))[: options.peers]
        people = accounts(tokens, DEVICES_EACH)
        key = add_key(server.folder)
        server.start()
        server.wait_until_healthy()
        trial = _Trial(server, people, key, folder, random.Random(options.seed))
        freed = {case: trial.run(case, _bound(options, case.what)) for case in cases}
        server.stop()
        errors = server.errors()
    facts = {"peers": f"{options.peers:,} in each of {len(cases)} ways"}
    facts |= {str(case): _told(one, _bound(options, case.what)) for case, one in freed.items()}
    faults = [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    return Outcome(facts, faults + list(_faults(options, freed)), checked=True)


def _bound(options: argparse.Namespace, what: What) -> float:
    """Return after how many seconds a peer must be free."""
    seconds: dict[What, float] = {
        "idle": HEARTBEATS * options.heartbeat,
        "with unsent bytes": options.stall,
        "behind": options.stall,
        "in a frame": options.message,
    }
    return seconds[what] + (FOREVER_SECONDS if options.untimed else LATE_SECONDS)


class _Trial:
    """Has peers vanish from one server."""

    def __init__(
        self, server: Server, people: list[Account], key: str, folder: Path, rng: random.Random
    ) -> None:
        self._server = server
        self._people = people
        self._key = key
        self._folder = folder
        self._rng = rng

    def run(self, case: Case, bound: float) -> Freed:
        """Have all peers connect and vanish, and wait until they are freed or it is too late."""
        server = self._server
        do: dict[str, Any] = {"host": HERE, "in_frame": case.what == "in a frame"}
        journal = str(self._folder / "journal")
        plan = Plan(server.port, self._rng.getrandbits(32), journal, self._people, do)
        before, codes = self._descriptors(), self._codes()
        with ExitStack() as stack:
            program = stack.enter_context(
                Program("scripts.faults.silent", plan, self._folder, under=APART)
            )
            program.until("started")
            cable = Cable(program.pid)
            # The cable goes first: with the program it would go by itself, but some time later.
            stack.callback(os.kill, program.pid, signal.SIGKILL)
            stack.callback(cable.remove)
            program.tell("connect")
            program.until("connected")
            # Before any is in the middle of a frame, which ends it soon.
            self._check_all_there()
            program.tell("be silent")
            program.until("ready")
            self._vanish(case, program, cable)
            if case.what in FILLED:
                self._fill(*FILLED[case.what])
            # What was sent last is what takes no byte from now on.
            began = time.monotonic()
            first, last, left = self._follow(began, before, bound)
            orphans = _orphans(server.port)
            ended = self._codes()
        closed = {code: count - codes.get(code, 0) for code, count in ended.items()}
        shown = {code: count for code, count in closed.items() if count}
        return Freed(first, last, shown, left, orphans)

    def _vanish(self, case: Case, program: Program, cable: Cable) -> None:
        if case.how == "cut":
            cable.cut()
        else:
            os.kill(program.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, program.pid, os.WSTOPPED | os.WNOWAIT)

    def _check_all_there(self) -> None:
        there = int(self._server.metric("switchboard_connections"))
        if there < len(self._people):
            raise OSError(f"only {there} peers are connected: the trial shows nothing")

    def _fill(self, store: str, metric: str) -> None:
        """Send to everybody until the metric tells that it waits for every peer that is left."""
        to = {"everyone": True}
        body = {"to": to, "type": "trial.fill", "payload": LARGE, "store": store}
        for _ in range(MOST_MESSAGES):
            metrics = self._server.metrics()
            if metrics[metric] >= metrics["switchboard_connections"]:
                return
            post(self._server.port, "/v1/messages", body, self._key)
        raise OSError("the peers took all that was sent: the trial shows nothing")

    def _follow(self, began: float, before: int, bound: float) -> tuple[float, float, int]:
        """Return when the first and the last descriptor was free, and how many are not in time."""
        most, first = before + len(self._people), 0.0
        while True:
            left, now = self._descriptors() - before, time.monotonic() - began
            if not first and left < most - before:
                first = now
            if (left <= 0 and self._all_gone()) or now > bound:
                return first, now, max(0, left)
            time.sleep(SAMPLE_SECONDS)

    def _all_gone(self) -> bool:
        """Tell whether the server knows of no connection: a descriptor may be another request's."""
        return self._server.metric("switchboard_places_taken") == 0

    def _descriptors(self) -> int:
        return len(list(Path(f"/proc/{self._server.pid}/fd").iterdir()))

    def _codes(self) -> dict[str, int]:
        name = "switchboard_connections_closed_total{code="
        metrics = self._server.metrics()
        return {key.split('"')[1]: int(metrics[key]) for key in metrics if key.startswith(name)}


def _orphans(port: int) -> int:
    """Return how many sockets of the server the kernel has, but for the one that listens."""
    tables = (Path(f"/proc/net/{name}") for name in ("tcp", "tcp6"))
    rows = (line.split() for table in tables for line in table.read_text().splitlines()[1:])
    return sum(row[1].endswith(f":{port:04X}") and row[3] not in EMPTY for row in rows)


def _told(freed: Freed, bound: float) -> str:
    codes = ", ".join(f"{code}: {count:,}" for code, count in sorted(freed.codes.items()))
    return (
        f"freed after {freed.first:.1f} to {freed.last:.1f} s of {bound:g} ({codes}), "
        f"{freed.orphans} left in the kernel"
    )


def _faults(options: argparse.Namespace, freed: dict[Case, Freed]) -> Iterator[str]:
    for case, one in freed.items():
        if one.left:
            yield f"{case}: {one.left} not free after {_bound(options, case.what):g} s"
        if sum(one.codes.values()) != options.peers:
            yield f"{case}: {sum(one.codes.values())} connections ended, not {options.peers}"
