"""flood: one user, or a stranger, sends all that sockets carry; nobody else notices."""

import argparse
import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import count as counting
from pathlib import Path
from statistics import median
from typing import Any, Final

from app.settings import OPTIONS
from app.storage.database import Database
from app.streams.base import Append
from app.streams.generation import GUARD_NAME
from app.streams.sql import SqlStreamLog, StreamLimits
from scripts.benchmark.asking import head
from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors, cpu_seconds
from scripts.faults.favour import OWN_SESSION, favour, set_apart
from scripts.faults.floods import FLOODS, LIMITED_SECONDS, Flood
from scripts.faults.latencies import Figures, in_words
from scripts.faults.memory import Watch
from scripts.faults.network import OUTSIDE, enter_network
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Account, Plan, accounts
from scripts.faults.program import Program, ProgramFailed
from scripts.faults.server import SETTINGS, Server

DEVICES_EACH: Final = 50
"""As many as a user may have: the attacker uses all."""
BYSTANDERS: Final = 2
"""Users beside the attacker."""
TAKING_PART: Final = 2
"""Devices of each of them."""
VISITORS: Final = 4
"""Devices of one more user, which come and go."""

PER_SECOND: Final = 80
"""Messages of all devices beside the attacker's, a quarter of them durable."""
VISITS_PER_SECOND: Final = 2

MAX_P99: Final = 0.05
"""Seconds that flooding may add to the 99th percentile of a message to another device."""
MAX_DURABLE: Final = 0.01
"""Seconds that it may add to the median of a durable message."""
MAX_UPGRADE: Final = 1.0
"""Seconds that it may add to the 99th percentile of an upgrade."""
MISSED_SECONDS: Final = 5.0
"""After which an upgrade is missed."""
UNTIMED_SECONDS: Final = 60.0
"""For which an upgrade, or the first limit, is waited for where no time is judged."""

MEGABYTE: Final = 1 << 20
MAX_GROWTH: Final = 50 * MEGABYTE
MAX_LINES: Final = 25
"""Lines of the log in a second: each kind of warning may come once."""
LINES_AT_ONCE: Final = 512
"""Of requests and connections, before the log counts them instead."""
LEFT_SECONDS: Final = 70
"""After which nothing of the flood may be left: `stall_seconds`, and some for the look at it."""

WIDTH: Final = 16
"""Of the names of facts."""

NEED: Final = ("DRAIN_SECONDS", "LOG_FORMAT")
"""Settings that stay as other trials have them; all others are as people get them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement with the flood, and one without."""

    flooded: Figures
    attack: Mapping[str, Any]
    growth: int
    """Bytes by which the server's memory grew at most."""
    kernel: int
    """The same of the kernel's for its sockets."""
    lines: int
    """Of the log."""
    busy: float
    """Share of the time in which the server used the processor."""
    left: int
    """Connections above those of the others, some seconds after the flood."""
    quiet: Figures = field(default_factory=dict)
    """What was measured just before the flood."""


@dataclass(slots=True)
class Run:
    """All turns of one flood."""

    name: str
    flood: Flood
    turns: list[Turn] = field(default_factory=list)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    surplus: int = 0
    errors: Sequence[str] = ()
    checked: bool = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    told = "; ".join(f"{name}: {flood.about}" for name, flood in FLOODS.items())
    parser.add_argument(
        "--kind", action="append", choices=[*FLOODS], metavar="NAME", help=f"all; or {told}"
    )
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--turns", type=int, default=3, help="medians of so many are judged")
    parser.add_argument("--part", type=int, default=1, help="the n-th part of the sockets")
    parser.add_argument(
        "--untimed", action="store_true", help="judge no time, and flood without a quiet turn"
    )


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Flood the server in each way while others use it."""
    kinds = options.kind or [*FLOODS]
    most = max(FLOODS[kind].sockets for kind in kinds)
    allow_descriptors(most + 1000)
    # In a process of its own network the attacker may come from elsewhere, as attackers do.
    source = OUTSIDE if enter_network() else "127.0.0.1"
    rng = random.Random(options.seed)
    facts = {"floods": f"{len(kinds)} ({', '.join(kinds)})", "from": source}
    faults: list[str] = []
    checked = True
    for kind in kinds:
        place = folder / kind
        place.mkdir(exist_ok=True)
        one = _run(options, place, kind, source, rng.getrandbits(32))
        # At once, since all floods take minutes.
        for fact, what in _facts(one).items():
            print(f"{kind}: {fact:<{WIDTH}} {what}", flush=True)
        faults += [f"{kind}: {fault}" for fault in _faults(options, one)]
        checked &= one.checked
    return Outcome(facts, faults, checked)


# What happens


def _run(options: argparse.Namespace, folder: Path, kind: str, source: str, seed: int) -> Run:
    one = Run(kind, FLOODS[kind])
    journal = folder / "journal"
    with Server(folder / "data", _settings()) as server:
        tokens = asyncio.run(_prepare(server.database, one.flood.stored))
        theirs = accounts(tokens, DEVICES_EACH)
        # Where no time is judged, other tests run beside it, which would hardly get a turn.
        with nullcontext() if options.untimed else set_apart():
            server.start(under=OWN_SESSION)
        server.wait_until_healthy()
        if not options.untimed:
            favour(server.pid)
        plan = Plan(server.port, seed, str(journal), _beside(theirs), _habits(options, tokens))
        with Program("scripts.faults.bystanders", plan, folder) as others:
            others.until("ready")
            measured = counting(1)
            for _ in range(max(1, options.turns)):
                do = _attack(options, one, source, _query(server, tokens, one.flood))
                attack = Plan(server.port, seed, "", theirs[:DEVICES_EACH], do)
                quiet = {} if options.untimed else _measure(others, next(measured))
                nth = next(measured)
                longest = UNTIMED_SECONDS if options.untimed and one.flood.limited else 0
                turn = _flood(server, others, nth, attack, folder, options.seconds, longest)
                one.turns.append(replace(turn, quiet=quiet))
            others.tell("finish")
            said = others.until("answered")
            one.outcomes, one.surplus = said["outcomes"], said["surplus"]
            others.until("done")
        server.stop()
        one.errors = server.errors()
    one.checked = run_checker([journal], expect=said["durable"] + BYSTANDERS)
    return one


def _flood(
    server: Server,
    others: Program,
    nth: int,
    attack: Plan,
    folder: Path,
    seconds: float,
    longest: float,
) -> Turn:
    """Flood for so many seconds, and then, for `longest` at most, until the first limit."""
    own = int(server.metric("switchboard_connections"))
    with (
        Program("scripts.faults.attacker", attack, folder) as attacker,
        Watch(server.pid, server.port) as watch,
    ):
        attacker.until("ready")
        lines, spent, began = _lines(server), cpu_seconds(server.pid), time.monotonic()
        attacker.tell("go")
        others.tell("measure")
        # A server that answers nobody would never have the others come to an end.
        time.sleep(seconds)
        # Its absence is a fault of the flood, not of the attacker.
        with suppress(ProgramFailed):
            attacker.until("limited", seconds=longest)
        attacker.tell("stop")
        over = attacker.until("over")
        spent = (cpu_seconds(server.pid) - spent) / (time.monotonic() - began)
        flooded = others.until("measured", nth)
    return Turn(
        flooded=flooded,
        attack=over,
        growth=watch.most.process - watch.first.process,
        kernel=watch.most.kernel - watch.first.kernel,
        lines=_lines(server) - lines,
        busy=spent,
        left=_left(server, own),
    )


def _measure(others: Program, nth: int) -> Figures:
    others.tell("measure")
    return others.until("measured", nth)


def _left(server: Server, own: int) -> int:
    """Return how many connections are more than `own`, once there are none or it takes too long."""
    deadline = time.monotonic() + LEFT_SECONDS
    while True:
        left = int(server.metric("switchboard_connections")) - own
        if left <= 0 or time.monotonic() > deadline:
            return max(0, left)
        time.sleep(0.1)


def _lines(server: Server) -> int:
    return server.log.read_bytes().count(b"\n")


async def _prepare(database: Path, rows: int) -> list[str]:
    """Fill a new database; return the tokens."""
    tokens = await populate(database, 2 + BYSTANDERS, DEVICES_EACH)
    if rows:
        opened = await Database.open(database)
        limits = StreamLimits(retention_days=1, retention_rows=rows, max_keys_per_user=1)
        streams = await SqlStreamLog.open(opened, database.with_name(GUARD_NAME), limits)
        text = b'"%s"' % (b"x" * 200)
        await streams.append([Append(1, "flood.note", text, source_device=1)] * rows)
        await streams.close()
        await opened.close()
    return tokens


def _settings() -> Mapping[str, str]:
    """Return settings that undo those of other trials, whose limits are off."""
    usual = {name: str(OPTIONS[name.lower()].default) for name in SETTINGS if name not in NEED}
    return {**usual, "HOST": "0.0.0.0"}  # noqa: S104


def _query(server: Server, tokens: Sequence[str], flood: Flood) -> str:
    """Return from where a long stream is resumed."""
    if not flood.stored:
        return ""
    return f"&epoch={head(server.port, tokens[0]).epoch}&offset=0"


def _attack(options: argparse.Namespace, one: Run, source: str, query: str) -> Mapping[str, object]:
    share = 1 / max(1, options.part)
    return {"flood": one.name, "share": share, "source": source, "query": query}


def _habits(options: argparse.Namespace, tokens: Sequence[str]) -> Mapping[str, object]:
    return {
        "seconds": options.seconds,
        "per_second": PER_SECOND,
        "favoured": not options.untimed,
        "missed_seconds": UNTIMED_SECONDS if options.untimed else MISSED_SECONDS,
        "visits_per_second": VISITS_PER_SECOND,
        "visitors": tokens[-VISITORS:],
    }


def _beside(every: Sequence[Account]) -> list[Account]:
    """Return those who are not the attacker, and stay."""
    return [
        account
        for user in range(1, 1 + BYSTANDERS)
        for account in every[user * DEVICES_EACH : user * DEVICES_EACH + TAKING_PART]
    ]


# What is made of it


def _facts(one: Run) -> dict[str, str]:
    facts: dict[str, str] = {}
    for place, turn in enumerate(one.turns):
        told = f"turn {place}, " if len(one.turns) > 1 else ""
        for kind in ("delivery", "durable", "upgrade"):
            beside = f" (quiet: {in_words(turn.quiet, kind)})" if turn.quiet else ""
            facts[f"{told}{kind}"] = in_words(turn.flooded, kind) + beside
        facts[f"{told}memory grew by"] = (
            f"{turn.growth / MEGABYTE:.1f} MB, the kernel's by {turn.kernel / MEGABYTE:.1f} MB"
        )
        facts[f"{told}server used"] = f"{turn.busy * 100:.0f} % of a processor"
        facts[f"{told}log grew by"] = f"{turn.lines:,} lines"
        facts[f"{told}the flood"] = _attack_in_words(turn.attack)
        facts[f"{told}limited"] = _limits_in_words(turn.attack)
    return facts


def _attack_in_words(attack: Mapping[str, Any]) -> str:
    rate = attack["sent"] / attack["seconds"] / 1000
    came = ", ".join(f"{count:,} × {name}" for name, count in sorted(attack["came"].items()))
    return f"{attack['opened']:,} sockets opened, {rate:,.0f} kB/s; answers: {came or 'none'}"


def _limits_in_words(attack: Mapping[str, Any]) -> str:
    limits = ", ".join(f"{count:,} × {name}" for name, count in sorted(attack["limits"].items()))
    first = "never" if attack["first"] is None else f"after {attack['first']:.2f} s"
    return f"{sum(attack['limits'].values()):,} times, first {first}: {limits or 'nothing'}"


def _faults(options: argparse.Namespace, one: Run) -> Iterator[str]:
    yield from (f"the server logged an error: {line[:300]}" for line in one.errors[:5])
    yield from _wrong_answers(one)
    for turn in one.turns:
        yield from _wrong_turn(turn)
        if one.flood.limited:
            yield from _late_limit(options, turn)
    if not options.untimed:
        yield from _too_slow(one)


def _wrong_answers(one: Run) -> Iterator[str]:
    for outcome, count in one.outcomes.items():
        if outcome not in ("ping: pong", "ack: ok", "device.send: ok"):
            yield f"{count:,} of the others' {outcome}"
    if one.surplus:
        yield f"{one.surplus:,} answers to what the others had not asked"


def _late_limit(options: argparse.Namespace, turn: Turn) -> Iterator[str]:
    first = turn.attack["first"]
    if first is None:
        yield "the flood was not limited"
    elif first > LIMITED_SECONDS and not options.untimed:
        yield f"the flood was limited only after {first:.1f} s"


def _wrong_turn(turn: Turn) -> Iterator[str]:
    lines = max(0, turn.lines - LINES_AT_ONCE) / turn.attack["seconds"]
    if turn.flooded["missed"]:
        yield f"{turn.flooded['missed']:,} upgrades of others failed"
    if turn.growth > MAX_GROWTH:
        yield f"memory grew by {turn.growth / MEGABYTE:.0f} MB"
    if lines > MAX_LINES:
        yield f"the log grew by {LINES_AT_ONCE} lines, and {lines:.0f} a second"
    if turn.left:
        yield f"{turn.left:,} connections were left after the flood"


def _too_slow(one: Run) -> Iterator[str]:
    bounds = {"delivery p99": MAX_P99, "durable p50": MAX_DURABLE, "upgrade p99": MAX_UPGRADE}
    for name, most in bounds.items():
        # The machine may be slow by itself: what a quiet turn takes is not the flood's.
        flooded, quiet = (
            median(figures[name] for figures in side)
            for side in ([turn.flooded for turn in one.turns], [turn.quiet for turn in one.turns])
        )
        if flooded > most + quiet:
            yield (
                f"the {name} of others is {flooded * 1000:.1f} ms, "
                f"more than {most * 1000:.0f} ms above the quiet {quiet * 1000:.1f} ms"
            )
