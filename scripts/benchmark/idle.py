"""idle: what connections that do nothing cost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from scripts.benchmark import servers
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.ours import many_users, ours
from scripts.benchmark.report import Memories, Result
from scripts.benchmark.sizes import Sizes

# Connections opened and closed first, so that what loads on first use is not counted.
FIRST = 50


@contextmanager
def _ours(tools: servers.Tools, shape: servers.Shape) -> Iterator[servers.Server]:
    with ours(tools, many_users(shape.connections)) as server:
        yield server


def _measure(tools: servers.Tools, start: servers.Start, sizes: Sizes) -> Memories:
    count = sizes.idle_connections
    with start(tools, servers.Shape(count)) as server:
        server.load.open(0, min(FIRST, count))
        server.load.close()
        before = server.memory()
        server.load.open(0, count)
        server.load.hold(min(1, sizes.idle_seconds))
        after = server.memory()
        spent = server.cpu_seconds()
        phase = server.load.hold(sizes.idle_seconds)
        spent = server.cpu_seconds() - spent
        return Memories(
            server=server.name,
            connections=count,
            rss=(after.rss - before.rss) / count,
            pss=(after.pss - before.pss) / count,
            above_bare=0,
            idle_busy=spent / phase.seconds,
        )


def _median(taken: list[Memories], bare: list[Memories]) -> Memories:
    return Memories(
        server=taken[0].server,
        connections=taken[0].connections,
        rss=median(one.rss for one in taken),
        pss=median(one.pss for one in taken),
        above_bare=median(a.rss - b.rss for a, b in zip(taken, bare, strict=True)),
        idle_busy=median(one.idle_busy for one in taken),
    )


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the memory and the processor time of idle connections; each turn has new servers."""
    starts: list[servers.Start] = [servers.floor, servers.bare, servers.naive, *lineup.peers, _ours]
    turns = [
        [_measure(lineup.tools, start, sizes) for start in starts] for _ in range(sizes.idle_turns)
    ]
    columns = [list(column) for column in zip(*turns, strict=True)]
    figures = [_median(column, columns[1]) for column in columns]
    what = f"{sizes.idle_connections:,} connections that do nothing"
    return [Result("idle", what, "bare", figures, tuple(lineup.missing))]
