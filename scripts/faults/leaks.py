"""leaks: peers come and die in every way, and the server holds what it held before, exactly."""

import argparse
import asyncio
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors, memory
from scripts.benchmark.tls import certificate
from scripts.faults.dying import mortals
from scripts.faults.outcome import Outcome
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

DEVICES_EACH: Final = 10
FEATURE: Final = "scripts.faults.census:census"
SETTLE_SECONDS: Final = 60
"""How long the server may take until all that has ended is gone."""

GAUGES: Final = (
    *("connections", "devices", "users_online", "connections_ending"),
    *("places_taken", "handshakes", "addresses"),
    *("slow_connections", "outbox_frames", "behind_connections"),
    *("appends_waiting", "handlers_running", "messages_waiting"),
)

CACHED: Final = (
    *("app.auth.", "app.streams.", "app.storage.", "app.base."),
    *("app.node.allowance.", "app.node.limited."),
)
"""Where objects may be in caches, which are bounded, or are a user's for a minute after the last
connection; of others there must be no more."""

FLEETING: Final = 16
"""Objects of the event loop that may be there by chance, such as timers of requests for metrics."""

MEGABYTE: Final = 1 << 20
MAX_GROWTH: Final = 16 * MEGABYTE
"""Of memory: the allocator gives nothing back of pages on which a little is in use."""


@dataclass(frozen=True, slots=True)
class State:
    """What the server holds while nobody is connected."""

    counts: Mapping[str, int]
    objects: Mapping[str, int]
    memory: int


@dataclass(frozen=True, slots=True)
class Run:
    """What one server held before and after, and what the peers say of it."""

    before: State
    after: State
    ended: Mapping[str, Any]
    closed: Mapping[str, int]
    errors: list[str]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--connects", type=int, default=100_000, help="without TLS")
    parser.add_argument("--tls-connects", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=64, help="peers that live and die")
    parser.add_argument(
        "--heartbeat", type=float, default=5, help="seconds; a silent peer takes 1.5 of them"
    )


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Have peers die on a server without TLS, and on one with it."""
    # A peer may have some connections side by side.
    allow_descriptors(32 * options.at_once + 1000)
    rng = random.Random(options.seed)
    facts: dict[str, str] = {}
    faults: list[str] = []
    for name, connects in (("plain", options.connects), ("TLS", options.tls_connects)):
        if not connects:
            continue
        place = folder / name
        place.mkdir(exist_ok=True)
        one = _run(options, place, rng.getrandbits(32), connects, tls=name == "TLS")
        facts |= {f"{name}: {fact}": what for fact, what in _facts(one).items()}
        faults += [f"{name}: {fault}" for fault in _faults(one)]
    return Outcome(facts, faults, checked=True)


def _run(options: argparse.Namespace, folder: Path, seed: int, connects: int, *, tls: bool) -> Run:
    # What is made once, such as threads and caches, is there before the first count.
    warm = max(connects // 10, 20 * options.at_once)
    files = certificate(folder) if tls else None
    settings = {
        "FEATURES": FEATURE,
        "HEARTBEAT_SECONDS": str(options.heartbeat),
        "MESSAGES_PER_SECOND": "100",
        # So that the addresses that peers name are counted.
        "TRUSTED_PROXIES": "127.0.0.0/8",
        "MAX_CONNECTIONS_PER_ADDRESS": "1000000",
    }
    do = {
        "connects": {"warm": warm, "go": connects},
        "at_once": options.at_once,
        "certificate": str(files.chain) if files else "",
    }
    # The first device of each user stays.
    users = -(-(mortals(connects) + mortals(warm)) // (DEVICES_EACH - 1))
    users = max(users, options.at_once) + 1
    with Server(folder / "data", settings, certificate=files) as server:
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))
        people = accounts(tokens, DEVICES_EACH)
        plan = Plan(server.port, seed, str(folder / "journal"), people, do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.dying", plan, folder) as program:
            program.until("ready")
            program.tell("warm")
            program.until("warm ended", seconds=1800)
            before = _state(server, program, "before", None)
            program.tell("go")
            ended = program.until("go ended", seconds=3600)
            after = _state(server, program, "after", before)
            program.tell("")
        closed = _closed(server)
        server.stop()
        return Run(before, after, ended, closed, server.errors())


def _state(server: Server, program: Program, word: str, known: State | None) -> State:
    """Return what the server holds, once nobody is connected and it is as much as was `known`."""
    _settle(server, None)
    program.tell(word)
    told = program.until(f"{word} counted")
    counts = _settle(server, known.counts if known else None)
    counts["tasks"] = told["tasks"]
    return State(counts, told["objects"], memory(server.pid).rss)


def _settle(server: Server, known: Mapping[str, int] | None) -> dict[str, int]:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        counts = _counts(server)
        as_known = known is None or all(count <= known[name] for name, count in counts.items())
        if time.monotonic() > deadline or (as_known and not counts["places_taken"]):
            return counts
        time.sleep(0.1)


def _counts(server: Server) -> dict[str, int]:
    process, metrics = Path(f"/proc/{server.pid}"), server.metrics()
    return {
        **{name: int(metrics[f"switchboard_{name}"]) for name in GAUGES},
        "descriptors": len(list((process / "fd").iterdir())),
        "threads": len(list((process / "task").iterdir())),
    }


def _closed(server: Server) -> dict[str, int]:
    name = "switchboard_connections_closed_total{code="
    metrics = server.metrics()
    return {key.split('"')[1]: int(metrics[key]) for key in metrics if key.startswith(name)}


def _facts(one: Run) -> dict[str, str]:
    times, growth = one.ended["times"], one.after.memory - one.before.memory
    return {
        "connects": f"{one.ended['connects']:,}",
        "ways of dying": f"{len(times)}, each {min(times.values()):,} times or more",
        "close codes": ", ".join(
            f"{code}: {count:,}" for code, count in sorted(one.closed.items())
        ),
        "descriptors": _change(one, "descriptors"),
        "tasks": _change(one, "tasks"),
        "threads": _change(one, "threads"),
        "places taken": _change(one, "places_taken"),
        "objects": f"{sum(one.before.objects.values()):,} to {sum(one.after.objects.values()):,}",
        "memory": f"{one.before.memory / MEGABYTE:.1f} MB, {growth / MEGABYTE:+.1f} MB",
    }


def _change(one: Run, name: str) -> str:
    return f"{one.before.counts[name]:,} before, {one.after.counts[name]:,} after"


def _faults(one: Run) -> Iterator[str]:
    yield from (f"the server logged an error: {line[:300]}" for line in one.errors[:5])
    yield from (f"{what}, {count} times" for what, count in one.ended["wrong"].items())
    for name, count in one.after.counts.items():
        if count > one.before.counts[name]:
            yield f"{name}: {_change(one, name)}"
    for name in one.after.objects:
        before, after = one.before.objects.get(name, 0), one.after.objects[name]
        allowed = before + (0 if name.startswith("app.") else FLEETING)
        if after > allowed and not name.startswith(CACHED):
            yield f"objects of {name}: {before} before, {after} after"
    if (growth := one.after.memory - one.before.memory) > MAX_GROWTH:
        yield f"memory grew by {growth / MEGABYTE:.1f} MB"
