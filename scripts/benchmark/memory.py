"""memory: how much memory our server has after millions of messages and many reconnects."""

from collections.abc import Sequence
from pathlib import Path

from scripts.benchmark.lineup import Lineup
from scripts.benchmark.ours import ours_in_shape
from scripts.benchmark.report import Ages, Result
from scripts.benchmark.servers import Server, Shape
from scripts.benchmark.sizes import Sizes


def _descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def _live(server: Server, shape: Shape, sizes: Sizes) -> int:
    """Connect, send and close again and again; return how many frames were delivered."""
    delivered = 0
    for _ in range(sizes.memory_reconnects):
        server.load.open(0, shape.connections)
        for kind, rounds in (("others", sizes.memory_rounds), ("mixed", sizes.memory_mixed_rounds)):
            phase = server.load.play(kind, rounds, size=shape.size, groups=shape.groups)
            delivered += phase.operations
        server.load.close()
    return delivered


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the server's memory after each part of the messages, with all connected again.

    The first part is the warm-up, which the others are compared with.
    """
    shape = Shape(sizes.users * sizes.devices, sizes.devices)
    figures: list[Ages] = []
    delivered = 0
    with ours_in_shape(lineup.tools, shape) as server:
        for part in range(sizes.memory_parts):
            delivered += _live(server, shape, sizes)
            server.load.open(0, shape.connections)
            server.load.hold(min(1, sizes.idle_seconds))
            rss, descriptors = server.memory().rss, _descriptors(server)
            server.load.close()
            figures.append(
                Ages(
                    server="ours, warm" if part == 0 else "ours",
                    messages=delivered,
                    upgrades=(part + 1) * (sizes.memory_reconnects + 1) * shape.connections,
                    rss=rss,
                    to_warm=rss / figures[0].rss if figures else 1,
                    descriptors=descriptors,
                )
            )
    what = (
        f"{shape.connections:,} connections of {shape.groups} users that send, leave and come "
        "back; memory with all of them connected"
    )
    return [Result("memory", what, "warm", figures)]
