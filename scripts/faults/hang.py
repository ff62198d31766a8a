"""hang: a message of every device hangs in a feature; all others are handled as if none did."""

import argparse
import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors
from scripts.faults.latencies import Figures, in_words, times_as_long
from scripts.faults.memory import Watch
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

DEVICES_EACH: Final = 10
FEATURE: Final = "scripts.faults.endless:endless"

JUDGED: Final = ("ping", "ack", "device.send", "delivery")
SHOWN: Final = (*JUDGED, "durable")
"""A durable message waits for the disk, too, whose speed the trial does not judge."""
MAX_SLOWER: Final = 2.0
LATE_SECONDS: Final = 1.0
"""By which a message may be `timed_out` later than it should be."""
EARLY_SECONDS: Final = 0.1
"""By which it may be earlier: the loop counts from the beginning of its turn."""

# What docs/operations.md promises: 64 messages and 256 KiB of a connection, 64 MiB of all.
MAY_WAIT: Final = {"small": 64, "large": 4}
"""Messages of one connection, by their size."""
NODE_BYTES: Final = 67_108_864
BEHIND: Final = {"small": 68, "large": 5}
"""Messages that each device sends behind one that hangs: more than may wait."""
TEXT_BYTES: Final = {"small": 160, "large": 65_536}
"""Of one such message, or a little more."""

LEFT: Final = ("handlers_running", "messages_waiting")
CONNECTED: Final = ("connections", "connections_accepted_total")
BUSY: Final = "messages_busy_total"

MEGABYTE: Final = 1 << 20
HANDLER_BYTES: Final = 8192
"""Of one handler that hangs. Last: 6,000."""
MESSAGE_BYTES: Final = 128
"""Of one message that waits, beside its text. Last: 60."""
MARGIN_BYTES: Final = 12 * MEGABYTE
"""Of all else, such as what the allocator does not give back."""

AT_ONCE: Final = 8
"""Devices that send such messages at the same time."""
ON_THEIR_WAY_BYTES: Final = AT_ONCE * BEHIND["large"] * TEXT_BYTES["large"] * 4
"""Of large messages that are being read: Python takes up to four bytes for a character."""

MAY_BE: Final = {
    "ping": {"pong"},
    "ack": {"ok"},
    "device.send": {"ok"},
    "hang.forever": {"timed_out"},
    "hang.small": {"ok", "busy"},
    "hang.large": {"ok", "busy"},
}
"""How a message of each type may be answered."""


@dataclass(slots=True)
class Run:
    """What one run took, and what the devices said of it."""

    hang: bool
    said: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    growth: dict[str, int] = field(default_factory=dict)
    """Bytes of memory by which the server grew at most, each time."""
    handlers: list[int] = field(default_factory=list)
    """That hung at the start and at the end of what was measured."""
    left: dict[str, int] = field(default_factory=dict)
    """Metrics at the end."""
    errors: Sequence[str] = ()
    checked: bool = False

    @property
    def latencies(self) -> Figures:
        """Of the messages that did not hang."""
        return self.said["measured"]

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many messages of each type were answered how."""
        counted: Mapping[str, int] = self.said["answered"]["outcomes"]
        return counted


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what a person may choose."""
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--handler-seconds", type=int, default=10, help="after which one is ended")
    parser.add_argument("--seconds", type=int, default=20, help="of other messages, in each run")
    parser.add_argument("--per-second", type=int, default=1500, help="other messages, of all kinds")
    parser.add_argument("--turns", type=int, default=1, help="of both runs; medians are compared")
    parser.add_argument(
        "--untimed", action="store_true", help="only the run that hangs; no time is judged"
    )


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Let messages flow with and without handlers that hang, in turn."""
    allow_descriptors(options.devices + 1000)
    rng = random.Random(options.seed)
    names = ("hanging",) if options.untimed else ("none hanging", "hanging")
    runs: dict[str, list[Run]] = {name: [] for name in names}
    facts: dict[str, str] = {}
    faults: list[str] = []
    for turn in range(max(1, options.turns)):
        for name, done in runs.items():
            place = folder / f"{turn}-{name.replace(' ', '-')}"
            place.mkdir(exist_ok=True)
            one = _run(options, place, rng.getrandbits(32), hang=name == "hanging")
            done.append(one)
            told = f"{name}{f' {turn}' if turn else ''}: "
            facts |= {told + fact: what for fact, what in _facts(one).items()}
            faults += [told + fault for fault in _faults(options, one)]
    if not options.untimed:
        _compare(runs, facts, faults)
    return Outcome(facts, faults, all(one.checked for done in runs.values() for one in done))


# What happens


def _run(options: argparse.Namespace, folder: Path, seed: int, *, hang: bool) -> Run:
    users = -(-options.devices // DEVICES_EACH)
    do = {
        "hang": hang,
        "seconds": options.seconds,
        "per_second": options.per_second,
        # Then messages time out evenly, too, as they would if they had not begun at once.
        "spread": 0 if options.untimed else options.handler_seconds,
        "behind": BEHIND,
        "at_once": AT_ONCE,
    }
    settings = {"FEATURES": FEATURE, "HANDLER_SECONDS": str(options.handler_seconds)}
    journal = folder / "journal"
    one = Run(hang)
    with Server(folder / "data", {"HEARTBEAT_SECONDS": "25", **settings}) as server:
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))[: options.devices]
        plan = Plan(server.port, seed, str(journal), accounts(tokens, DEVICES_EACH), do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.hanging", plan, folder) as program:
            program.until("ready")
            _follow(one, program, server)
            one.said["answered"] = program.until("answered")
            program.until("done")
            names = (*LEFT, *CONNECTED, BUSY)
            one.left = {name: int(server.metric(f"switchboard_{name}")) for name in names}
            program.tell("leave")
        server.stop()
        one.errors = server.errors()
    one.checked = run_checker([journal], expect=one.said["measured"]["durable"] + users)
    return one


def _follow(one: Run, program: Program, server: Server) -> None:
    """Watch the server while the devices do one thing after the other."""

    @contextmanager
    def watched(what: str) -> Iterator[None]:
        with Watch(server.pid, server.port) as watch:
            yield
        one.growth[what] = watch.growth

    def hear(what: str) -> None:
        one.said[what] = program.until(what)

    def count_handlers() -> None:
        one.handlers.append(int(server.metric("switchboard_handlers_running")))

    with watched("meanwhile"):
        program.tell("go")
        if one.hang:
            hear("hanging")
            count_handlers()
        hear("measured")
        if one.hang:
            count_handlers()
            program.tell("end")
            hear("hung")
    for size in BEHIND if one.hang else ():
        with watched(size):
            program.tell(size)
            hear(f"{size} kept")
            hear(f"{size} passed")


# What is made of it


def _facts(one: Run) -> dict[str, str]:
    facts = {f"{kind} latency": in_words(one.latencies, kind) for kind in SHOWN}
    facts |= {
        f"memory grew by, {what}": f"{growth / MEGABYTE:.1f} MB at most"
        for what, growth in one.growth.items()
    }
    if one.hang:
        hung = one.said["hung"]
        facts["handlers that hung"] = " to ".join(f"{count:,}" for count in one.handlers)
        facts["ended after"] = f"{hung['shortest']:.2f} to {hung['longest']:.2f} s"
        for size in BEHIND:
            kept = one.said[f"{size} kept"]
            facts[f"{size} that waited"] = f"{kept['all']:,} of all, {kept['most']} of one"
    return facts | {outcome: f"{count:,}" for outcome, count in sorted(one.outcomes.items())}


def _faults(options: argparse.Namespace, one: Run) -> Iterator[str]:
    yield from (f"the server logged an error: {line[:300]}" for line in one.errors[:5])
    yield from _wrong_answers(one)
    expected = {**dict.fromkeys(LEFT, 0), **dict.fromkeys(CONNECTED, options.devices)}
    for name, count in expected.items():
        if one.left[name] != count:
            yield f"{name} is {one.left[name]:,} in the end, not {count:,}"
    for what, growth in one.growth.items():
        if growth >= _most_bytes(options.devices, what):
            yield f"memory grew by {growth / MEGABYTE:.1f} MB, {what}"
    if one.hang:
        yield from _wrong_bounds(options.devices, one)
        yield from _wrong_times(options, one)


def _wrong_answers(one: Run) -> Iterator[str]:
    for outcome, count in one.outcomes.items():
        type_, _, how = outcome.partition(": ")
        if how not in MAY_BE[type_]:
            yield f"{count:,} of {outcome}"
    if surplus := one.said["answered"]["surplus"]:
        yield f"{surplus:,} answers to what was not asked, or had its answer"
    busy = sum(count for outcome, count in one.outcomes.items() if outcome.endswith(": busy"))
    if busy != one.left[BUSY]:
        yield f"{busy:,} were answered busy, and the server counted {one.left[BUSY]:,}"


def _wrong_bounds(devices: int, one: Run) -> Iterator[str]:
    if min(one.handlers) < 0.95 * devices:
        yield f"only {min(one.handlers):,} handlers hung: the trial shows nothing"
    for size, of_one in MAY_WAIT.items():
        kept = one.said[f"{size} kept"]
        of_all = min(of_one * devices, NODE_BYTES // TEXT_BYTES[size])
        if kept["most"] > of_one or kept["all"] > of_all:
            yield f"{kept['all']:,} {size} ones waited, {kept['most']} of one"
        if kept["all"] < 0.95 * of_all:
            yield f"only {kept['all']:,} {size} ones waited: the trial shows nothing"


def _wrong_times(options: argparse.Namespace, one: Run) -> Iterator[str]:
    hung, seconds = one.said["hung"], options.handler_seconds
    if hung["shortest"] < seconds - EARLY_SECONDS:
        yield f"a handler was ended after {hung['shortest']:.2f} s"
    if hung["longest"] > seconds + LATE_SECONDS and not options.untimed:
        yield f"a handler was ended only after {hung['longest']:.2f} s"


def _most_bytes(devices: int, what: str) -> int:
    """Return by how much memory may grow."""
    most = MARGIN_BYTES + devices * HANDLER_BYTES
    if what in MAY_WAIT:
        texts = min(devices * MAY_WAIT[what], NODE_BYTES // TEXT_BYTES[what])
        most += texts * (TEXT_BYTES[what] + MESSAGE_BYTES)
    return most + ON_THEIR_WAY_BYTES if what == "large" else most


def _compare(runs: Mapping[str, Sequence[Run]], facts: dict[str, str], faults: list[str]) -> None:
    figures = {name: [one.latencies for one in done] for name, done in runs.items()}
    for kind in SHOWN:
        slower = times_as_long(kind, figures["hanging"], figures["none hanging"])
        facts[f"{kind} p99, hanging / none"] = f"{slower:.2f}"
        if kind in JUDGED and slower > MAX_SLOWER:
            faults.append(f"the p99 of {kind} is {slower:.2f} times as long")
