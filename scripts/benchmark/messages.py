"""fanout, others, burst, echo and mixed: the same messages through every server."""

from collections.abc import Sequence
from dataclasses import replace

from scripts.benchmark.lineup import Act, Lineup, compare
from scripts.benchmark.report import Result
from scripts.benchmark.servers import Shape
from scripts.benchmark.sizes import Sizes

BURST = 32


def fanout(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one delivery of a message to every connection of a user."""
    return [
        _fanout(lineup, sizes, count, max(3, sizes.fanout_deliveries // count))
        for count in sizes.fanout_connections
    ]


def _fanout(lineup: Lineup, sizes: Sizes, count: int, rounds: int) -> Result:
    warm_up = max(2, min(sizes.warm_up, rounds))
    act = Act("fanout", lambda load: load.fanout(rounds), lambda load: load.fanout(warm_up))
    result = compare(lineup, Shape(count), act, sizes.runs)
    what = f"one message to {count:,} connections, per delivery"
    return replace(result, scenario="fanout", what=what)


def others(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one delivery to another device of the sender's user."""
    shape = Shape(sizes.users * sizes.devices, sizes.devices)
    act = _in_groups("others", shape, sizes.others_rounds, sizes.warm_up)
    what = (
        f"{shape.groups} users with {shape.size} devices, each message to the "
        f"{shape.size - 1} others, per delivery"
    )
    return [replace(compare(lineup, shape, act, sizes.runs), scenario="others", what=what)]


def mixed(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one frame of a mixture; only ours stores the durable messages."""
    shape = Shape(sizes.users * sizes.devices, sizes.devices)
    act = _in_groups("mixed", shape, sizes.mixed_rounds, sizes.warm_up)
    what = (
        f"{shape.groups} users with {shape.size} devices: 70 % positions of a player, 12 % chat "
        "(kept), 3 % volume (kept), 15 % pings; per frame"
    )
    return [replace(compare(lineup, shape, act, sizes.runs), scenario="mixed", what=what)]


def _in_groups(kind: str, shape: Shape, rounds: int, warm_up: int) -> Act:
    some = {"size": shape.size, "groups": shape.groups}
    return Act(
        kind,
        lambda load: load.play(kind, rounds, **some),
        lambda load: load.play(kind, max(1, warm_up // 5), **some),
    )


def burst(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one delivery when 32 messages come at once."""
    count, rounds = sizes.burst_connections, sizes.burst_rounds
    act = Act(
        "fanout",
        lambda load: load.fanout(rounds, BURST),
        lambda load: load.fanout(2, BURST),
    )
    what = f"{BURST} messages at once to each of {count:,} connections, per delivery"
    return [replace(compare(lineup, Shape(count), act, sizes.runs), scenario="burst", what=what)]


def echo(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one round trip, the shortest way through the server and back."""
    count = sizes.echo_connections
    act = Act(
        "echo",
        lambda load: load.echo(sizes.echo_pings, count),
        lambda load: load.echo(sizes.warm_up, count),
    )
    what = f"ping and pong on {count:,} connections, per round trip"
    return [replace(compare(lineup, Shape(count, 1), act, sizes.runs), scenario="echo", what=what)]
