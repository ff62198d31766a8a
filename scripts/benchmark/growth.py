"""growth: what a delivery costs beside the floor as the number of connections grows."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from scripts.benchmark import servers
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.measure import Contender, Figures, alternate, summarise
from scripts.benchmark.ours import ours_in_shape
from scripts.benchmark.report import Result
from scripts.benchmark.servers import Server, Shape
from scripts.benchmark.sizes import Sizes

REFERENCE = 100


def _at(started: Sequence[Server], count: int, opened: int, sizes: Sizes) -> list[Figures]:
    rounds = max(3, sizes.growth_deliveries // count)
    for server in started:
        server.load.open(opened, count - opened)
        server.load.fanout(max(2, rounds // 4))
    contenders = [
        Contender(f"{one.name}, {count:,}", one, lambda load: load.fanout(rounds))
        for one in started
    ]
    floor = contenders[0].name
    return summarise(alternate(contenders, sizes.runs), peer=floor, floor=floor)


def relative(rows: Sequence[Figures], reference: str) -> list[Figures]:
    """Return the rows with `to_peer` as `to_floor` divided by that of the reference row."""
    at = next((row.to_floor for row in rows if row.server == reference), math.nan)
    return [replace(row, to_peer=row.to_floor / at) for row in rows]


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one delivery at each number of connections."""
    most = Shape(max(sizes.growth_connections))
    figures: list[Figures] = []
    with ExitStack() as stack:
        started = [
            stack.enter_context(start(lineup.tools, most))
            for start in (servers.floor, ours_in_shape)
        ]
        opened = 0
        for count in sorted(sizes.growth_connections):
            figures += _at(started, count, opened, sizes)
            opened = count
    near = min(sizes.growth_connections, key=lambda count: abs(count - REFERENCE))
    what = (
        "one message to so many connections, per delivery; "
        f"the second ratio is the first beside that of {near:,}"
    )
    return [Result("growth", what, f"at {near:,}", relative(figures, f"ours, {near:,}"))]
