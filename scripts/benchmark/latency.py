"""latency: how long a message takes at half of the rate that our server can do."""

from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

from scripts.benchmark.lineup import Lineup
from scripts.benchmark.load import Phase
from scripts.benchmark.report import Latencies, Result
from scripts.benchmark.servers import Server, Shape
from scripts.benchmark.sizes import Sizes

ROUNDS_TO_FIND_OUT = 40


def _full(server: Server, shape: Shape) -> float:
    """Return how many messages a second the server relays at most."""
    phase = server.load.play("others", ROUNDS_TO_FIND_OUT, size=shape.size, groups=shape.groups)
    return phase.messages / phase.seconds


def _turn(server: Server, shape: Shape, per_second: float, seconds: float) -> tuple[Phase, float]:
    """Return the phase, and the share of a core that the server used."""
    rounds = max(1, round(per_second * seconds / shape.groups))
    spent = server.cpu_seconds()
    phase = server.load.play(
        "others", rounds, size=shape.size, groups=shape.groups, per_second=per_second
    )
    return phase, (server.cpu_seconds() - spent) / phase.seconds


def summarise(
    name: str, turns: Sequence[tuple[Phase, float]], floors: Sequence[tuple[Phase, float]]
) -> Latencies:
    """Return the medians; the ratio is the median over pairs of runs measured in turn."""
    pairs = zip(turns, floors, strict=True)
    return Latencies(
        server=name,
        messages=sum(phase.messages for phase, _ in turns),
        per_second=median(phase.messages / phase.seconds for phase, _ in turns),
        p50_us=median(phase.p50_us for phase, _ in turns),
        p99_us=median(phase.p99_us for phase, _ in turns),
        p999_us=median(phase.p999_us for phase, _ in turns),
        p99_to_floor=median(own.p99_us / floor.p99_us for (own, _), (floor, _) in pairs),
        server_busy=median(busy for _, busy in turns),
        load_busy=median(phase.cpu_seconds / phase.seconds for phase, _ in turns),
    )


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the latencies of all servers at half of the rate that ours can do."""
    shape = Shape(sizes.users * sizes.devices, sizes.devices)
    with ExitStack() as stack:
        started = [
            stack.enter_context(start(lineup.tools, shape)) for start in lineup.starts("others")
        ]
        for server in started:
            server.load.open(0, shape.connections)
            _full(server, shape)
        rate = median(_full(started[-1], shape) for _ in range(3)) / 2
        turns: dict[str, list[tuple[Phase, float]]] = {server.name: [] for server in started}
        for turn in range(sizes.latency_runs):
            first = turn % len(started)
            for server in (*started[first:], *started[:first]):
                turns[server.name].append(_turn(server, shape, rate, sizes.latency_seconds))
    figures = [summarise(name, taken, turns["floor"]) for name, taken in turns.items()]
    what = (
        f"{shape.groups} users with {shape.size} devices, each message to the {shape.size - 1} "
        f"others; {rate:,.0f} messages a second, half of what ours can do; from when one was due"
    )
    return [Result("latency", what, "floor", figures, tuple(lineup.missing))]
