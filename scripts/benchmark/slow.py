"""slow: one in a hundred reads nothing, while messages flow to all."""

from collections.abc import Sequence
from contextlib import ExitStack

from scripts.benchmark.asking import metrics
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.load import LoadFailed
from scripts.benchmark.measure import Contender, alternate, summarise
from scripts.benchmark.ours import one_user, ours
from scripts.benchmark.report import Result
from scripts.benchmark.servers import Server, Shape, floor_program, naive
from scripts.benchmark.sizes import Sizes
from scripts.benchmark.texts import LONG_DELIVERY

# Otherwise the server would end the stalled connections during the measurement.
NO_DEADLINES = {"STALL_SECONDS": "3600", "HEARTBEAT_SECONDS": "3600"}
NOBODY = "ours, none stalled"
SOME = "ours, 1 % stalled"


def _start(lineup: Lineup, count: int, stack: ExitStack) -> list[Server]:
    tools, shape = lineup.tools, Shape(count)
    return [
        stack.enter_context(floor_program(tools, delivery=LONG_DELIVERY)(tools, shape)),
        stack.enter_context(naive(tools, shape)),
        *(
            stack.enter_context(ours(tools, one_user(count), settings=NO_DEADLINES, name=name))
            for name in (NOBODY, SOME)
        ),
    ]


def _flood(server: Server, count: int, stalled: int, rounds: int) -> None:
    """Fill the kernel's buffers of the stalled connections, so that the rest waits in the server.

    Raises LoadFailed when bytes wait for none of our server's connections.
    """
    server.load.open(0, count)
    if server.name != NOBODY:
        server.load.stall(stalled)
    server.load.play("long", rounds)
    if server.name == SOME and metrics(server.port)["switchboard_slow_connections"] < stalled:
        raise LoadFailed("nobody was slow: the scenario shows nothing")


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one delivery to a connection that reads."""
    count, stalled = sizes.slow_connections, max(1, sizes.slow_connections // 100)
    with ExitStack() as stack:
        started = _start(lineup, count, stack)
        for server in started:
            _flood(server, count, stalled, sizes.slow_flood)
        contenders = [
            Contender(one.name, one, lambda load: load.play("long", sizes.slow_rounds))
            for one in started
        ]
        figures = summarise(alternate(contenders, sizes.runs), peer=NOBODY)
    what = (
        f"1 KiB to {count:,} connections of which {stalled} read nothing, "
        "per delivery to one that reads"
    )
    return [Result("slow", what, "none stalled", figures)]
