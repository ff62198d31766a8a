"""slow: some devices read nothing while messages flow, at no cost to the others or the memory."""

import argparse
import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors
from scripts.faults.latencies import Figures, in_words, times_as_long
from scripts.faults.memory import Taken, Watch
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

DEVICES_EACH: Final = 10
HUNG_EACH: Final = 5
"""Stalled devices of one user; its other devices read."""

BUSY_SHARE: Final = 0.6
SIZE: Final = 1500
"""Characters of a text. If all were queued, 50 stalled devices would hold 450 MB."""

KINDS: Final = ("durable", "ephemeral")

MEGABYTE: Final = 1 << 20
MAX_GROWTH: Final = 64 * MEGABYTE
MAX_SLOWER: Final = 2.0


@dataclass(frozen=True, slots=True)
class Flow:
    """The figures of one run."""

    latencies: Figures
    left_behind: int
    """Connections that were behind, or had been closed, when all was sent."""
    first: Taken
    most: Taken
    checked: bool
    errors: list[str]

    @property
    def growth(self) -> int:
        """How much the memory grew, in bytes."""
        return self.most.total - self.first.total


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--stalled", type=int, default=50)
    parser.add_argument("--messages", type=int, default=100_000, help="every other one durable")
    parser.add_argument("--per-second", type=int, default=1500)
    parser.add_argument("--turns", type=int, default=1, help="of both runs; medians are compared")
    parser.add_argument(
        "--untimed", action="store_true", help="only the stalled run; latencies are not judged"
    )


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Let messages flow with and without stalled devices, in turn."""
    allow_descriptors(options.devices + 1000)
    rng = random.Random(options.seed)
    names = ("stalled",) if options.untimed else ("none stalled", "stalled")
    runs: dict[str, list[Flow]] = {name: [] for name in names}
    for turn in range(max(1, options.turns)):
        for name, flows in runs.items():
            place = folder / f"{turn}-{name.replace(' ', '-')}"
            place.mkdir(exist_ok=True)
            flows.append(_flow(options, place, rng.getrandbits(32), stall=name == "stalled"))
    facts = {
        f"{name}{f' {turn}' if turn else ''}: {fact}": what
        for name, flows in runs.items()
        for turn, flow in enumerate(flows)
        for fact, what in _facts(flow).items()
    }
    faults = _faults(runs, options.stalled)
    if not options.untimed:
        _compare(runs, facts, faults)
    every = [flow for flows in runs.values() for flow in flows]
    return Outcome(facts, faults, all(flow.checked for flow in every))


def _faults(runs: Mapping[str, Sequence[Flow]], stalled: int) -> list[str]:
    faults = [
        f"the server logged an error: {line[:300]}"
        for flows in runs.values()
        for flow in flows
        for line in flow.errors[:5]
    ]
    for flow in runs["stalled"]:
        if flow.left_behind < stalled:
            faults.append("some that read nothing were not behind: the trial shows nothing")
        if flow.growth >= MAX_GROWTH:
            faults.append(f"memory grew by {flow.growth / MEGABYTE:.0f} MB")
    return faults


def _compare(runs: Mapping[str, Sequence[Flow]], facts: dict[str, str], faults: list[str]) -> None:
    figures = {name: [flow.latencies for flow in flows] for name, flows in runs.items()}
    for kind in KINDS:
        slower = times_as_long(kind, figures["stalled"], figures["none stalled"])
        facts[f"{kind} p99, stalled / none"] = f"{slower:.2f}"
        if slower > MAX_SLOWER:
            faults.append(f"the {kind} p99 of the others is {slower:.2f} times as long")


def _facts(flow: Flow) -> dict[str, str]:
    lines = {f"{kind} latency": in_words(flow.latencies, kind) for kind in KINDS}
    process = (flow.most.process - flow.first.process) / MEGABYTE
    kernel = (flow.most.kernel - flow.first.kernel) / MEGABYTE
    grown = (
        f"{flow.growth / MEGABYTE:.1f} MB at most (process {process:+.1f}, kernel {kernel:+.1f})"
    )
    return {**lines, "behind or closed": str(flow.left_behind), "memory grew by": grown}


def _left_behind(server: Server) -> int:
    behind = server.metric("switchboard_behind_connections")
    came = server.metric("switchboard_connections_accepted_total")
    return int(behind + came - server.metric("switchboard_connections"))


def _flow(options: argparse.Namespace, folder: Path, seed: int, *, stall: bool) -> Flow:
    users = -(-options.devices // DEVICES_EACH)
    do = {
        "messages": options.messages,
        "per_second": options.per_second,
        "size": SIZE,
        "busy_users": min(users, -(-options.stalled // HUNG_EACH)),
        "busy_share": BUSY_SHARE,
        "hung_each": HUNG_EACH,
        "stall": stall,
    }
    journal = folder / "journal"
    with Server(folder / "data", {"HEARTBEAT_SECONDS": "25"}) as server:
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))[: options.devices]
        plan = Plan(server.port, seed, str(journal), accounts(tokens, DEVICES_EACH), do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.stalling", plan, folder) as program:
            program.until("ready")
            with Watch(server.pid, server.port) as watch:
                program.tell("go")
                latencies = program.until("sent", seconds=1800)
                left_behind = _left_behind(server)
                program.tell("release")
                program.until("done")
        server.stop()
        errors = server.errors()
    durable = options.messages // 2
    checked = run_checker([journal], expect=durable + users)
    return Flow(latencies, left_behind, watch.first, watch.most, checked, errors)
