"""slow: some devices read nothing while messages flow; the server does not mind, nor do others."""

import argparse
import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors
from scripts.faults.memory import Taken, Watch
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

DEVICES_EACH: Final = 10
HUNG_EACH: Final = 5
"""Stalled devices of one user; the other half of its devices reads."""

BUSY_SHARE: Final = 0.6
SIZE: Final = 1500
"""Characters of a text. With all of it queued, 50 stalled devices would hold 450 MB."""

MEGABYTE: Final = 1 << 20
MAX_GROWTH: Final = 64 * MEGABYTE
MAX_SLOWER: Final = 2.0


@dataclass(frozen=True, slots=True)
class Flow:
    """What one run took."""

    latencies: dict[str, Any]
    left_behind: int
    """Connections that were catching up, or had been closed, when all was sent."""
    first: Taken
    most: Taken
    checked: bool
    errors: list[str]

    @property
    def growth(self) -> int:
        """Bytes."""
        return self.most.total - self.first.total


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what a person may choose."""
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--stalled", type=int, default=50)
    parser.add_argument("--messages", type=int, default=100_000, help="every other one durable")
    parser.add_argument("--per-second", type=int, default=1500)
    parser.add_argument(
        "--untimed", action="store_true", help="only the stalled run; latencies are not judged"
    )


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Let messages flow with and without stalled devices."""
    allow_descriptors(options.devices + 1000)
    rng = random.Random(options.seed)
    runs: dict[str, Flow] = {}
    for name in ("stalled",) if options.untimed else ("none stalled", "stalled"):
        place = folder / name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        runs[name] = _flow(options, place, rng.getrandbits(32), stall=name == "stalled")
    faults = [
        f"{name}: the server logged an error: {e[:300]}"
        for name in runs
        for e in runs[name].errors[:5]
    ]
    if runs["stalled"].left_behind < options.stalled:
        faults.append("some that read nothing were not behind: the trial shows nothing")
    growth = runs["stalled"].growth
    if growth >= MAX_GROWTH:
        faults.append(f"memory grew by {growth / MEGABYTE:.0f} MB")
    facts: dict[str, str] = {}
    for name, flow in runs.items():
        facts |= _facts(name, flow)
    if not options.untimed:
        for kind in ("durable", "ephemeral"):
            slower = _slower(runs, kind)
            facts[f"{kind} p99, stalled / none"] = f"{slower:.2f}"
            if slower > MAX_SLOWER:
                faults.append(f"the {kind} p99 of the others is {slower:.2f} times as long")
    return Outcome(facts, faults, all(flow.checked for flow in runs.values()))


def _slower(runs: dict[str, Flow], kind: str) -> float:
    with_stalled, without = (
        runs[name].latencies[f"{kind} p99"] for name in ("stalled", "none stalled")
    )
    return float(with_stalled / without)


def _facts(name: str, flow: Flow) -> dict[str, str]:
    told = flow.latencies
    lines = {
        f"{name}: {kind} latency": f"p50 {told[f'{kind} p50'] * 1000:.1f} ms, "
        f"p99 {told[f'{kind} p99'] * 1000:.1f} ms of {told[f'{kind} count']:,}"
        for kind in ("durable", "ephemeral")
    }
    process = (flow.most.process - flow.first.process) / MEGABYTE
    kernel = (flow.most.kernel - flow.first.kernel) / MEGABYTE
    grown = (
        f"{flow.growth / MEGABYTE:.1f} MB at most (process {process:+.1f}, kernel {kernel:+.1f})"
    )
    behind = f"{flow.left_behind}"
    return {**lines, f"{name}: behind or closed": behind, f"{name}: memory grew by": grown}


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
