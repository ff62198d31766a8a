"""idle: what connections cost that do nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median

from scripts.benchmark import servers
from scripts.benchmark.ours import many_users, ours
from scripts.benchmark.report import Memories, Result
from scripts.benchmark.sizes import Sizes

# Opened and closed first, so that what is loaded on first use is not counted.
FIRST = 50

Start = Callable[[servers.Tools, int], AbstractContextManager[servers.Server]]


def _ours(tools: servers.Tools, count: int) -> AbstractContextManager[servers.Server]:
    return ours(tools, many_users(count))


def _measure(tools: servers.Tools, start: Start, sizes: Sizes) -> Memories:
    count = sizes.idle_connections
    with start(tools, count) as server:
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


def run(tools: servers.Tools, sizes: Sizes) -> Result:
    """Return the memory and the processor time of idle connections, of fresh servers each time."""
    starts: tuple[Start, ...] = (servers.floor, servers.bare, servers.naive, _ours)
    turns = [[_measure(tools, start, sizes) for start in starts] for _ in range(sizes.idle_turns)]
    columns = [list(column) for column in zip(*turns, strict=True)]
    figures = [_median(column, columns[1]) for column in columns]
    count = sizes.idle_connections
    return Result("idle", f"{count:,} connections that do nothing", "bare", figures)
