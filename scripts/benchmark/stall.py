"""stall: how late the event loop runs while everything happens at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from scripts.benchmark.asking import ask, head
from scripts.benchmark.backend import SigningIn, add_key, add_person, post
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.load import Load, LoadFailed
from scripts.benchmark.measure import settle
from scripts.benchmark.ours import CONNECTED, LIVE, Ours, by_header, households, ours
from scripts.benchmark.report import Result, Stalls
from scripts.benchmark.servers import Shape
from scripts.benchmark.sizes import Sizes

SETTINGS = {"FEATURES": "scripts.benchmark.probe:probe"}
AT_ONCE = 32
EVERYONE = {"to": {"everyone": True}, "type": "bench.tick", "payload": {"n": 1}}
# How long the loop is sampled after the message was sent.
AFTERWARDS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Crowd:
    """A server, the generator of devices that connect, and that of devices that come back."""

    server: Ours
    newcomers: Load
    returning: Load
    each: int
    key: str

    def storm(self) -> None:
        """Open the connections of both at the same time."""
        with ThreadPoolExecutor(2) as pool:
            both = [
                pool.submit(load.open, 0, self.each, AT_ONCE)
                for load in (self.newcomers, self.returning)
            ]
            for one in both:
                one.result()

    def message(self) -> None:
        """Send one message to all of them."""
        taken = post(self.server.port, "/v1/messages", EVERYONE, self.key)["delivered"]
        if taken < 2 * self.each:
            raise LoadFailed(f"{taken} of {2 * self.each} devices took the message")
        self.newcomers.hold(AFTERWARDS_SECONDS)


def _crowd(lineup: Lineup, sizes: Sizes, stack: ExitStack) -> Crowd:
    shape = Shape(2 * sizes.stall_connections, sizes.devices)
    server = stack.enter_context(
        ours(lineup.tools, households(shape), settings=SETTINGS, prepare=add_person)
    )
    position = head(server.port, server.tokens[0])
    each = len(server.tokens) // 2
    new, old = server.tokens[:each], server.tokens[each:]
    _write(server, [by_header(one) for one in old[:: shape.size]], sizes.resume_missed)
    newcomers = server.attach([by_header(one) for one in new], CONNECTED)
    stack.callback(newcomers.stop)
    returning = server.attach([by_header(one, position.query()) for one in old], LIVE)
    stack.callback(returning.stop)
    return Crowd(server, newcomers, returning, each, add_key(server.folder))


def _write(server: Ours, senders: Sequence[str], missed: int) -> None:
    load = server.attach(senders, CONNECTED)
    try:
        load.open(0, len(senders))
        load.play("kept", missed, size=1, groups=len(senders))
        load.close()
    finally:
        load.stop()
    settle(server)


def _seen(crowd: Crowd, act: Callable[[], None]) -> tuple[list[int], int]:
    """Return how late the loop was, in microseconds, and how many passwords were hashed."""
    port, token = crowd.server.port, crowd.server.tokens[0]
    ask(port, token, "probe.begin")
    with SigningIn(port) as signing_in:
        act()
    return list(ask(port, token, "probe.end")["late_us"]), signing_in.times


def summarise(step: str, late_us: Sequence[int], passwords: int) -> Stalls:
    """Return the percentiles of the samples."""
    ordered = sorted(late_us)

    def at(share: float) -> float:
        return ordered[int(share * (len(ordered) - 1))] / 1000

    return Stalls(step, len(ordered), passwords, at(0.5), at(0.99), at(0.999), at(1))


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return how late the event loop ran its timers in each step, and in both together."""
    with ExitStack() as stack:
        crowd = _crowd(lineup, sizes, stack)
        each = crowd.each
        storm, hashed = _seen(crowd, crowd.storm)
        message, hashed_then = _seen(crowd, crowd.message)
    figures = [
        summarise(f"{each:,} connect, {each:,} resume", storm, hashed),
        summarise(f"one message to {2 * each:,}", message, hashed_then),
        summarise("both", [*storm, *message], hashed + hashed_then),
    ]
    what = "how late a timer of the event loop runs, while passwords are hashed"
    return [Result("stall", what, "", figures)]
