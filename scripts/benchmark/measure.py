"""Measures phases of several servers in turn, and makes figures of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from scripts.benchmark.load import Load, Phase
from scripts.benchmark.servers import Server

# Above this share of a core a generator limits the rate, unless the server is busier still.
BUSY = 0.9


@dataclass(frozen=True, slots=True)
class Run:
    """One phase of one server; `cpu_us` is its processor time (user and system) per operation.

    `rss` is its memory afterwards, in bytes.
    """

    cpu_us: float
    per_second: float
    p50_us: float
    p99_us: float
    server_busy: float
    load_busy: float
    operations: int
    p999_us: float = 0
    rss: float = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """The medians of a server's runs; a ratio is the median over pairs of runs measured in turn.

    A ratio to a server that was not measured is NaN.
    """

    server: str
    operations: int
    cpu_us: float
    to_floor: float
    to_peer: float
    per_second: float
    p50_us: float
    p99_us: float
    server_busy: float
    load_busy: float
    runs: tuple[Run, ...]
    p999_us: float = 0
    rss: float = 0

    @property
    def load_was_bottleneck(self) -> bool:
        """Whether the generator, not the server, limited the rate."""
        return self.load_busy > BUSY > self.server_busy


@dataclass(frozen=True, slots=True)
class Contender:
    """A row of the table: its name, its server, and what the generator makes it do."""

    name: str
    server: Server
    act: Callable[[Load], Phase]
    # Not measured: returns to the state in which the next `act` starts.
    reset: Callable[[Load], object] = lambda load: None
    # Acts in one turn: several where rare work of a server, such as a full collection, counts.
    acts: int = 1


def settle(server: Server) -> None:
    """Wait until the server is idle, but at most 5 s."""
    for _ in range(100):
        before = server.cpu_seconds()
        server.load.hold(0.05)
        if server.cpu_seconds() - before < 0.001:
            return


def measure(contender: Contender) -> Run:
    """Return what the server used in one turn, while its generator acted."""
    server, spent = contender.server, 0.0
    phases: list[Phase] = []
    for _ in range(contender.acts):
        before = server.cpu_seconds()
        phases.append(contender.act(server.load))
        spent += server.cpu_seconds() - before
        contender.reset(server.load)
        # Work that the reset causes must not count for the next act.
        settle(server)
    seconds = sum(phase.seconds for phase in phases)
    operations = sum(phase.operations for phase in phases)
    return Run(
        cpu_us=spent / operations * 1e6,
        per_second=operations / seconds,
        p50_us=median(phase.p50_us for phase in phases),
        p99_us=median(phase.p99_us for phase in phases),
        server_busy=spent / seconds,
        load_busy=sum(phase.cpu_seconds for phase in phases) / seconds,
        operations=operations,
        p999_us=median(phase.p999_us for phase in phases),
        rss=server.memory().rss,
    )


def alternate(contenders: Sequence[Contender], runs: int) -> dict[str, list[Run]]:
    """Measure each in turn, `runs` times over, so that a noisy minute hits all alike.

    Each round starts with another contender: work that a server postpones (a garbage collection, a
    checkpoint) would otherwise always hit the same one.
    """
    results: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    for turn in range(runs):
        first = turn % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            results[contender.name].append(measure(contender))
    return results


def summarise(
    results: Mapping[str, Sequence[Run]], peer: str, *, floor: str = "floor"
) -> list[Figures]:
    """Return the figures of each server, with their ratios to `floor` and to `peer`."""
    floors, peers = results.get(floor, ()), results.get(peer, ())
    return [_figures(name, runs, floors, peers) for name, runs in results.items()]


def _figures(
    name: str, runs: Sequence[Run], floors: Sequence[Run], peers: Sequence[Run]
) -> Figures:
    return Figures(
        server=name,
        operations=sum(run.operations for run in runs),
        cpu_us=median(run.cpu_us for run in runs),
        to_floor=_ratio(runs, floors),
        to_peer=_ratio(runs, peers),
        per_second=median(run.per_second for run in runs),
        p50_us=median(run.p50_us for run in runs),
        p99_us=median(run.p99_us for run in runs),
        server_busy=median(run.server_busy for run in runs),
        load_busy=median(run.load_busy for run in runs),
        runs=tuple(runs),
        p999_us=median(run.p999_us for run in runs),
        rss=median(run.rss for run in runs),
    )


def _ratio(runs: Sequence[Run], others: Sequence[Run]) -> float:
    if not others:
        return math.nan
    return median(run.cpu_us / other.cpu_us for run, other in zip(runs, others, strict=True))
