"""resume: devices that come back, having missed nothing or much, beside a plain connect."""

from collections.abc import Sequence
from contextlib import ExitStack

from scripts.benchmark.asking import Position, head
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.load import Load, LoadFailed, Phase
from scripts.benchmark.measure import Contender, alternate, settle, summarise
from scripts.benchmark.ours import CONNECTED, LIVE, Ours, by_header, households, ours
from scripts.benchmark.report import Result
from scripts.benchmark.servers import Server, Shape
from scripts.benchmark.sizes import Sizes

AT_ONCE = 32
PLAIN = "ours, plain connect"


def _write(server: Ours, shape: Shape, missed: int) -> None:
    """Have one device of each user send the messages that all of them will miss."""
    if not missed:
        return
    senders = server.attach([by_header(one) for one in server.tokens[:: shape.size]], CONNECTED)
    try:
        senders.open(0, shape.groups)
        senders.play("kept", missed, size=1, groups=shape.groups)
        senders.close()
    finally:
        senders.stop()
    settle(server)


def _returning(lineup: Lineup, shape: Shape, missed: int, stack: ExitStack) -> list[Contender]:
    """Start a server whose devices missed so many messages, and return its contenders."""
    server = stack.enter_context(ours(lineup.tools, households(shape)))
    before = head(server.port, server.tokens[0])
    _write(server, shape, missed)
    now = head(server.port, server.tokens[0])
    contenders = []
    for name, position in _ways(missed, before, now).items():
        requests = [by_header(one, position.query() if position else "") for one in server.tokens]
        load = server.attach(requests, LIVE if position else CONNECTED)
        stack.callback(load.stop)
        view = Server(name, server.pid, load, server.port)
        contenders.append(_contender(view, len(server.tokens), missed))
    return contenders


def _ways(missed: int, before: Position, now: Position) -> dict[str, Position | None]:
    if not missed:
        return {PLAIN: None, "ours, 0 missed": now}
    return {f"ours, {missed:,} missed": before}


def _contender(server: Server, count: int, missed: int) -> Contender:
    def act(load: Load) -> Phase:
        phase = load.open(0, count, AT_ONCE)
        # Each gets the messages it missed and, if it has a position, `connected` before it is live.
        if phase.messages < missed * count:
            raise LoadFailed(f"{phase.messages} of {missed * count} missed messages came")
        return phase

    act(server.load)
    server.load.close()
    settle(server)
    return Contender(server.name, server, act, Load.close)


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one device that comes back and is live again."""
    short = Shape(sizes.resume_devices, min(sizes.devices, sizes.resume_devices))
    long = Shape(sizes.resume_long_devices, min(sizes.devices, sizes.resume_long_devices))
    plan = [(short, 0), (short, sizes.resume_missed), (long, sizes.resume_long_missed)]
    with ExitStack() as stack:
        contenders = [
            one for shape, missed in plan for one in _returning(lineup, shape, missed, stack)
        ]
        figures = summarise(alternate(contenders, sizes.resume_runs), peer=PLAIN)
    what = (
        f"{short.connections:,} devices, {AT_ONCE} at a time, per device until it is live; "
        f"with {sizes.resume_long_missed:,} missed {long.connections:,} devices"
    )
    return [Result("resume", what, "plain connect", figures)]
